"""What a fault has left: one whole state, or what is wrong. No load runs in this process."""

import itertools
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from opnet import CheckpointError

from . import states
from .fork import Say, Servant, in_child
from .writers import Writer

GOOD = ("new", "old", "refused")  # the state being saved; the one before; an error that may be
BAD = ("torn", "lost", "silent", "stuck", "crash", "other")


class Trial(NamedTuple):
    """One of GOOD or BAD, and what led to it, for the bad ones."""

    outcome: str
    story: str = ""


class Skipped(Exception):
    """A fault that cannot be made on this machine, and why."""


class Bench:
    """Where trials are made: a writer, a place on disk, and the dice."""

    def __init__(self, writer: Writer, place: Path, seed: int = 0) -> None:
        self.writer, self.place, self.random = writer, place, Random(seed)
        self._numbers = itertools.count()
        self.left_out = 0

    def thinned(self, items: list[Any], most: int) -> list[Any]:
        """At most so many of the items, spread over all of them; counts those left out."""
        step = max(1, -(-len(items) // most))
        self.left_out += len(items) - len(items[::step])
        return items[::step]

    def empty(self) -> Path:
        directory = self.place / str(next(self._numbers))
        directory.mkdir(parents=True)
        return directory

    def saved(self, *epochs: int) -> Path:
        """A new directory in which these epochs were saved, one after the other."""
        directory = self.empty()

        def save(say: Say) -> None:
            runner = states.runner()
            for epoch in epochs:
                states.fill(runner, epoch)
                self.writer.save(directory, runner)

        if died := in_child(save).signal:
            raise RuntimeError(f"saving without a fault ended with signal {died}")
        return directory

    @contextmanager
    def copy(self, original: Path) -> Iterator[Path]:
        """A directory like `original`, removed at the end."""
        directory = self.place / str(next(self._numbers))
        shutil.copytree(original, directory)
        yield directory
        shutil.rmtree(directory)


def verdict(writer: Writer, directory: Path, allowed: dict[int, str], then: int = 0) -> Trial:
    """`judged` in another process, which a load may end."""
    said, ended_by = _judge(writer).ask([str(directory), list(allowed.items()), then])
    return Trial("crash", f"load ended with signal {ended_by}") if ended_by else Trial(*said[0])


@cache
def _judge(writer: Writer) -> Servant:
    def judge(order: Any) -> Trial:
        directory, allowed, then = order
        return judged(writer, Path(directory), dict(allowed), then)

    return Servant(judge)


def judged(writer: Writer, directory: Path, allowed: dict[int, str], then: int = 0) -> Trial:
    """What `directory` holds: the name that `allowed` gives to its epoch, or BAD.

    `then` is an epoch to save afterwards, which has to work too.
    """
    kind, what = loaded(writer, directory)
    if kind == "refused":
        return Trial("lost", what)
    if kind != "numbers":
        return Trial(kind, what)
    trial = _of_numbers(directory, what, allowed)
    return _next_save(writer, directory, then, trial) if then else trial


def loaded(writer: Writer, directory: Path) -> tuple[str, Any]:
    """("numbers", those in the model after a load), or a kind of error and its text."""
    runner = states.runner()
    try:
        writer.load(directory, runner)
    except CheckpointError as error:
        changed = states.numbers(states.tensors(runner)) != [states.NOBODY]
        return "torn" if changed else "refused", f"CheckpointError: {error}"
    except Exception as error:
        return "other", f"load: {type(error).__name__}: {error}"
    return "numbers", states.numbers(states.tensors(runner))


def named(what: list[float], allowed: dict[int, str]) -> str:
    """The name of a state by its numbers: that of its epoch, or of what is wrong with them."""
    if len(what) > 1:
        return "torn"
    if (epoch := what[0]) in allowed:
        return allowed[int(epoch)]
    return "lost" if 0 <= epoch < min(allowed) else "silent"


def _of_numbers(directory: Path, what: list[float], allowed: dict[int, str]) -> Trial:
    outcome = named(what, allowed)
    if outcome in BAD:
        return Trial(outcome, f"holds {what}, wanted one of {list(allowed)}")
    epoch = what[0]
    for name in states.files(states.runner()):
        ours = [states.on_disk(directory / f"{name}{ending}") for ending in ("", ".new")]
        if [epoch] not in ours:
            return Trial("silent", f"loads as {epoch}, but {name} holds {ours}")
    return Trial(outcome)


def _next_save(writer: Writer, directory: Path, epoch: int, trial: Trial) -> Trial:
    """`trial`, unless the next save fails or leaves anything but its epoch in the plain files."""
    if trial.outcome in BAD:
        return trial
    runner = states.runner()
    states.fill(runner, epoch)
    try:
        writer.save(directory, runner)
    except Exception as error:
        return Trial("stuck", f"the next save: {type(error).__name__}: {error}")
    if left := [path.name for path in directory.iterdir() if path.suffix == ".new"]:
        return Trial("stuck", f"the next save leaves {left}")
    for name in states.files(runner):
        if states.on_disk(directory / name) != [epoch]:
            return Trial("stuck", f"the next save leaves another epoch in {name}")
    after = judged(writer, directory, {epoch: "new"})
    return after if after.outcome in BAD else trial
