"""The flags of the scripts, read before torch is imported."""

import argparse
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from experiments import fast as fast_runs

ANIMATE = "write the animated GIF too"


class Parser(argparse.ArgumentParser):
    """The flags of a script."""

    def parse_args(self, *args: Any, **kwargs: Any) -> argparse.Namespace:  # type: ignore[override]
        return fast_runs.elsewhere(super().parse_args(*args, **kwargs), self)


def parser(
    name: str,
    description: str | None,
    *,
    animated: bool = False,
    fast: dict[str, Any] | None = None,
) -> Parser:
    """The flags that all scripts have, in full only: an abbreviation may change its meaning.

    `fast` are the constants of the script, and its flags, in a fast run.
    """
    flags = Parser(
        prog=f"python -m experiments.{name}",
        description=description,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,  # keeps formulas as they stand
    )
    flags.set_defaults(name=name, animate=False, fast=fast or {})
    flags.add_argument("--seed", type=whole_number(0), default=0, help="the first, of several")
    flags.add_argument("--device", type=device, default="auto", help="auto, cpu, cuda, mps")
    flags.add_argument("--out", type=path, default=fast_runs.RUNS / name)
    flags.add_argument("--format", nargs="+", choices=("png", "pdf", "svg"), default=["png"])
    flags.add_argument("--no-figures", action="store_true")
    flags.add_argument("--show", action="store_true", help="open the figures in windows")
    flags.add_argument("--quiet", action="store_true", help="print errors only")
    flags.add_argument("--fast-dev-run", action="store_true", help=fast_runs.HELP)
    if animated:
        flags.add_argument("--animate", action="store_true", help=ANIMATE)
    return flags


def whole_number(lowest: int, highest: int = 2**32 - 1) -> Callable[[str], int]:
    """An argparse type: a whole number from `lowest` to `highest`."""

    def parse(text: str) -> int:
        number = int(text)
        if not lowest <= number <= highest:
            raise argparse.ArgumentTypeError(f"{text} is not from {lowest} to {highest}")
        return number

    parse.__name__ = "whole number"
    return parse


def amount(text: str) -> float:
    """An argparse type: a finite number >= 0."""
    number = float(text)
    if not math.isfinite(number) or number < 0:
        raise argparse.ArgumentTypeError(f"{text} is not a finite number >= 0")
    return number


def path(text: str) -> Path:
    """An argparse type: a path. An empty one, as of a variable that is not set, is none."""
    if not text:
        raise argparse.ArgumentTypeError("'' is no path")
    return Path(text)


def device(text: str) -> str:
    """An argparse type: auto, cpu, cuda, cuda:1, mps. Whether it is there is found out later."""
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not auto, cpu, cuda, cuda:1 or mps")
    return text
