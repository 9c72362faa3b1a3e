"""The power fails at random moments: what is on a disk then, and not what the system remembers.

The disk is a file that holds an ext4 file system, mounted while a writer saves. Its copy has all
that went down to the disk and nothing that waits in memory; mounting it replays the journal, as
after a crash.
"""

import os
import select
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from . import judge
from .fork import Child
from .judge import Bench, Skipped, Trial
from .kills import saving, seconds_per_save

BYTES = 24 * 2**20
SAVES = 4  # that fit into the longest time between two failures of the power
# the journal is written each second, and a rename waits for nothing that was not asked for
STRICT = "loop,commit=1,noauto_da_alloc"


def power_lost(bench: Bench, trials: int) -> Iterator[Trial]:
    """The writer is held at a random moment, the disk is copied, and the writer goes on."""
    with _mounted(_formatted(bench.place / "disk"), bench.empty()) as point:
        directory = point / "set"
        directory.mkdir()
        longest = SAVES * seconds_per_save(bench.writer, directory)
        writer = Child(saving(bench.writer, directory, 1))
        last = _heard(writer, 0, wait=True)
        _asked("sync", "-f", str(point))  # the directory too is there whatever the writer does
        try:
            for _ in range(trials):
                wait = bench.random.uniform(0, longest)
                time.sleep(wait)
                last, disk = _lost(writer, last, bench.place / "disk")
                trial = _verdict(bench, disk, last)
                yield trial._replace(story=f"power lost after save {last}: {trial.story}")
        finally:
            writer.kill()
            writer.report()


def _lost(writer: Child, last: int, disk: Path) -> tuple[int, Path]:
    """The last save that had returned, and a copy of the disk at that moment."""
    os.kill(writer.pid, signal.SIGSTOP)
    os.waitpid(writer.pid, os.WUNTRACED)
    content = b""
    while content != (content := disk.read_bytes()):
        pass  # the system itself was writing
    last = _heard(writer, last)
    os.kill(writer.pid, signal.SIGCONT)
    copy = disk.with_name("copy")
    copy.write_bytes(content)
    return last, copy


def _verdict(bench: Bench, disk: Path, last: int) -> Trial:
    with _mounted(disk, bench.empty()) as point:
        allowed = {last: "old", last + 1: "new"}
        return judge.verdict(bench.writer, point / "set", allowed, then=last + 2)


def _heard(writer: Child, last: int, *, wait: bool = False) -> int:
    """The last epoch of which the writer has said that it is saved."""
    while wait or select.select([writer.pipe], [], [], 0)[0]:
        said = os.read(writer.pipe.fileno(), 65536).split()
        wait = False
        last = int(said[-1]) if said[-1:] != [b'"begun"'] else last
        wait = last == 0
    return last


def _formatted(image: Path) -> Path:
    with open(image, "wb") as file:
        file.truncate(BYTES)
    _asked("mkfs.ext4", "-q", "-F", str(image))
    return image


@contextmanager
def _mounted(image: Path, point: Path) -> Iterator[Path]:
    _asked("mount", "-t", "ext4", "-o", STRICT, str(image), str(point))
    try:
        yield point
    finally:
        subprocess.run(["umount", str(point)], check=True)


def _asked(*command: str) -> None:
    """Skipped where the system refuses it: that takes root, loop devices and ext4."""
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise Skipped(f"needs the right to {command[0]} an ext4 in a file: {error}") from None
