"""`check file.py:Op`: proves an op in a file, or names what is wrong with it.

Exit codes: 0 passed, 1 something found, 2 nothing that could be checked.
"""

import argparse
import contextlib
import importlib.util
import json
import re
import sys
import traceback
from pathlib import Path
from typing import Any

from ..ends import aside
from .out import Out

PASSED, FOUND, UNUSABLE = 0, 1, 2


def add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("target", type=target, metavar="path/to/file.py:ClassOrInstance")
    parser.add_argument("--input", type=shape, metavar="5x4", help="rows x features, axes in front")
    parser.add_argument("--seed", type=int, default=0)


def run(chosen: argparse.Namespace, out: Out) -> int:
    from opnet.gradcheck import check

    try:
        with contextlib.redirect_stdout(sys.stderr):  # what the file prints is no report
            op = loaded(*chosen.target)
            inputs = None if chosen.input is None else drawn(chosen.input, chosen.seed)
            report = check(op, inputs, seed=chosen.seed)
    except (Exception, SystemExit) as error:  # of the file that was named: whatever it raises
        if chosen.debug:
            traceback.print_exc()
        aside(f"error: {type(error).__name__}: {' '.join(str(error).split())}")
        return UNUSABLE
    print(json.dumps(report.as_dict(), indent=2) if chosen.json else report, flush=True)
    return PASSED if report.passed else FOUND


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
