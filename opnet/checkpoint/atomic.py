"""A set of files that changes as a whole: a crash at any moment leaves the old set or the new.

Written beside the old files as `<file>.new`, the new ones count from the moment when the manifest
that names their sums takes the place of the old manifest: that one rename is the commit. A reader
takes a file, or its `.new`, whichever has the sum that the manifest names. The new manifest is the
first to be written and the last to be cleared up: so where it stands beside as `.new`, the plain
files are one whole set, and where others alone do, they may be of two.
"""

import contextlib
import hashlib
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from ..errors import CheckpointError, joined
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

AS_THEY_ARE = "to read the files as they are, delete manifest.json or pass verify=False"
ELSEWHERE = "choose another directory or empty this one"
RENAME = "give the layers other names"


class Content(NamedTuple):
    """A file to be: its bytes, and the tensors that they hold."""

    data: bytes
    tensors: Mapping[str, Tensor]


def commit(directory: Path, files: Mapping[str, Content], about: Mapping[str, Any]) -> list[Path]:
    """Put `files` in the place of the set that was there. CheckpointError, and it stays, if not.

    What fails after the commit is a CheckpointError too, which says that the new set is there.
    """
    manifests.check_names(files, str(directory), RENAME)
    with locked(directory):
        before = heal(directory)
        _check_places(directory, [*files, MANIFEST])
        entries = {name: manifests.entry(*content) for name, content in files.items()}
        generation = before.generation + 1 if before else 1
        text = manifests.packed(Manifest(generation, entries, dict(about)))
        try:
            for name, data in ((MANIFEST, text), *((n, c.data) for n, c in files.items())):
                write_new(directory / f"{name}{NEW}", data)
            sync(directory)
            put_in_place(directory / MANIFEST)
        except BaseException:
            with contextlib.suppress(CheckpointError):
                heal(directory)
            raise
        try:
            sync(directory)  # before the renames: on the disk they must not precede the commit
            for name in (before.files if before else {}).keys() - files.keys():
                remove(directory / name)
            for name in files:
                put_in_place(directory / name)
        except CheckpointError as error:
            raise CheckpointError(f"{error}; the new files count all the same") from error
    return [directory / name for name in files]


def heal(directory: Path) -> Manifest | None:
    """Finish what a crash has left: a `.new` that the manifest names takes its place, others go."""
    manifest = read_manifest(directory, ELSEWHERE)
    for path in sorted(listed(directory), key=lambda path: path.name == f"{MANIFEST}{NEW}"):
        name = path.name.removesuffix(NEW)
        if name == path.name or not (name == MANIFEST or manifests.is_file_name(name)):
            continue  # not what a save leaves
        entry = manifest.files.get(name) if manifest else None
        with said(path, "cannot be looked at"):
            found = path.lstat()
        if stat.S_ISDIR(found.st_mode):
            continue  # whatever it is of
        fits = entry and stat.S_ISREG(found.st_mode) and found.st_size == entry.size
        if entry and fits and _sum(read_file(path, entry.size)) == entry.sha256:
            put_in_place(directory / name)
        else:
            remove(path)
    return manifest


def _check_places(directory: Path, names: Iterable[str]) -> None:
    """CheckpointError where a directory stands in the place of a file that is to be written."""
    for path in (directory / f"{name}{end}" for name in names for end in (NEW, "")):
        with said(path, "cannot be looked at"):
            taken = path.is_dir()
        if taken:
            raise CheckpointError(f"{path}: is a directory, wanted a file's place; move it away")


def read_manifest(directory: Path, way_out: str) -> Manifest | None:
    """The manifest; None where there is none. CheckpointError for one that is damaged."""
    path = directory / MANIFEST
    if not is_there(path):
        return None
    try:
        return manifests.parsed(read_file(path, manifests.MOST_BYTES), str(path))
    except CheckpointError as error:
        raise CheckpointError(f"{error}; {way_out}") from error


def read_set(directory: Path, way_out: str) -> tuple[Manifest | None, dict[str, bytes]]:
    """The manifest and the files that it names; None and nothing where there is none.

    A writer may commit in between: then all is read again. The error of a file that is not the one
    of the manifest ends with `way_out`.
    """
    while True:
        manifest = read_manifest(directory, way_out)
        if manifest is None:
            return None, {}
        data, faults = {}, []
        for name, entry in manifest.files.items():
            try:
                data[name] = _named(directory / name, entry, way_out)
            except CheckpointError as error:
                faults.append(str(error))
        if not faults:
            return manifest, data
        if read_manifest(directory, way_out) == manifest:
            raise CheckpointError(joined(faults))


def read_unverified(
    directory: Path, names: Iterable[str], at_most: int | None
) -> tuple[Manifest | None, dict[str, bytes]]:
    """The files that the manifest names, as they are; those of `names` where none can be read.

    None of two saves, so far as names can tell it: what a save has left unfinished is taken from
    its `.new` if the manifest names the sum, and refused if there is none to tell.
    """
    while True:
        manifest = _manifest_if_sound(directory)
        entries = manifest.files if manifest else dict.fromkeys(names)
        data, faults = {}, [] if manifest else _unfinished(directory, entries)
        for name, entry in entries.items():
            try:
                data[name] = _as_it_is(directory / name, entry, at_most)
            except CheckpointError as error:
                if name != manifests.OPTIMIZER or is_there(directory / name):
                    faults.append(str(error))
        if _manifest_if_sound(directory) != manifest:
            continue  # a writer has committed in between
        if faults:
            raise CheckpointError(joined(faults))
        return manifest, data


def _manifest_if_sound(directory: Path) -> Manifest | None:
    with contextlib.suppress(CheckpointError):
        return read_manifest(directory, AS_THEY_ARE)
    return None


def _unfinished(directory: Path, names: Iterable[str]) -> list[str]:
    """What says that a save has come as far as its commit, and no manifest which files are whose.

    Before it, the new manifest is there as `.new`, looked for twice as a writer may be at work.
    """
    begun = is_there(directory / f"{MANIFEST}{NEW}")
    left = [path for name in names if (path := directory / f"{name}{NEW}").is_file()]
    if begun or is_there(directory / f"{MANIFEST}{NEW}"):
        return []
    why = f"is left of a save, and no {MANIFEST} says if it is newer than the files beside it"
    way_out = f"take {NEW} off its name to read it, or delete it to read those"
    return [f"{path}: {why}; {way_out}" for path in left]


def _as_it_is(path: Path, entry: Entry | None, at_most: int | None) -> bytes:
    if entry:
        with contextlib.suppress(CheckpointError):
            return _named(path, entry, AS_THEY_ARE)
    return read_file(path, at_most)


def _named(path: Path, entry: Entry, way_out: str) -> bytes:
    """The bytes that the entry is of, in the file or in its `.new`."""
    new = path.with_name(path.name + NEW)
    for place in (path, new, path):  # path again: `.new` may have taken its place in between
        with contextlib.suppress(CheckpointError):
            data = read_file(place, entry.size)
            if len(data) == entry.size and _sum(data) == entry.sha256:
                return data
    came = _sum(read_file(path, entry.size))[:12]  # which names what else keeps it from being read
    wanted = f"{MANIFEST} names one of {entry.size} with {entry.sha256[:12]}..."
    raise CheckpointError(f"{path}: damaged or changed: sha256 is {came}..., {wanted}; {way_out}")


def _sum(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
