"""Every fault with the number of its trials in CI; runs them and counts how they end."""

import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from . import calls, damage, full, kernel, kills, power, training
from .judge import BAD, GOOD, Bench, Skipped, Trial
from .writers import WRITERS

ALL = 10**6  # of what ends by itself
SHM = Path("/dev/shm")
# a kill takes nothing that was written, synced or not: there is no need to wait for a disk
MEMORY = SHM if os.access(SHM, os.W_OK) else None
STORIES = 3  # of each fault that went badly


class Fault(NamedTuple):
    """A kind of trial; `trials` is how many CI makes."""

    make: Callable[[Bench, int], Iterator[Trial]]
    trials: int


class Result(NamedTuple):
    """How the trials of one fault ended."""

    name: str
    outcomes: Counter[str]
    seconds: float
    stories: list[str]
    left_out: int = 0
    skipped: str = ""

    @property
    def bad(self) -> int:
        return sum(self.outcomes[kind] for kind in BAD)


FAULTS = {
    "kill -9 while saving": Fault(kills.while_saving, 200),
    "kill -9 while training": Fault(partial(training.while_training, "kill -9"), 100),
    "Ctrl-C while training": Fault(partial(training.while_training, "Ctrl-C"), 20),
    "a nan while training": Fault(partial(training.while_training, "nan"), 20),
    "kill -9 at each system call of a save": Fault(calls.killed_save, ALL),
    "each system call of a save fails": Fault(calls.failing_save, ALL),
    "each system call of a load fails": Fault(calls.failing_load, ALL),
    "the kernel sees no other calls": Fault(kernel.hidden_calls, ALL),
    "each of them goes wrong in the kernel": Fault(kernel.failing_save, ALL),
    "the power fails": Fault(power.power_lost, 25),
    "no file may grow: RLIMIT_FSIZE": Fault(full.limited_file, ALL),
    "the disk is full": Fault(full.full_disk, ALL),
    "each file cut off after each byte": Fault(damage.truncations, ALL),
    "a bit flips": Fault(damage.flips, 2000),
    "a bit flips, no manifest": Fault(damage.flips_alone, 500),
}


def run(
    trials: int | None = None,
    *,
    writer: str = "opnet",
    seed: int = 0,
    place: Path | None = None,
    names: list[str] | None = None,
) -> Iterator[Result]:
    """The results, each as soon as it is there; at most `trials` of a fault, None: as CI does."""
    for name, fault in FAULTS.items():
        if names is None or name in names:
            with tempfile.TemporaryDirectory(dir=place) as directory:
                training.warm_up(Path(directory))
                bench = Bench(WRITERS[writer], Path(directory), seed)
                yield result(name, fault.make(bench, trials or fault.trials), bench)


def result(name: str, trials: Iterator[Trial], bench: Bench) -> Result:
    outcomes, stories, start = Counter[str](), [], time.monotonic()
    try:
        for trial in trials:
            outcomes[trial.outcome] += 1
            if trial.outcome in BAD and len(stories) < STORIES:
                stories.append(f"{trial.outcome}: {trial.story}")
    except Skipped as why:
        return Result(name, outcomes, time.monotonic() - start, stories, 0, str(why))
    return Result(name, outcomes, time.monotonic() - start, stories, bench.left_out)


def rows(results: Iterator[Result]) -> Iterator[tuple[str, ...]]:
    """Cells of text: a head, then one row a fault."""
    yield ("fault", "trials", "left out", *GOOD, *BAD, "seconds")
    for name, outcomes, seconds, _, left_out, skipped in results:
        if skipped:
            yield (name, f"skipped: {skipped}")
        else:
            counts = [str(outcomes[kind]) for kind in (*GOOD, *BAD)]
            yield (name, str(outcomes.total()), str(left_out), *counts, f"{seconds:.1f}")


def table(results: Iterator[Result]) -> Iterator[str]:
    """The rows as lines, each as soon as its trials are over."""
    widest = max(map(len, FAULTS))
    for name, *cells in rows(results):
        yield f"{name:<{widest}}  " + "  ".join(cell.rjust(7) for cell in cells)
