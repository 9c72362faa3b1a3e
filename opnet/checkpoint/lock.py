"""One writer to a directory at a time: a lock of the system's, so that a kill leaves none."""

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import CheckpointError
from ..files import closing, opened, said

try:
    import fcntl
except ImportError:  # no such lock on Windows: there two writers are not kept apart
    fcntl = None  # type: ignore[assignment]

LOCK = ".lock"
SECONDS_TO_WAIT = 10.0
SECONDS_BETWEEN_TRIES = 0.02

_held: set[tuple[int, int, int, int]] = set()  # (process, thread, device, inode) of lock files
_open: set[int] = set()  # the lock files that this process has opened, held or not yet


def _leave_to_the_parent() -> None:
    """In a forked child: the lock stays with the parent, and ends when the parent does.

    Its file is put out of reach but not closed: whoever opened it still will.
    """
    _held.clear()
    with open(os.devnull) as nothing:
        for file in _open:
            os.dup2(nothing.fileno(), file, inheritable=False)


if fcntl is not None:
    os.register_at_fork(after_in_child=_leave_to_the_parent)


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Alone in `directory`, inside; a thread that already is goes straight on.

    Another writer is waited for, ten seconds long; then a CheckpointError says who it is.
    """
    path = directory / LOCK
    with said(path, "cannot be opened"):
        file = opened(path, os.O_RDWR | os.O_CREAT)
    with closing(path, file), _forgotten_by_children(file):
        with said(path, "cannot be looked at"):
            found = os.fstat(file)
        me = (os.getpid(), threading.get_ident(), found.st_dev, found.st_ino)
        if fcntl is None or me in _held:
            yield
            return
        _wait(file, directory)
        _held.add(me)
        try:
            _sign(file)
            yield
        finally:
            _held.discard(me)
            with suppress(OSError):  # closing it does the same, but where another fork has it open
                fcntl.flock(file, fcntl.LOCK_UN)


@contextmanager
def _forgotten_by_children(file: int) -> Iterator[None]:
    _open.add(file)
    try:
        yield
    finally:
        _open.discard(file)


def _wait(file: int, directory: Path) -> None:
    until = time.monotonic() + SECONDS_TO_WAIT
    while True:
        try:
            return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() < until:
                time.sleep(SECONDS_BETWEEN_TRIES)
                continue
        except OSError as error:
            raise CheckpointError(f"{directory}: cannot be locked: {error.strerror}") from error
        with said(directory, "is being written to, by whom cannot be read"):
            told = os.pread(file, 200, 0).decode(errors="replace")
        holder = " ".join(told.split()) or "another process"
        waited = f"waited {SECONDS_TO_WAIT:g} s"
        raise CheckpointError(f"{directory}: {holder} is writing here, {waited}")


def _sign(file: int) -> None:
    """Say in the file who holds it, for those who wait. Only a help: a full disk is no harm."""
    who = f"process {os.getpid()} on {socket.gethostname()}, since {time.strftime('%F %T')}\n"
    try:
        os.truncate(file, 0)
        os.pwrite(file, who.encode(), 0)
    except OSError:
        pass
