"""Putting a model's layers on disk: the directory is made ready, then all files change at once."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ..archive import packed
from ..errors import CheckpointError, NonFiniteError
from ..files import is_there, listed, said
from .atomic import ELSEWHERE, RENAME, Content, commit, read_manifest
from .contents import Layers, Memory, layers_of, non_finite
from .load import Found, faults_of, read
from .manifest import OPTIMIZER, RESUME, SUFFIX, check_names


def prepare(directory: str | Path, model: Any) -> Path:
    """Make `directory`, parents too; refuse it when it holds layers that are not this model's.

    A model is refused where the name of a layer can be no file's.
    """
    directory, layers = Path(directory), layers_of(model)
    check_names((f"{name}{SUFFIX}" for name in layers), str(directory), RENAME)
    made(directory)
    way_out = _way_out(directory)
    manifest = read_manifest(directory, way_out)
    files = manifest.files if manifest else [path.name for path in listed(directory)]
    there = {name.removesuffix(SUFFIX) for name in files if name.endswith(SUFFIX)}
    if strangers := sorted(there - layers.keys()):
        stranger = f"{strangers[0]}{SUFFIX}, which this model has not"
        raise CheckpointError(f"{directory}: holds {stranger}; {way_out}")
    known = {name: layers[name] for name in layers if name in there}
    if known and (faults := faults_of(_found(directory, known, way_out), known)):
        raise CheckpointError(f"{directory}: holds another model: {faults}; {way_out}")
    return directory


def _way_out(directory: Path) -> str:
    """What to do with a directory that is in the way: a run that can go on is not to be lost."""
    run = directory / RESUME
    kept = f"choose another directory or delete the files of this one, all but {run}"
    return kept if is_there(run) else ELSEWHERE


def _found(directory: Path, known: Layers, way_out: str) -> Found:
    try:
        return read(directory, [f"{name}{SUFFIX}" for name in known], way_out=way_out)
    except CheckpointError as error:
        said = str(error).removesuffix(f"; {way_out}")
        raise CheckpointError(f"{said}; {way_out}") from error


def made(directory: Path) -> Path:
    """The directory, made with its parents where it is not there. CheckpointError if unwritable."""
    with said(directory, "cannot be made"):
        directory.mkdir(parents=True, exist_ok=True)
    if not os.access(directory, os.W_OK | os.X_OK):
        raise CheckpointError(f"{directory}: cannot be written to")
    return directory


def save(
    directory: str | Path,
    layers: Layers,
    memory: Memory | None = None,
    about: Mapping[str, Any] | None = None,
    pack: Callable[[Mapping[str, Tensor]], bytes] = packed,
) -> list[Path]:
    """Write one file a layer, the optimizer's if it keeps something, and the manifest: all or none.

    `about` goes into the manifest: the model's description, epoch, scores. `pack` makes the bytes
    of a layer's file, by default those of torch.save. Returns the paths of the files.
    NonFiniteError, and nothing written, when a value is nan or infinite.
    """
    directory = Path(directory)
    if bad := non_finite(layers | {OPTIMIZER: memory or {}}):
        raise NonFiniteError(f"{directory}: {bad}; nothing was written")
    files = {f"{name}{SUFFIX}": Content(pack(own), own) for name, own in layers.items()}
    if memory:
        files[OPTIMIZER] = Content(packed(memory), memory)
    return commit(directory, files, about or {})
