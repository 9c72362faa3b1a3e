"""Lists the experiments; runs all of them; holds every number of the sources to account.

`python -m experiments`          a line for each script
`python -m experiments all`      runs all but those that time things, into directories in --out
`python -m experiments ledger`   every number of the sources, obtained again; exits 1 if one fails
"""

import argparse
import ast
import functools
import importlib
import sys
import tempfile
from pathlib import Path
from typing import Any

from experiments import cli, fast, flags
from experiments.rows import Row, table
from runners.ends import STOPPED, guarded

RUNS = "cli.run(arguments(), main)\n"  # the last line of a script
NEED_ARGUMENTS = ("boundary",)
NEED_THE_MACHINE = ("benchmark", "overhead", "scaling")  # for minutes, and to themselves
NO_SOURCES = (*NEED_THE_MACHINE, "durability", "estimators", "gradient_check", "moons", "onnx_step")


def scripts() -> dict[str, Path]:
    """The files that run when they are called, by name; others hold what several of them share."""
    paths = sorted(Path(__file__).parent.glob("*.py"))
    return {path.stem: path for path in paths if path.read_text().endswith(RUNS)}


def summary(path: Path) -> str:
    return (ast.get_docstring(ast.parse(path.read_text())) or "").splitlines()[0]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m experiments",
        description=__doc__,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command")
    everything = commands.add_parser("all", help="run every script", allow_abbrev=False)
    ledger = commands.add_parser("ledger", help="every number of the sources", allow_abbrev=False)
    everything.add_argument("--animate", action="store_true", help="write the animated GIFs too")
    everything.add_argument("--out", type=flags.path, default=fast.RUNS)
    everything.add_argument("--ledger", type=flags.path, help="write it there, in Markdown")
    everything.add_argument("--format", nargs="+", choices=("png", "pdf", "svg"), default=["png"])
    everything.add_argument("--fast-dev-run", action="store_true", help=fast.HELP)
    parser.set_defaults(fast_dev_run=False)
    for command in (everything, ledger):
        command.add_argument("--seed", type=flags.whole_number(0), default=0)
        command.add_argument("--device", type=flags.device, default="auto")
        command.add_argument("--quiet", action="store_true", help="print errors only")
    return fast.elsewhere(parser.parse_args(), everything)


def settings_of(module: Any, chosen: argparse.Namespace, out: Path) -> argparse.Namespace:
    """The script's own defaults under what was chosen for all."""
    settings = module.arguments().parse_args(["--fast-dev-run"] * chosen.fast_dev_run)
    return argparse.Namespace(**vars(settings) | vars(chosen) | {"out": out / settings.name})


def run_all(chosen: argparse.Namespace) -> int:
    """Every script in turn; one that fails does not keep the others from running."""
    codes: list[int] = []
    rows: list[Row] = []
    for name, path in scripts().items():
        if name in (*NEED_ARGUMENTS, *NEED_THE_MACHINE):
            continue
        if not chosen.quiet:
            print(f"\n== {name}: {summary(path)}")
        code = guarded(functools.partial(run_one, name, chosen, rows))
        if code in STOPPED:
            return code
        codes.append(code)
    if chosen.ledger:
        chosen.ledger.write_text(table(rows, markdown=True) + "\n")
        codes.append(cli.judge(rows, chosen))
    return max(codes)


def run_one(name: str, chosen: argparse.Namespace, rows: list[Row]) -> None:
    """A script as it is called; its rows come into `rows` too."""
    module = importlib.import_module(f"experiments.{name}")
    rows += cli.report(settings_of(module, chosen, chosen.out), module.main).rows


def run_ledger(chosen: argparse.Namespace) -> int:
    """The rows of every script that reproduces a source; 1 when one of them no longer holds."""
    rows: list[Row] = []
    for name in cli.progress(scripts(), chosen, "scripts"):
        if name not in (*NEED_ARGUMENTS, *NO_SOURCES):
            module = importlib.import_module(f"experiments.{name}")
            with tempfile.TemporaryDirectory() as out, cli.silence():
                settings = settings_of(module, chosen, Path(out))
                rows += cli.run_main(settings, module.main).rows
    return cli.judge(rows, chosen)


def run_list(chosen: argparse.Namespace) -> None:
    """A line for each script."""
    for name, path in scripts().items():
        print(f"python -m experiments.{name:<20} {summary(path)}")


def main() -> int:
    jobs = {None: run_list, "all": run_all, "ledger": run_ledger}

    def job() -> int | None:
        chosen = arguments()
        return jobs[chosen.command](chosen)

    return guarded(job)


if __name__ == "__main__":
    sys.exit(main())
