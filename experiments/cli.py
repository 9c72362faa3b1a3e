"""What every script does at its edge: check flags before importing torch, end with the right code.

0 done; 1 an error met on the way, one line on stderr; 2 a wrong flag or value; 130 Ctrl-C.
"""

import argparse
import math
import re
import sys
from collections.abc import Callable

INTERRUPTED = 130


def run(main: Callable[[], None]) -> None:
    """Run `main` and exit; an error that a user can mend is one line, not a traceback."""
    try:
        main()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except (ValueError, TypeError, ArithmeticError, OSError, RuntimeError, MemoryError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(1)


def parser(name: str, description: str | None) -> argparse.ArgumentParser:
    """A parser that takes flags in full only: an abbreviation may mean another flag tomorrow."""
    prog = f"python -m experiments.{name}"
    return argparse.ArgumentParser(prog=prog, description=description, allow_abbrev=False)


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


def device(text: str) -> str:
    """An argparse type: auto, cpu, cuda, cuda:1, mps. Whether it is there is found out later."""
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not auto, cpu, cuda, cuda:1 or mps")
    return text


def print_settings(settings: argparse.Namespace) -> None:
    """One line with every flag and its value, so that a log says how to repeat the run."""
    print("[Settings] " + ", ".join(f"{key}: {value}" for key, value in vars(settings).items()))
