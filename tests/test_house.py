"""The house rules: arrows between the rooms, no autograd, small files, a light import."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import opnet
import runners
from experiments.__main__ import scripts

ROOT = Path(__file__).parents[1]
FILES = sorted(
    path for top in ("opnet", "runners", "experiments") for path in (ROOT / top).rglob("*.py")
)

# inside opnet a room may import rooms of its own level or below
LEVELS = [
    {"errors", "tensors", "numerics", "walk", "arrays", "pickles", "archive", "foreign", "files"}
    | {"allowance", "npy", "rows", "ahead", "threads", "doors", "tables"}
    | {"kernels", "tape", "recorded"},
    {"op", "describe", "environment", "summary"},
    {"linear", "activations", "softmax", "dropout", "normalisation"},
    {
        "optimizer",
        "optimizers",
        "schedules",
        "data",
        "metrics",
        "blocks",
        "step",
        "nonfinite",
        "captured",
        "walks",
        "parallel",
        "shared",
    }
    | {"checkpoint", "paddle"},
    {"losses", "cross_entropy"},
    {"models"},
    {"restore"},
    {"gradcheck", "bridge", "tracing", "tracking", "plots"},
    {"testing", "__main__"},
]
KNOW_NO_CLASS = {"walk", "step", "checkpoint", "gradcheck", "parallel", "shared"} | {
    *("recorded", "captured", "walks")
}
LAYER_FAMILIES = {*LEVELS[2], *LEVELS[4], "models"}
EDGE = ("__main__", "cli", "fast", "flags", "rows", "sources")  # what scripts import first
DOOR = {"opnet/__main__.py": {"runners.command_line", "runners.command_line.main"}}  # and no more
MAY_USE_AUTOGRAD = {"bridge", "gradcheck"}


def name(path):
    return path.relative_to(ROOT).as_posix()


def top(path):
    return path.relative_to(ROOT).parts[0]


def room(path):
    """A file of opnet, or a package that one has grown into."""
    return path.relative_to(ROOT).parts[1].removesuffix(".py")


def imports(path):
    """Every module that a file imports anywhere, as dotted absolute names."""
    package = path.relative_to(ROOT).parts[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module) if part)
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def level(room):
    return next(i for i, rooms in enumerate(LEVELS) if room in rooms)


every_file = pytest.mark.parametrize("path", FILES, ids=name)


@every_file
def test_arrows_between_the_packages_point_down(path):
    order = ["opnet", "runners", "experiments"]
    above = order[order.index(top(path)) + 1 :]
    upwards = {module for module in imports(path) if module.split(".")[0] in above}
    assert upwards == DOOR.get(name(path), set())


@pytest.mark.parametrize("path", [p for p in FILES if top(p) == "opnet"], ids=name)
def test_arrows_inside_opnet_point_down(path):
    if name(path) == "opnet/__init__.py":
        return
    rooms = {module.split(".")[1] for module in imports(path) if module.startswith("opnet.")}
    used = {
        r for r in rooms if any((ROOT / "opnet" / r).with_suffix(s).exists() for s in ("", ".py"))
    }
    assert all(level(r) <= level(room(path)) for r in used)
    if room(path) in KNOW_NO_CLASS:
        assert not used & LAYER_FAMILIES


@every_file
def test_no_autograd_where_gradients_are_written_by_hand(path):
    if top(path) == "experiments" or room(path) in MAY_USE_AUTOGRAD:
        return
    modules = set(imports(path))
    assert not {m for m in modules if m.startswith(("torch.nn", "torch.autograd"))}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute):
            assert node.attr not in ("requires_grad", "requires_grad_", "autograd")
            assert not (node.attr == "nn" and getattr(node.value, "id", "") == "torch")


def test_nothing_but_experiments_imports_the_bridge():
    others = [p for p in FILES if top(p) != "experiments" and room(p) != "bridge"]
    assert not [p for p in others if any(m.startswith("opnet.bridge") for m in imports(p))]


@pytest.mark.parametrize("path", [p for p in FILES if top(p) == "opnet"], ids=name)
def test_opnet_does_not_print_but_on_its_command_line(path):
    calls = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call)]
    prints = [c for c in calls if getattr(c.func, "id", "") == "print"]
    assert not prints or path.name == "__main__.py"


@every_file
def test_files_are_small_and_say_what_they_are(path):
    text = path.read_text()
    limit = 120 if top(path) == "experiments" else 300
    assert len(text.splitlines()) <= limit
    assert ast.get_docstring(ast.parse(text))


@every_file
def test_what_is_public_is_documented(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{node.name} has no docstring"


def test_scripts_parse_their_arguments_before_they_import_torch():
    shared_at_the_edge = [ROOT / "experiments" / f"{name}.py" for name in EDGE]
    for path in (*scripts().values(), *shared_at_the_edge):
        statements = [
            n
            for n in ast.parse(path.read_text()).body
            if isinstance(n, ast.Import | ast.ImportFrom)
        ]
        modules = {getattr(n, "module", None) or n.names[0].name for n in statements}
        assert not modules & {"torch", "opnet", "runners"}


def test_the_command_line_parses_before_it_imports_torch():
    code = """if True:
        import sys
        from runners.command_line import parser
        parser().parse_args(["train", "--data", "moons"])
        print({"torch", "numpy", "matplotlib", "sklearn"} & {*sys.modules})
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


WHERE_USED = ("sklearn", "scipy", "matplotlib", "tqdm", "tensorboard", "pandas", "torch._dynamo")


@pytest.mark.parametrize(
    ("imported", "heavy"),
    [
        ("import opnet", ("torch", "numpy", *WHERE_USED)),
        ("import torch; before = {*sys.modules}; import opnet, runners", WHERE_USED),
        ("import torch; before = {*sys.modules}; from opnet import *", WHERE_USED),
    ],
    ids=["opnet", "runners after torch", "all names after torch"],
)
def test_import_opnet_is_light_and_its_names_are_lazy(imported, heavy):
    code = (
        f"import sys; before = set(); {imported}; print({{*{heavy}}} & {{*sys.modules}} - before)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize(
    ("package", "some"),
    [(opnet, {"Op", "Linear", "BatchGD", "load"}), (runners, {"RunnerV2_1", "OpNetClassifier"})],
)
def test_every_public_name_is_there_for_type_checkers_too(package, some):
    tree = ast.parse(Path(package.__file__).read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    shown = {alias.name for node in block.body for alias in node.names}
    assert shown == set(package.__all__)
    assert all(getattr(package, public) for public in package.__all__)
    assert some <= set(dir(package))
    with pytest.raises(AttributeError, match=f"module '{package.__name__}' has no attribute 'Li"):
        package.Linaer  # noqa: B018


def test_only_the_estimators_import_sklearn_at_once():
    at_once = {
        name(path)
        for path in FILES
        if top(path) != "experiments"
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("sklearn")
    }
    assert at_once == {"runners/estimator.py", "runners/estimator_base.py"}


def test_only_parallel_talks_to_other_processes():
    talking = {name(path) for path in FILES if any("torch.distributed" in m for m in imports(path))}
    assert talking == {"opnet/parallel.py"}


def test_torch_is_not_needed_to_build():
    assert "torch" not in (ROOT / "pyproject.toml").read_text()
    assert "torch>=2.10" in (ROOT / "setup.cfg").read_text()
    assert "torch==2.13.0" in (ROOT / "constraints.txt").read_text()
