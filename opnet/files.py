"""Bytes on disk: whole files read and written, and never more than was asked for."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import CheckpointError

MANIFEST = "manifest.json"
NEW = ".new"  # ends the name of a file that is still to take its place
# a link may lead out of the directory, and to open a pipe may never return
_UNFOLLOWED = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
_BINARY = getattr(os, "O_BINARY", 0)


def opened(path: Path, flags: int) -> int:
    """A descriptor of the file itself. CheckpointError for a symbolic link, OSError else."""
    try:
        return os.open(path, flags | _UNFOLLOWED | _BINARY, 0o666)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
    raise CheckpointError(f"{path}: a symbolic link, wanted the file itself")


def read_file(path: Path, at_most: int | None = None) -> bytes:
    """All bytes of a regular file. CheckpointError for anything else, or more than `at_most`."""
    try:
        file = opened(path, os.O_RDONLY)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file") from None
    except CheckpointError:
        raise
    except (OSError, ValueError) as error:  # ValueError: no name can have a NUL
        why = getattr(error, "strerror", error)
        raise CheckpointError(f"{path}: cannot be read: {why}") from None
    with said(path, "cannot be read"), closing(path, file):
        found = os.fstat(file)
        if not stat.S_ISREG(found.st_mode):
            raise CheckpointError(f"{path}: not a regular file")
        if at_most is not None and found.st_size > at_most:
            raise CheckpointError(f"{path}: has {found.st_size} bytes, wanted at most {at_most}")
        try:
            return _read(file, found.st_size)
        except MemoryError:
            raise CheckpointError(f"{path}: has {found.st_size} bytes, too many to read") from None


def write_new(path: Path, data: bytes) -> None:
    """Put `data` into a file that is not there yet, down to the disk."""
    with said(path, "cannot be written"):
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY
        with closing(path, os.open(path, flags, 0o666)) as file:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(file, rest) :]
            os.fsync(file)


def put_in_place(path: Path) -> None:
    """`path`.new becomes `path`, at once and as a whole."""
    with said(path, "cannot be written"):
        os.replace(path.with_name(path.name + NEW), path)


def write_whole(path: Path, data: bytes) -> None:
    """Put `data` in the place of `path`, as a whole or not at all; directories are made.

    A link stays, and where it leads is written; what is no file, as a pipe, takes the bytes.
    """
    with said(path, "cannot be written"):
        path = Path(os.path.realpath(path)) if path.is_symlink() else path
        if path.exists() and not (path.is_file() or path.is_dir()):
            path.write_bytes(data)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(path.name + NEW)
    remove(new)  # of a writer that was killed
    try:
        write_new(new, data)
        put_in_place(path)
    except BaseException:
        with suppress(CheckpointError):
            remove(new)
        raise
    sync(path.parent)


def remove(path: Path) -> None:
    with said(path, "cannot be removed"):
        path.unlink(missing_ok=True)


def sync(directory: Path) -> None:
    """What the directory says of its files goes down to the disk, as far as the system can."""
    if os.name == "nt":  # it opens no directories
        return
    with said(directory, "cannot be written"):
        file = os.open(directory, os.O_RDONLY)
    with said(directory, "cannot be written"), closing(directory, file):
        os.fsync(file)


def listed(directory: Path) -> list[Path]:
    """What the directory holds."""
    with said(directory, "cannot be listed"):
        return [directory / name for name in sorted(os.listdir(directory))]


def is_there(path: Path) -> bool:
    """Whether the name is taken, be it by a link that leads nowhere."""
    with said(path, "cannot be looked at"):
        try:
            return bool(os.lstat(path))
        except FileNotFoundError:
            return False


@contextmanager
def said(path: Path, what: str) -> Iterator[None]:
    """An error of the system inside becomes a CheckpointError that names the path."""
    try:
        yield
    except OSError as error:
        raise CheckpointError(f"{path}: {what}: {error.strerror or error}") from error


@contextmanager
def closing(path: Path, file: int) -> Iterator[int]:
    try:
        yield file
    finally:
        with said(path, "cannot be closed"):
            os.close(file)


def _read(file: int, size: int) -> bytes:
    parts = []
    while size > 0 and (part := os.read(file, size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
