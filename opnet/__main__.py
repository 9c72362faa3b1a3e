"""`python -m opnet check file.py:Op`: proves an op in a file, or names what is wrong with it.

Exit codes: 0 passed, 1 something found, 2 nothing that could be checked; 130 Ctrl-C, 141 nobody
reads stdout any more. SIGTERM ends it at once: nothing is being written.
"""

import argparse
import contextlib
import importlib.util
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

PASSED, FOUND, UNUSABLE = 0, 1, 2
INTERRUPTED, UNREAD = 130, 141


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m opnet", description=__doc__, allow_abbrev=False
    )
    commands = parser.add_subparsers(dest="command", required=True)
    check = commands.add_parser("check", help="prove the gradients of an op", allow_abbrev=False)
    check.add_argument("target", type=target, metavar="path/to/file.py:ClassOrInstance")
    check.add_argument("--input", type=shape, metavar="5x4", help="rows x features, axes in front")
    check.add_argument("--json", action="store_true", help="the report for machines")
    check.add_argument("--seed", type=int, default=0)
    settings = parser.parse_args(arguments)

    from .gradcheck import check as checked

    try:
        with contextlib.redirect_stdout(sys.stderr):  # what the file prints is no report
            op = loaded(*settings.target)
            inputs = None if settings.input is None else drawn(settings.input, settings.seed)
            report = checked(op, inputs, seed=settings.seed)
    except (Exception, SystemExit) as error:  # of the file that was named: whatever it raises
        print(f"error: {type(error).__name__}: {' '.join(str(error).split())}", file=sys.stderr)
        return UNUSABLE
    print(json.dumps(report.as_dict(), indent=2) if settings.json else report, flush=True)
    return PASSED if report.passed else FOUND


def guarded() -> int:
    """The exit code of `main`, also where it is cut short."""
    try:
        return main()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at exit
        return UNREAD


def target(text: str) -> tuple[Path, str]:
    """An argparse type: file.py:Name."""
    path, _, name = text.rpartition(":")
    if not path.endswith(".py") or not name.isidentifier():
        raise argparse.ArgumentTypeError(f"{text!r} is not path/to/file.py:ClassOrInstance")
    if not Path(path).is_file():
        raise argparse.ArgumentTypeError(f"{path}: no such file")
    return Path(path), name


def shape(text: str) -> list[int]:
    """An argparse type: 5x4, 2x5x4."""
    if not re.fullmatch(r"[1-9]\d{0,3}(x[1-9]\d{0,3})+", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a shape as 5x4")
    return [int(size) for size in text.split("x")]


def loaded(path: Path, name: str) -> Any:
    """The op called `name` in the file; a class is called without arguments."""
    alias = f"_checked_{path.stem}"  # a file may be called torch.py
    spec = importlib.util.spec_from_file_location(alias, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[alias] = module
    sys.path.insert(0, str(path.parent))
    spec.loader.exec_module(module)
    if not hasattr(module, name):
        raise AttributeError(f"{path} has no {name}")
    found = getattr(module, name)
    return found() if isinstance(found, type) else found


def drawn(sizes: list[int], seed: int) -> Any:
    import torch

    return torch.randn(sizes, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


if __name__ == "__main__":
    sys.exit(guarded())
