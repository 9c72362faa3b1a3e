"""kill -9 at random moments of repeated saving."""

import itertools
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from . import judge, states
from .fork import Job, Say, in_child
from .judge import Bench, Trial
from .writers import Writer

SAVES = 4  # that fit into the longest life


def while_saving(bench: Bench, trials: int) -> Iterator[Trial]:
    """A life after the other in one directory: each has to mend what the last one left."""
    writer, last, directory = bench.writer, 1, bench.saved(1)
    longest = SAVES * seconds_per_save(writer, bench.empty())
    for number in range(trials):
        life = bench.random.uniform(0, longest)
        said = in_child(saving(writer, directory, last + 1), kill_after=life, begun=True).said[1:]
        old = said[-1] if said else last
        then = old + 2 if number % 2 else 0
        trial = judge.verdict(writer, directory, {old: "old", old + 1: "new"}, then)
        last = then or old + (trial.outcome == "new")
        if trial.outcome in judge.BAD:
            last, directory = 1, bench.saved(1)
        yield trial._replace(story=f"killed after {life * 1e3:.2f} ms: {trial.story}")


def seconds_per_save(writer: Writer, directory: Path, repeats: int = 20) -> float:
    """The median time of a save."""

    def measure(say: Say) -> None:
        runner = states.runner()
        for epoch in range(repeats):
            states.fill(runner, epoch)
            start = time.perf_counter()
            writer.save(directory, runner)
            say(time.perf_counter() - start)

    return median(in_child(measure).said)


def saving(writer: Writer, directory: Path, first: int) -> Job:
    """Saves one epoch after the other, and says each when its save has returned.

    Before the first it says that it begins.
    """

    def save(say: Say) -> None:
        runner = states.runner()
        say("begun")
        for epoch in itertools.count(first):
            states.fill(runner, epoch)
            writer.save(directory, runner)
            say(epoch)

    return save
