"""A fast run, `--fast-dev-run`: as little of a script as shows that all of it runs.

A script says in its parser which of its constants and flags are others then: `fast={"EPOCHS": 1}`.
"""

import argparse
import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

RUNS, FAST_RUNS = Path("checkpoints/runs"), Path("checkpoints/runs/fast")
HELP = f"as little as shows that it runs, into {FAST_RUNS}; nothing is judged by it"
NOT_JUDGED = "fast run"


def elsewhere(settings: argparse.Namespace, parser: argparse.ArgumentParser) -> argparse.Namespace:
    """In a fast run, paths that nobody has given lead below `FAST_RUNS`."""
    for flag, value in vars(settings).items() if settings.fast_dev_run else ():
        if isinstance(value, Path) and value == parser.get_default(flag):
            setattr(settings, flag, FAST_RUNS / value.relative_to(RUNS))
    return settings


@contextlib.contextmanager
def small(settings: argparse.Namespace, main: Callable[..., Any]) -> Iterator[bool]:
    """Inside, in a fast run, flags and constants of the script of `main` are others: are they?"""
    others = settings.fast if settings.fast_dev_run else {}
    constants = vars(sys.modules[main.__module__])
    usual = {name: constants[name] for name in others if name not in settings}
    for name, value in others.items():
        (constants if name in usual else vars(settings))[name] = value
    try:
        yield bool(others)
    finally:
        constants.update(usual)
