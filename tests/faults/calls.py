"""Every system call of a save or a load goes wrong in turn: fails, or is the last before kill -9.

The calls are those that Python code makes through `os` and `fcntl`; `open` is replaced by the one
of `_pyio`, which makes the same calls through `os`. Where strace works a test compares them with
the kernel's.
"""

import _pyio
import builtins
import errno
import fcntl
import io
import itertools
import os
import signal
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from . import judge, states
from .fork import Say, in_child
from .judge import Bench, Trial
from .writers import Writer

CHANGING = ("write", "fsync", "fdatasync", "ftruncate", "rename", "replace", "link", "symlink")
CHANGING += ("unlink", "remove", "mkdir", "rmdir", "chmod", "utime")
READING = ("open", "read", "close", "stat", "lstat", "fstat", "lseek", "listdir", "scandir")
PATCHED = {os: (*CHANGING, *READING), fcntl: ("flock", "lockf")}
ERRORS = ("ENOSPC", "EIO", "EACCES")
DEAD = "EIO from here on"
SHORT = "a short write"
KILL = "kill"
HALF = "kill in the middle"


class Calls:
    """Counts the calls of this process and does `action` to the one numbered `wrong`."""

    def __init__(self, action: str = "", wrong: int = -1) -> None:
        self.action, self.wrong = action, wrong
        self.made: list[str] = []

    def watch(self) -> "Calls":
        for module, names in PATCHED.items():
            for name in names:
                setattr(module, name, partial(self._call, name, getattr(module, name)))
        builtins.open = io.open = _pyio.open
        return self

    def _call(self, name: str, real: Callable[..., Any], *given: Any, **named: Any) -> Any:
        number = len(self.made)
        self.made.append(name)
        if number == self.wrong or (number > self.wrong >= 0 and self.action == DEAD):
            return self._go_wrong(name, real, *given, **named)
        return real(*given, **named)

    def _go_wrong(self, name: str, real: Callable[..., Any], *given: Any, **named: Any) -> Any:
        if name == "write" and self.action in (SHORT, HALF):
            file, content = given
            written = real(file, memoryview(content)[: len(content) // 2])
        if self.action in (KILL, HALF):
            os.kill(os.getpid(), signal.SIGKILL)
        if self.action == SHORT:
            return written
        if name == "close":
            real(*given)  # one that fails closes all the same
        code = getattr(errno, self.action.split()[0])
        raise OSError(code, os.strerror(code), *given[:1] if isinstance(given[0], str) else ())


def made_by(job: Callable[[], None]) -> list[str]:
    """The names of the calls that `job` makes, in order."""

    def count(say: Say) -> None:
        calls = Calls().watch()
        job()
        say(calls.made)

    return in_child(count).said[0]


def wrong_ways(made: list[str], actions: tuple[str, ...]) -> list[tuple[int, str, str]]:
    """(number, name, action) of all that can go wrong."""
    return [
        (number, name, action)
        for number, name in enumerate(made)
        for action in actions
        if name == "write" or action not in (SHORT, HALF)
    ]


def failing_save(bench: Bench, trials: int) -> Iterator[Trial]:
    return _wrong_saves(bench, trials, (*ERRORS, DEAD, SHORT))


def killed_save(bench: Bench, trials: int) -> Iterator[Trial]:
    return _wrong_saves(bench, trials, (KILL, HALF))


def _wrong_saves(bench: Bench, trials: int, actions: tuple[str, ...]) -> Iterator[Trial]:
    """A save over a whole state, and over all that a save that was killed may leave."""
    ways = []
    for start in _starts(bench):
        with bench.copy(start) as directory:
            made = made_by(_save(bench.writer, directory, 3))
        ways += [(start, *way) for way in wrong_ways(made, actions)]
    for start, number, name, action in thinned(ways, trials):
        with bench.copy(start) as directory:
            trial = _wrong_save(bench.writer, directory, action, number)
        yield trial._replace(story=f"{action} at call {number}, {name}: {trial.story}")


def _starts(bench: Bench) -> list[Path]:
    """Directories that hold 1, and those that a save of 2 over it leaves when it is killed."""
    starts = {"": bench.saved(1)}
    with bench.copy(starts[""]) as directory:
        made = made_by(_save(bench.writer, directory, 2))
    for number in range(len(made)):
        directory = bench.saved(1)
        in_child(partial(_with_a_fault, _save(bench.writer, directory, 2), KILL, number))
        held = {path.name: path.read_bytes() for path in directory.iterdir()}
        starts.setdefault(str(sorted(held.items())), directory)
    return list(starts.values())


def _wrong_save(writer: Writer, directory: Path, action: str, number: int) -> Trial:
    """The verdict on a save of 3 that goes wrong, and on the one that follows."""
    save = _save(writer, directory, 3)
    said, ended_by = in_child(partial(_with_a_fault, save, action, number))
    if ended_by != (signal.SIGKILL if action in (KILL, HALF) else 0):
        return Trial("crash", f"save ended with signal {ended_by}")
    returned = said == ["returned"]
    if said and not returned and not said[0].startswith("CheckpointError"):
        return Trial("other", f"save: {said[0]}")
    allowed = {3: "new"} if returned else {1: "old", 2: "old", 3: "new"}
    trial = judge.verdict(writer, directory, allowed)
    if trial.outcome in judge.BAD:
        return trial._replace(story=f"{trial.story}; save: {said}")
    next_save = judge.goes_on(writer, directory, 4)
    return next_save if next_save.outcome in judge.BAD else trial


def _save(writer: Writer, directory: Path, epoch: int) -> Callable[[], None]:
    runner = states.runner()
    states.fill(runner, epoch)
    return partial(writer.save, directory, runner)


def _with_a_fault(job: Callable[[], None], action: str, number: int, say: Say) -> None:
    calls = Calls(action, number).watch()
    said = "returned"
    try:
        job()
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
    calls.wrong = -1
    say(said)


def failing_load(bench: Bench, trials: int) -> Iterator[Trial]:
    """A load whose calls fail in turn gives the state or a CheckpointError, never half of it."""
    directory = bench.saved(1)
    made = made_by(lambda: judge.loaded(bench.writer, directory))
    for number, name, action in thinned(wrong_ways(made, ("EIO", "EACCES", DEAD)), trials):

        def load(say: Say, number: int = number, action: str = action) -> None:
            Calls(action, number).watch()
            say(judge.loaded(bench.writer, directory))

        report = in_child(load)
        story = f"{action} at call {number}, {name}: {report.said}"
        kind, what = report.said[0] if report.said else ("crash", report.signal)
        if kind == "numbers":
            kind = "old" if what == [1] else "torn" if len(what) > 1 else "silent"
        yield Trial(kind, story)


def thinned(items: list[Any], most: int) -> list[Any]:
    """Some of the items, spread over all of them: at most so many."""
    step = max(1, -(-len(items) // most))
    return list(itertools.islice(items, 0, None, step))
