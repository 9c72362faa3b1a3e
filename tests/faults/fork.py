"""Trials in forked children: torch is imported once, and a child may be killed at any moment."""

import json
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

SECONDS = 60  # a child that runs longer hangs: SIGALRM ends it
BATCH = 100
Say = Callable[[Any], None]
Job = Callable[[Say], None]


class Report(NamedTuple):
    """What a child said until its end, and the signal that ended it; 0 for none."""

    said: list[Any]
    signal: int


class Child:
    """A forked copy of this process that runs job(say); what it says comes through a pipe."""

    def __init__(self, job: Job) -> None:
        reading, writing = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(reading)
            _run(job, writing)
        os.close(writing)
        self.pipe = open(reading)  # noqa: SIM115

    def kill(self, by: int = signal.SIGKILL) -> None:
        os.kill(self.pid, by)

    def report(self) -> Report:
        """Wait for the end. RuntimeError when the job itself is wrong."""
        with self.pipe:
            said = [json.loads(line) for line in self.pipe]
        _, status = os.waitpid(self.pid, 0)
        if os.WIFEXITED(status) and os.WEXITSTATUS(status):
            raise RuntimeError("the job of a child failed; its traceback is on stderr")
        return Report(said, os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0)


class Servant:
    """A child that does one job after the other; when it dies of one, the next gets another child.

    A fork of all that torch has in memory takes longer than most jobs.
    """

    def __init__(self, job: Callable[[Any], Any]) -> None:
        self.job = job
        self.child: Child | None = None

    def ask(self, order: Any) -> Report:
        """[job(order)] and 0, or nothing and the signal that ended it."""
        child = self.child = self.child or self._hired()
        self.orders.write(json.dumps(order) + "\n")
        self.orders.flush()
        if answer := child.pipe.readline():
            return Report([json.loads(answer)], 0)
        self.child = None
        self.orders.close()
        return child.report()

    def _hired(self) -> Child:
        reading, writing = os.pipe()

        def serve(say: Say) -> None:
            os.close(writing)  # or it would never see the end of the orders
            signal.alarm(0)
            with open(reading) as orders:
                for order in orders:
                    signal.alarm(SECONDS)
                    say(self.job(json.loads(order)))
                    signal.alarm(0)

        child = Child(serve)
        os.close(reading)
        self.orders = open(writing, "w")  # noqa: SIM115
        return child


def in_child(
    job: Job, *, kill_after: float | None = None, begun: bool = False, by: int = signal.SIGKILL
) -> Report:
    """The report of a child; with `kill_after` it gets a signal, kill -9, after so many seconds.

    With `begun` they count from when it first says something: a fork takes longer than a save.
    """
    child = Child(job)
    if kill_after is not None:
        if begun:
            select.select([child.pipe], [], [], SECONDS)
        time.sleep(kill_after)
        child.kill(by)
    return child.report()


def in_batches(items: Sequence[Any], job: Callable[[Any], Any], crashed: Any) -> Iterator[Any]:
    """job(item) of each, many in one child; `crashed` for the one that a child died of."""
    done = 0
    while done < len(items):
        batch = items[done : done + BATCH]
        said, ended_by = in_child(partial(_each, batch, job))
        yield from said
        done += len(said)
        if ended_by:
            yield crashed
            done += 1


def _each(batch: Sequence[Any], job: Callable[[Any], Any], say: Say) -> None:
    for item in batch:
        say(job(item))


def _run(job: Job, writing: int) -> None:
    """The life of a child; it must never return into the code that forked it."""
    code = 1
    try:
        signal.alarm(SECONDS)
        write = os.write  # a job may put another in its place
        job(lambda what: _say(write, writing, what))
        code = 0
    except BaseException:
        traceback.print_exc(file=sys.stderr)
    finally:
        os._exit(code)


def _say(write: Callable[[int, bytes], int], writing: int, what: Any) -> None:
    write(writing, json.dumps(what).encode() + b"\n")  # short lines are written whole or not at all
