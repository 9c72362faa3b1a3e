"""A set of files that changes as a whole: a crash at any moment leaves the old set or the new.

Written beside the old files as `<file>.new`, the new ones count from the moment when the manifest
that names their sums takes the place of the old manifest: that one rename is the commit. A reader
takes a file, or its `.new`, whichever has the sum that the manifest names.
"""

import contextlib
import hashlib
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from ..errors import CheckpointError
from ..files import (
    MANIFEST,
    NEW,
    is_there,
    listed,
    put_in_place,
    read_file,
    remove,
    said,
    sync,
    write_new,
)
from . import manifest as manifests
from .lock import locked
from .manifest import Entry, Manifest

WAYS_OUT = "if that is as it should be, delete manifest.json or pass verify=False"


class Content(NamedTuple):
    """A file to be: its bytes, and the tensors that they hold."""

    data: bytes
    tensors: Mapping[str, Tensor]


def commit(directory: Path, files: Mapping[str, Content], about: Mapping[str, Any]) -> list[Path]:
    """Put `files` in the place of the set that was there. CheckpointError, and it stays, if not.

    What fails after the commit is a CheckpointError too, which says that the new set is there.
    """
    with locked(directory):
        before = heal(directory)
        for path in (directory / name for name in files):
            with said(path, "cannot be looked at"):
                taken = path.is_dir()
            if taken:
                raise CheckpointError(f"{path}: is a directory, wanted a file's place")
        entries = {name: manifests.entry(*content) for name, content in files.items()}
        generation = before.generation + 1 if before else 1
        text = manifests.packed(Manifest(generation, entries, dict(about)))
        try:
            for name, data in (*((n, c.data) for n, c in files.items()), (MANIFEST, text)):
                write_new(directory / f"{name}{NEW}", data)
            sync(directory)
            put_in_place(directory / MANIFEST)
        except BaseException:
            with contextlib.suppress(CheckpointError):
                heal(directory)
            raise
        try:
            sync(directory)  # before the renames: on the disk they must not precede the commit
            for name in files:
                put_in_place(directory / name)
            for name in (before.files if before else {}).keys() - files.keys():
                remove(directory / name)
        except CheckpointError as error:
            raise CheckpointError(f"{error}; the new files count all the same") from error
    return [directory / name for name in files]


def heal(directory: Path) -> Manifest | None:
    """Finish what a crash has left: a `.new` that the manifest names takes its place, others go."""
    manifest = read_manifest(directory)
    for path in listed(directory):
        name = path.name.removesuffix(NEW)
        if name == path.name or not (name == MANIFEST or manifests.is_file_name(name)):
            continue  # not what a save leaves
        entry = manifest.files.get(name) if manifest else None
        with said(path, "cannot be looked at"):
            found = path.lstat()
        fits = entry and stat.S_ISREG(found.st_mode) and found.st_size == entry.size
        if entry and fits and _sum(read_file(path, entry.size)) == entry.sha256:
            put_in_place(directory / name)
        else:
            remove(path)
    return manifest


def read_manifest(directory: Path) -> Manifest | None:
    """The manifest; None where there is none. CheckpointError for one that is damaged."""
    if not is_there(directory / MANIFEST):
        return None
    data = read_file(directory / MANIFEST, manifests.MOST_BYTES)
    return manifests.parsed(data, str(directory / MANIFEST))


def read_set(directory: Path) -> tuple[Manifest | None, dict[str, bytes]]:
    """The manifest and the files that it names; None and nothing where there is none.

    A writer may commit in between: then all is read again.
    """
    while True:
        manifest = read_manifest(directory)
        if manifest is None:
            return None, {}
        data, faults = {}, []
        for name, entry in manifest.files.items():
            try:
                data[name] = _named(directory / name, entry)
            except CheckpointError as error:
                faults.append(str(error))
        if not faults:
            return manifest, data
        if read_manifest(directory) == manifest:
            raise CheckpointError("; ".join(faults))


def _named(path: Path, entry: Entry) -> bytes:
    """The bytes that the entry is of, in the file or in its `.new`."""
    new = path.with_name(path.name + NEW)
    for place in (path, new, path):  # path again: `.new` may have taken its place in between
        with contextlib.suppress(CheckpointError):
            data = read_file(place, entry.size)
            if _sum(data) == entry.sha256:
                return data
    came = _sum(read_file(path, entry.size))[:12]  # which names what else keeps it from being read
    wanted = f"{MANIFEST} names one of {entry.size} with {entry.sha256[:12]}..."
    raise CheckpointError(f"{path}: damaged or changed: sha256 is {came}..., {wanted}; {WAYS_OUT}")


def _sum(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
