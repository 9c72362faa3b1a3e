"""A save as the kernel sees it, by strace: no change is hidden from `calls`, and each goes wrong.

strace holds a child at the system call itself, whoever makes it: Python, torch or the C library.
"""

import difflib
import os
import re
import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from opnet import CheckpointError

from . import calls, judge
from .fork import Child, Report, Say
from .judge import Bench, Skipped, Trial

AS_IN_PYTHON = {"openat": "open", "pwrite64": "pwrite", "rename": "replace", "remove": "unlink"}
AS_IN_PYTHON |= {"renameat": "replace", "renameat2": "replace", "mkdirat": "mkdir"}
AS_IN_PYTHON |= {"unlinkat": "unlink", "ftruncate": "truncate", "lockf": "fcntl"}
INJECTED = (*calls.CHANGING, "open", "flock", "lockf")
HARMLESS = {"read", "pread64", "close", "lseek", "access", "faccessat", "faccessat2", "ioctl"}
HARMLESS |= {"stat", "lstat", "fstat", "newfstatat", "statx", "getdents64", "getcwd", "readlink"}
HARMLESS |= {"mmap", "munmap", "mremap", "mprotect", "madvise", "brk", "futex", "sched_yield"}
HARMLESS |= {"getpid", "gettid", "getuid", "geteuid", "uname", "getrandom", "clock_gettime"}
HARMLESS |= {"rt_sigaction", "rt_sigprocmask", "clock_nanosleep", "restart_syscall"}
MARK = "getppid"  # called before and after the save, and by nothing else


class Call(NamedTuple):
    """A system call that may change something: the kernel's name, the how manieth, its line."""

    name: str
    number: int
    line: str


def hidden_calls(bench: Bench, trials: int) -> Iterator[Trial]:
    """One trial a call: `calls`, which lets each of its own go wrong, has made it too."""
    start = bench.saved(1)
    with bench.copy(start) as directory:
        made = calls.made_by(calls.save_of(bench.writer, directory, 3))
    ours = [AS_IN_PYTHON.get(name, name) for name in made if name in INJECTED]
    theirs = [AS_IN_PYTHON.get(call.name, call.name) for call in _seen(bench, start)]
    for line in difflib.ndiff(ours, theirs):
        if line[0] == " ":
            yield Trial("new")
        elif line[0] in "+-":
            seen = "made and not injected" if line[0] == "+" else "injected and not made"
            yield Trial("other", f"{line[2:]}: {seen}")


def failing_save(bench: Bench, trials: int) -> Iterator[Trial]:
    """At each call kill -9, and one of the errors; the following save has to work."""
    start = bench.saved(1)
    seen = _seen(bench, start)
    kills = [(call, "signal=KILL") for call in seen]
    errors = [(call, f"error={calls.ERRORS[i % 3]}") for i, call in enumerate(seen)]
    for call, action in bench.thinned([*kills, *errors], trials):
        with bench.copy(start) as directory:
            trial = _wrong_at(bench, directory, call, action)
        yield trial._replace(story=f"{action} at {call.name} {call.number}: {trial.story}")


def _wrong_at(bench: Bench, directory: Path, call: Call, action: str) -> Trial:
    inject = f"inject={call.name}:{action}:when={call.number}"
    said, ended_by = _traced(bench, directory, f"trace={call.name}", inject)[0]
    if ended_by and not (ended_by == signal.SIGKILL and "KILL" in action):
        return Trial("crash", f"save ended with signal {ended_by}")
    if not ended_by and "KILL" in action:
        return Trial("other", "the call was not made")
    if said not in ([], ["returned"], ["refused"]):
        return Trial("other", f"save: {said[0]}")
    allowed = {3: "new"} if said == ["returned"] else calls.MAY_HOLD
    return judge.verdict(bench.writer, directory, allowed, then=4)


def _seen(bench: Bench, start: Path) -> list[Call]:
    """The calls of a save of 3 that may change something, or are not known to be harmless."""
    with bench.copy(start) as directory:
        report, lines = _traced(bench, directory, "trace=all")
    if report.said != ["returned"]:
        raise RuntimeError(f"a save without a fault, traced: {report}")
    begin, end = (i for i, line in enumerate(lines) if f" {MARK}(" in line)
    numbers, seen = Counter[str](), []
    for line in lines[begin:end]:
        [name] = re.findall(r"^\d+ +(\w+)\(", line) or [""]
        numbers[name] += 1
        if name and name != MARK and name not in HARMLESS and "O_DIRECTORY" not in line:
            seen.append(Call(name, numbers[name], line))
    return seen


def _traced(bench: Bench, directory: Path, *what: str) -> tuple[Report, list[str]]:
    """How a save of 3 ends that strace watches from its first call on, and what it has seen."""
    reading, writing = os.pipe()
    child = Child(partial(_held_save, bench, directory, (reading, writing)))
    log = bench.place / "strace"
    command = ["strace", "-f", "-o", str(log), "-p", str(child.pid)]
    command += [word for text in what for word in ("-e", text)]
    os.close(reading)
    try:
        tracer = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        told = tracer.stderr.readline() if tracer.stderr else ""
    except OSError as error:
        told = str(error)
    if "attached" not in told:
        child.kill()
        child.report()
        os.close(writing)
        raise Skipped(f"needs a strace that may attach: {told.strip()}")
    os.close(writing)
    report = child.report()
    tracer.communicate()
    return report, log.read_text().splitlines()


def _held_save(bench: Bench, directory: Path, gate: tuple[int, int], say: Say) -> None:
    """Everything is made ready, then nothing happens until the gate is opened."""
    save: Callable[[], None] = calls.save_of(bench.writer, directory, 3)
    os.close(gate[1])
    os.read(gate[0], 1)
    os.getppid()
    try:
        save()
    except CheckpointError:
        end = "refused"
    except Exception as error:
        end = f"{type(error).__name__}: {error}"
    else:
        end = "returned"
    os.getppid()
    say(end)
