"""A file that may not grow, a disk that is full: the save fails, and what was there stays."""

import os
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from opnet import CheckpointError

from . import judge, states
from .fork import Say, in_child
from .judge import Bench, Skipped, Trial
from .writers import Writer

STEP = 512  # bytes between one limit and the next
MEGABYTE = 2**20


def limited_file(bench: Bench, trials: int) -> Iterator[Trial]:
    """RLIMIT_FSIZE: no file may be larger than so many bytes."""
    start = bench.saved(1)
    largest = max(path.stat().st_size for path in start.iterdir())
    for limit in bench.thinned(list(range(0, largest + STEP, STEP)), trials):
        with bench.copy(start) as directory:
            trial = _saved(bench.writer, directory, partial(_limit, limit))
        yield trial._replace(story=f"files of {limit} bytes at most: {trial.story}")


def full_disk(bench: Bench, trials: int) -> Iterator[Trial]:
    """A file system of a megabyte, with so little left on it."""
    start = bench.saved(1)
    left = 2 * sum(path.stat().st_size for path in start.iterdir()) + 8 * 4096
    for free in bench.thinned(list(range(0, left, 4096)), trials):
        with _small_disk(bench.empty()) as disk:
            directory = shutil.copytree(start, disk / "set")
            ballast = _leave(disk, free)
            trial = _saved(bench.writer, directory, lambda: None, ballast)
        yield trial._replace(story=f"{free} bytes left: {trial.story}")


def _saved(
    writer: Writer, directory: Path, limit: Callable[[], None], ballast: Path | None = None
) -> Trial:
    """The verdict on a save of 2 over 1 in a child that is `limit`ed."""

    def save(say: Say) -> None:
        runner = states.runner()
        states.fill(runner, 2)
        limit()
        try:
            writer.save(directory, runner)
        except CheckpointError:
            say("refused")
        except Exception as error:
            say(f"{type(error).__name__}: {error}")
        else:
            say("returned")

    said, ended_by = in_child(save)
    if ended_by:
        return Trial("crash", f"save ended with signal {ended_by}")
    if said[0] not in ("refused", "returned"):
        return Trial("other", f"save: {said[0]}")
    allowed = {2: "new"} if said == ["returned"] else {1: "old", 2: "new"}
    trial = judge.verdict(writer, directory, allowed)
    if trial.outcome in judge.BAD:
        return trial
    if ballast:
        ballast.unlink()
    after = judge.verdict(writer, directory, allowed, then=3)
    return after if after.outcome in judge.BAD else trial


def _limit(size: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


@contextmanager
def _small_disk(point: Path) -> Iterator[Path]:
    """A file system of its own, in memory. Skipped where mounting is not allowed."""
    mount = ["mount", "-t", "tmpfs", "-o", f"size={MEGABYTE}", "tmpfs", str(point)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        raise Skipped("needs the right to mount a tmpfs") from None
    try:
        yield point
    finally:
        subprocess.run(["umount", str(point)], check=True)


def _leave(disk: Path, free: int) -> Path:
    """Fill the disk with one file, but for so many bytes."""
    ballast, there = disk / "ballast", os.statvfs(disk)
    ballast.write_bytes(bytes(max(0, there.f_bavail * there.f_frsize - free)))
    return ballast
