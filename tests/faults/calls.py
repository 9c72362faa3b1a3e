"""Every system call of a save or a load goes wrong in turn: fails, or is the last before kill -9.

The calls are those that Python code makes through `os` and `fcntl`; `open` is replaced by the one
of `_pyio`, which makes the same calls through `os`. `kernel` compares them with what the kernel
sees of a save.
"""

import _pyio
import builtins
import errno
import fcntl
import io
import os
import signal
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from . import judge, states
from .fork import Say, in_batches, in_child
from .judge import Bench, Trial
from .writers import Writer

CHANGING = ("write", "fsync", "fdatasync", "ftruncate", "rename", "replace", "link", "symlink")
CHANGING += ("unlink", "remove", "mkdir", "rmdir", "chmod", "utime", "truncate", "pwrite")
READING = ("open", "read", "close", "stat", "lstat", "fstat", "lseek", "listdir", "scandir")
READING += ("pread",)
PATCHED = {os: (*CHANGING, *READING), fcntl: ("flock", "lockf")}
OPEN = io.open
ERRORS = ("ENOSPC", "EIO", "EACCES")
DEAD = "EIO from here on"
SHORT = "a short write"
KILL = "kill"
HALF = "kill in the middle"
MAY_HOLD = {1: "old", 2: "old", 3: "new"}  # epochs, after a save of 3 that did not return


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

    def forget(self) -> None:
        for module, names in PATCHED.items():
            for name in names:
                setattr(module, name, getattr(module, name).args[1])
        builtins.open = io.open = OPEN

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
            return written if name == "write" else real(*given, **named)
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


class Way(NamedTuple):
    """One way to go wrong: what is done to which call of a save into a copy of `start`."""

    start: Path
    number: int
    name: str
    action: str

    def __str__(self) -> str:
        left = sorted(path.name for path in self.start.glob("*.new"))
        return f"{self.action} at call {self.number}, {self.name}, over {left or 'a whole set'}"


def wrong_ways(start: Path, made: list[str], actions: tuple[str, ...]) -> list[Way]:
    """Each action at each call where it makes a difference.

    A kill before a call that only reads leaves what one before the next call leaves.
    """
    at = {KILL: (*CHANGING, "open", "flock"), SHORT: ("write",), HALF: ("write",)}
    return [
        Way(start, number, name, action)
        for number, name in enumerate(made)
        for action in actions
        if name in at.get(action, (name,))
    ]


def killed_save(bench: Bench, trials: int) -> Iterator[Trial]:
    for way in _ways(bench, trials, (KILL, HALF), (KILL, HALF)):
        with bench.copy(way.start) as directory:
            job = partial(_with_a_fault, bench.writer, directory, way)
            if in_child(lambda say, job=job: say(job())).signal != signal.SIGKILL:
                yield Trial("other", f"{way}: the call was not made")
            trial = judge.verdict(bench.writer, directory, MAY_HOLD, then=4)
        yield trial._replace(story=f"{way}: {trial.story}")


def failing_save(bench: Bench, trials: int) -> Iterator[Trial]:
    ways = _ways(bench, trials, (*ERRORS, DEAD, SHORT), ("EIO",))
    said = in_batches(ways, partial(_failed_save, bench), ("crash", "save or load died"))
    for way, trial in zip(ways, said, strict=True):
        yield Trial(trial[0], f"{way}: {trial[1]}")


def _failed_save(bench: Bench, way: Way) -> Trial:
    """The verdict on a save of 3 that goes wrong, and on the one that follows."""
    with bench.copy(way.start) as directory:
        said = _with_a_fault(bench.writer, directory, way)
        if said != "returned" and not said.startswith("CheckpointError"):
            return Trial("other", f"save: {said}")
        allowed = {3: "new"} if said == "returned" else MAY_HOLD
        trial = judge.judged(bench.writer, directory, allowed, then=4)
    return trial._replace(story=f"{trial.story}; save: {said}")


def _ways(
    bench: Bench, most: int, whole_set: tuple[str, ...], leftovers: tuple[str, ...]
) -> list[Way]:
    """What can go wrong with a save over a whole state, then over what killed ones left."""
    first, *others = _starts(bench)
    whole = wrong_ways(first, _made(bench, first), whole_set)
    left = [way for start in others for way in wrong_ways(start, _healing(bench, start), leftovers)]
    room = most - len(whole)
    return whole + bench.thinned(left, room) if room > 0 else bench.thinned(whole + left, most)


def _starts(bench: Bench) -> list[Path]:
    """A directory that holds 1, and those that a save of 2 over it leaves when it is killed."""
    first = bench.saved(1)
    starts = {_listing(first): first}
    for way in wrong_ways(first, _made(bench, first), (KILL,)):
        directory = bench.saved(1)
        _killed(bench, directory, way, epoch=2)
        starts.setdefault(_listing(directory), directory)
    return list(starts.values())


def _made(bench: Bench, start: Path) -> list[str]:
    with bench.copy(start) as directory:
        return made_by(save_of(bench.writer, directory, 3))


def _healing(bench: Bench, start: Path) -> list[str]:
    """The calls of a save over leftovers up to its first write.

    All of them, unless that write finds what it finds over a whole set: then the rest is the same.
    """
    made, found = _made(bench, start), []
    for other in (start, bench.saved(1)):
        with bench.copy(other) as directory:
            number = _made(bench, other).index("write")
            _killed(bench, directory, Way(other, number, "write", KILL))
            found.append(_listing(directory))
    return made[: made.index("write") + 1] if found[0] == found[1] else made


def _killed(bench: Bench, directory: Path, way: Way, epoch: int = 3) -> None:
    in_child(lambda say: say(_with_a_fault(bench.writer, directory, way, epoch)))


def _listing(directory: Path) -> tuple[str, ...]:
    return tuple(sorted(path.name for path in directory.iterdir()))


def save_of(writer: Writer, directory: Path, epoch: int) -> Callable[[], None]:
    runner = states.runner()
    states.fill(runner, epoch)
    return partial(writer.save, directory, runner)


def _with_a_fault(writer: Writer, directory: Path, way: Way, epoch: int = 3) -> str:
    """How a save ends that meets the fault: "returned", or the error."""
    save, calls = save_of(writer, directory, epoch), Calls(way.action, way.number).watch()
    try:
        save()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    finally:
        calls.forget()
    return "returned"


def failing_load(bench: Bench, trials: int) -> Iterator[Trial]:
    """A load whose calls fail in turn gives the state or a CheckpointError, never half of it."""
    start = bench.saved(1)
    made = made_by(lambda: judge.loaded(bench.writer, start))
    ways = bench.thinned(wrong_ways(start, made, ("EIO", "EACCES", DEAD)), trials)
    said = in_batches(ways, partial(_failed_load, bench.writer), ("crash", "load died"))
    for way, (kind, what) in zip(ways, said, strict=True):
        outcome = judge.named(what, {1: "old"}) if kind == "numbers" else kind
        yield Trial(outcome, f"{way}: {what}")


def _failed_load(writer: Writer, way: Way) -> tuple[str, Any]:
    calls = Calls(way.action, way.number).watch()
    try:
        return judge.loaded(writer, way.start)
    finally:
        calls.forget()
