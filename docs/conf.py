"""How Sphinx builds the pages; which scripts, figures and public names there are it finds out.

A page in experiments/ is a derivation; the script and its figures are added to it here. Pages of
scripts that are not there are left out.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sphinx.util.inspect import signature, stringify_signature

import opnet
from experiments.__main__ import scripts, summary

DOCS = Path(__file__).parent
SCRIPTS = scripts()
ABSENT = [p.stem for p in sorted((DOCS / "experiments").glob("*.md")) if p.stem not in SCRIPTS]
ROOMS = (  # the API in the order in which a reader meets it; what is not named comes last
    *("op", "linear", "activations", "softmax", "dropout", "normalisation"),
    *("losses", "cross_entropy", "models", "optimizer", "optimizers", "schedules"),
    *("data", "metrics", "gradcheck", "errors"),
)
RETURNED = {  # what methods and functions of a room give
    "op": ("opnet.summary.Summary", "opnet.summary.Line"),
    "gradcheck": ("opnet.gradcheck.Report",),
    "tracing": ("opnet.tracing.Trace", "opnet.tracing.Line", "opnet.tracing.Shown"),
}

project = "opnet"
release = version = opnet.__version__
copyright = "the opnet authors"
extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = [
    "_static",
    "figures",
    "ledger_table.md",
    *(f"experiments/{name}.md" for name in ABSENT),
]
myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_inherit_docstrings = False
smartquotes = False  # they would make one sign of the dots in [..., N, I]
highlight_language = "none"  # a block that names no language is a formula
html_theme = "alabaster"
html_static_path = ["_static"]
html_theme_options = {"show_powered_by": False, "page_width": "1240px", "sidebar_width": "240px"}
html_sidebars = {"**": ["about.html", "navigation.html", "searchfield.html"]}
html_copy_source = False


def setup(app: Any) -> None:
    app.connect("source-read", complete)
    app.connect("autodoc-process-docstring", as_it_stands)
    app.connect("autodoc-process-signature", of_init)


def complete(app: Any, page: str, source: list[str]) -> None:
    """Add to a page what is found and not written."""
    folder, _, name = page.rpartition("/")
    if folder == "experiments":
        source[0] += "\n".join(["", *figures(name, "## Figures", ".."), *script(name)])
    elif page == "experiments":
        absent = {f"experiments/{name}" for name in ABSENT}
        lines = source[0].splitlines()
        source[0] = "\n".join(line for line in lines if line.strip() not in absent)
    elif page == "gallery":
        heads = {name: f"## [{name}](experiments/{name}.md)" for name in SCRIPTS}
        source[0] += "\n".join(line for name, head in heads.items() for line in figures(name, head))
    elif page == "api":
        source[0] += "\n".join(public_names())


def figures(name: str, head: str, up: str = ".") -> Iterator[str]:
    """What `python -m experiments all` has drawn for a script, under a headline."""
    paths = sorted((DOCS / "figures" / name).glob("*.png"))
    if paths:
        yield f"\n{head}\n"
    for path in paths:
        yield f"![{name}: {path.stem}]({up}/figures/{name}/{path.name})\n"


def script(name: str) -> Iterator[str]:
    path = f"../../experiments/{name}.py"
    yield f"\n## The script\n\n`python -m experiments.{name}`: {summary(SCRIPTS[name])}\n"
    yield f"```{{literalinclude}} {path}\n:language: python\n```\n"


def public_names() -> Iterator[str]:
    """Every public name of opnet by its room, then those of runners and of two modules."""
    rooms: dict[str, list[str]] = {room: [] for room in ROOMS}
    for name, room in opnet._ROOMS.items():
        rooms.setdefault(room, []).append(name)
    for room, names in rooms.items():
        yield from headline(f"opnet.{room}")
        for name in sorted(names):
            kind = "class" if isinstance(getattr(opnet, name), type) else "function"
            yield from directive(kind, f"opnet.{name}")
        for returned in RETURNED.get(room, ()):
            yield from directive("class", returned)
    yield from headline("runners")
    yield from (line for name in _runners() for line in directive("class", f"runners.{name}"))
    yield from directive("class", "runners.history.History")
    for module in ("opnet.testing", "opnet.bridge", "opnet.plots"):
        yield from headline(module)
        yield from directive("module", module)


def _runners() -> list[str]:
    import runners

    return sorted(runners.__all__)


def headline(title: str) -> Iterator[str]:
    yield from ("", title, "-" * len(title), "")


def directive(kind: str, name: str) -> Iterator[str]:
    yield f".. auto{kind}:: {name}"
    if kind != "function":
        yield "   :members:"
    yield ""


def of_init(app: Any, kind: str, name: str, obj: Any, *_: Any) -> tuple[str, None] | None:
    """The arguments of `__init__`: those of `Op.__new__` say nothing."""
    if kind != "class" or issubclass(obj, Exception):
        return None
    arguments = signature(obj.__init__, bound_method=True)
    text = stringify_signature(arguments, show_return_annotation=False, unqualified_typehints=True)
    return re.sub(r"<built-in method (\w+) of type object>", r"torch.\1", text), None


def as_it_stands(app: Any, kind: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Docstrings are plain text: a formula keeps its columns, in prose no sign is markup."""
    paragraphs = re.split(r"\n\s*\n", "\n".join(lines).strip())
    lines[:] = [line for place, text in enumerate(paragraphs) for line in _marked_up(place, text)]


def _marked_up(place: int, text: str) -> Iterator[str]:
    if re.search(r"\S {2,}\S|^ ", text, re.MULTILINE) or (place == 0 and "=" in text):
        yield from ("::", "", *(f"   {line}" for line in text.splitlines()), "")
        return
    parts = text.split("`")
    for i in range(len(parts)):  # each second one is code
        parts[i] = f"``{parts[i]}``" if i % 2 else re.sub(r"([\\*_|<>\[\]:])", r"\\\1", parts[i])
    yield from (*"".join(parts).splitlines(), "")
