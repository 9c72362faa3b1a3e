"""Reading layers and putting them into a model: all of it, or nothing when one thing is unfit."""

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .. import foreign
from ..archive import unpacked
from ..errors import CheckpointError, check_flag
from ..files import MANIFEST, is_there, listed, read_file, said
from ..paddle import plain
from ..tensors import described, misfits
from .atomic import read_set
from .contents import Layers, Memory, layers_of, memory_of, non_finite
from .manifest import OPTIMIZER, SUFFIX

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
DTYPES = (*FLOATS, torch.int64, torch.uint8, torch.bool)

ROOM = 2**20  # bytes of a file besides those of its tensors, and more

_log = logging.getLogger(__name__)


class Part(NamedTuple):
    """The tensors of a layer as the file has them, and by whom: "torch" or "paddle"."""

    tensors: dict[str, Tensor]
    by: foreign.Program


class Found(NamedTuple):
    """What a checkpoint holds; `about` is what its manifest says, None where there is none."""

    path: Path
    layers: dict[str, Part]
    memory: Memory
    about: dict[str, Any] | None


def load(
    path: str | Path,
    model: Any,
    optimizer: Any = None,
    *,
    transpose: bool | None = None,
    verify: bool = True,
) -> None:
    """Copy a checkpoint into the tensors of model and optimizer: all, or none when it is unfit.

    Where there is no file of an optimizer of this kind, the optimizer starts anew: what it kept
    was of other weights.
    """
    wanted, memory = layers_of(model), memory_of(optimizer)
    names = [*(f"{name}{SUFFIX}" for name in wanted), *([OPTIMIZER] if memory else [])]
    tensors = [tensor for layer in wanted.values() for tensor in layer.values()]
    at_most = ROOM + 4 * sum(tensor.nbytes for tensor in (*tensors, *memory.values()))
    found = read(path, names, verify=verify, at_most=at_most)
    assign(found, model, optimizer, transpose=transpose)


def read(
    path: str | Path, names: Iterable[str], *, verify: bool = True, at_most: int | None = None
) -> Found:
    """The files that the manifest names, without one those of `names`; tensors are on the CPU.

    A `path` that is a file is the state dict of a whole net. Runs no code that a file may hold.
    Files without a manifest may have `at_most` bytes each.
    """
    check_flag("load: verify", verify)
    path = Path(path)
    with said(path, "cannot be read"):
        found, whole, holds = path.exists(), path.is_file(), path.is_dir()
    if not found:
        raise CheckpointError(f"{path}: no such directory")
    if not (whole or holds):
        raise CheckpointError(f"{path}: neither a directory nor a regular file")
    if whole:
        net = _part(path.name, read_file(path, at_most), path.parent)
        flat = foreign.per_layer(net.tensors, str(path)).items()
        return Found(path, {name: Part(tensors, net.by) for name, tensors in flat}, {}, None)
    manifest, data = read_set(path) if verify else (None, {})
    if manifest is None:
        data = _unverified(path, names, at_most)
    parts = _parts(path, data)
    memory = parts.pop(OPTIMIZER, Part({}, "torch")).tensors
    layers = {name.removesuffix(SUFFIX): part for name, part in parts.items()}
    return Found(path, layers, memory, manifest.about if manifest else None)


def assign(
    found: Found, model: Any, optimizer: Any = None, *, transpose: bool | None = None
) -> None:
    """Copy what was found into model and optimizer. CheckpointError, and no change, if unfit."""
    wanted, memory = layers_of(model), memory_of(optimizer)
    kept = _of_this_kind(found, memory)
    unfit = misfits(kept, memory, "optimizer") if kept else []
    faults = [faults_of(found, wanted, transpose), *(f"{OPTIMIZER}: {fault}" for fault in unfit)]
    if unfit_all := "; ".join(filter(None, faults)):
        raise CheckpointError(f"{found.path}: {unfit_all}")
    layers = translated(found, wanted, transpose)
    if bad := non_finite(layers | {OPTIMIZER: kept}):
        raise CheckpointError(f"{found.path}: {bad}")
    if found.about is None:
        _say_unverified(found)
    with torch.no_grad():
        for name, tensors in wanted.items():
            for key, tensor in tensors.items():
                tensor.copy_(layers[name][key])
    if memory:
        optimizer.load_state(kept)


def faults_of(found: Found, wanted: Layers, transpose: bool | None = None) -> str:
    """All that keeps the layers found from fitting the wanted ones, in one line; empty if none."""
    if strangers := sorted(found.layers.keys() ^ wanted.keys()):
        return f"holds {sorted(found.layers)}, model wants {sorted(wanted)}: {strangers[0]} differs"
    layers = translated(found, wanted, transpose)
    return "; ".join(
        f"{name}{SUFFIX}: {fault}"
        for name, tensors in wanted.items()
        for fault in misfits(layers[name], tensors, "model")
    )


def translated(found: Found, wanted: Layers | None, transpose: bool | None) -> Layers:
    """The layers found under opnet's names and the way round that opnet has them."""
    if transpose is not None:
        check_flag("load: transpose", transpose)
    return {
        name: foreign.translated(
            part.tensors, (wanted or {}).get(name), part.by, transpose, f"{found.path}: {name}"
        )
        for name, part in found.layers.items()
    }


def _unverified(directory: Path, names: Iterable[str], at_most: int | None) -> dict[str, bytes]:
    """The files of a directory without a manifest, or in spite of one."""
    data, faults = {}, []
    for name in names:
        if name == OPTIMIZER and not is_there(directory / name):
            continue
        try:
            data[name] = read_file(directory / name, at_most)
        except CheckpointError as error:
            faults.append(str(error))
    if faults:
        raise CheckpointError("; ".join(faults))
    return data


def _say_unverified(found: Found) -> None:
    with said(found.path, "cannot be read"):
        files = [path.name for path in listed(found.path)] if found.path.is_dir() else []
    there = {name.removesuffix(SUFFIX) for name in files if name.endswith(SUFFIX)}
    others = ", ".join(sorted(there - found.layers.keys()))
    ignored = f"; {others}{SUFFIX} ignored" if others else ""
    unknown = "whether its files belong together and are as they were written"
    _log.warning("%s: read without %s: %s is not known%s", found.path, MANIFEST, unknown, ignored)


def _parts(directory: Path, data: Mapping[str, bytes]) -> dict[str, Part]:
    parts, faults = {}, []
    for name, content in data.items():
        try:
            parts[name] = _part(name, content, directory)
        except CheckpointError as error:
            faults.append(str(error))
    if faults:
        raise CheckpointError("; ".join(faults))
    return parts


def _part(name: str, data: bytes, directory: Path) -> Part:
    """The dict of plain tensors that the bytes hold. CheckpointError if they hold anything else."""
    path = directory / name
    tensors, by = unpacked(data, str(path))
    if by == "paddle":
        tensors = plain(tensors)
    if not isinstance(tensors, dict):
        raise CheckpointError(f"{path}: holds a {type(tensors).__name__}, wanted a dict of tensors")
    for key, tensor in tensors.items():
        if not (isinstance(key, str) and isinstance(tensor, Tensor)):
            raise CheckpointError(f"{path}: {key!r} is a {type(tensor).__name__}, wanted a Tensor")
        if tensor.layout != torch.strided or tensor.is_meta or tensor.dtype not in DTYPES:
            raise CheckpointError(f"{path}: {key} is {described(tensor)}, wanted plain numbers")
    return Part(tensors, by)


def _of_this_kind(found: Found, memory: Memory) -> Memory:
    """What was kept by an optimizer that keeps what this one does; {} where that is nothing.

    What they keep is told by the last parts of the names, as `velocity` in `fc1.W.velocity`.
    """
    if not memory or not found.memory:
        return {}
    came, wanted = ({name.rpartition(".")[2] for name in names} for names in (found.memory, memory))
    if came == wanted:
        return found.memory
    _log.info(
        "%s: %s holds %s, optimizer wants %s: starts anew",
        found.path,
        OPTIMIZER,
        sorted(came),
        sorted(wanted),
    )
    return {}
