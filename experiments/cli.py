"""What every script does at its edge: run, print, save its figures, end with the right code.

A script is `arguments()`, a parser, and `main(settings) -> Outcome`; `cli.run` prints the rows that
come of it and saves its figures. `runners.ends` says which exit codes there are.
"""

import argparse
import contextlib
import gc
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from experiments import fast
from experiments.rows import Outcome, Row, table
from runners.ends import guarded

Main = Callable[[argparse.Namespace], Outcome]


def run(parser: argparse.ArgumentParser, main: Main) -> None:
    """Parse, run `main`, report, exit; an error that a user can mend is a line, not a traceback."""
    sys.exit(guarded(lambda: report(parser.parse_args(), main)))


def report(settings: argparse.Namespace, main: Main) -> Outcome:
    """Print what `main` says and finds, and save what it has drawn."""
    from opnet.parallel import rank

    follows = rank() > 0  # rank 0 alone prints, draws and writes
    with silence() if settings.quiet or follows else contextlib.nullcontext():
        outcome = run_main(settings, main)
        if follows:
            return outcome
        if outcome.rows:
            print(table(outcome.rows))
        for path in (*outcome.written, *save(settings, outcome)):
            print(f"[Written] {path}")
    if settings.show and not settings.no_figures:
        show(outcome)
    return outcome


def judge(rows: Sequence[Row], settings: argparse.Namespace) -> int:
    """Print the rows, when quiet those that no longer hold; 1 when there are such."""
    broken = [row for row in rows if not row.holds]
    if broken or not settings.quiet:
        print(table(broken if settings.quiet else rows))
        print(f"{len(rows) - len(broken)} of {len(rows)} rows hold", file=sys.stderr)
    return 1 if broken else 0


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Nothing reaches stdout inside."""
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        yield


def run_main(settings: argparse.Namespace, main: Main) -> Outcome:
    """`main` in the house's style, on a device that is there, the settings printed first."""
    from opnet import plots
    from opnet.tensors import pick_device

    settings.device = str(pick_device(settings.device))
    with contextlib.nullcontext() if settings.no_figures else plots.style():
        if not gc.get_freeze_count():
            gc.freeze()  # what is imported by now stays; to look through it takes 0.2 s each time
        with fast.small(settings, main) as smaller:
            outcome = main(settings)
    if smaller:
        unjudged = [row._replace(verdict=fast.NOT_JUDGED) for row in outcome.rows]
        return outcome._replace(rows=unjudged)
    return outcome


def save(settings: argparse.Namespace, outcome: Outcome) -> Iterator[Path]:
    """Write the figures in every format that was asked for, then the animations."""
    from opnet import plots

    if settings.no_figures:
        return
    for name, figure in outcome.figures.items():
        for ending in settings.format:
            yield plots.save(figure, settings.out / f"{name}.{ending}")
    for name, animation in outcome.animations.items():
        yield plots.save_animation(animation, settings.out / f"{name}.gif")


def show(outcome: Outcome) -> None:
    """The figures in windows, until the last one is closed."""
    import matplotlib.pyplot as plt

    for figure in outcome.figures.values():
        plt.figure(figure)
    plt.show()


def print_settings(settings: argparse.Namespace) -> None:
    """One line with every flag and its value, so that a log says how to repeat the run."""
    shown = {key: value for key, value in vars(settings).items() if key not in ("name", "fast")}
    print("[Settings] " + ", ".join(f"{key}: {value}" for key, value in shown.items()))


def progress(items: Iterable[Any], settings: argparse.Namespace, label: str) -> Iterable[Any]:
    """`items`, with a bar on stderr from two seconds on, where a person is watching."""
    if settings.quiet or sys.stderr is None or not sys.stderr.isatty():
        return items
    try:
        from tqdm import tqdm
    except ImportError:
        return items
    return tqdm(items, desc=label, delay=2, leave=False)
