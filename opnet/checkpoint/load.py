"""Reading layers and putting them into a model: all of it, or nothing when one thing is unfit."""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .. import foreign
from ..errors import CheckpointError, check_flag, joined, plain
from ..files import MANIFEST, listed, read_file, said
from ..tensors import in_a_row, misfits
from .atomic import AS_THEY_ARE, read_set, read_unverified
from .contents import Layers, Memory, layers_of, memory_of, non_finite
from .manifest import OPTIMIZER, SUFFIX
from .parts import Part, part_of, parts_of

ROOM = 2**20  # bytes of a file besides those of its tensors, and more

_log = logging.getLogger(__name__)


class Found(NamedTuple):
    """What a checkpoint holds; `about` is what its manifest says, None where there is none.

    `verified`: the files are as they were written, and of one save.
    """

    path: Path
    layers: dict[str, Part]
    memory: Memory
    about: dict[str, Any] | None
    verified: bool


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
    path: str | Path,
    names: Iterable[str],
    *,
    verify: bool = True,
    at_most: int | None = None,
    way_out: str = AS_THEY_ARE,
) -> Found:
    """The files that the manifest names, without one those of `names`; tensors are on the CPU.

    A `path` that is a file is the state dict of a whole net. Runs no code that a file may hold.
    Files that are not verified may have `at_most` bytes each. `way_out` ends the error of a set
    that is damaged.
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
        net = part_of(path, read_file(path, at_most))
        flat = foreign.per_layer(net.tensors, str(path)).items()
        return Found(path, {name: Part(tensors, net.by) for name, tensors in flat}, {}, None, False)
    manifest, data = read_set(path, way_out) if verify else (None, {})
    verified = manifest is not None
    if not verified:
        manifest, data = read_unverified(path, list(names), at_most)
    parts = parts_of(path, data, manifest if verified else None)
    memory = parts.pop(OPTIMIZER, Part({}, "torch")).tensors
    layers = {name.removesuffix(SUFFIX): part for name, part in parts.items()}
    return Found(path, layers, memory, manifest.about if manifest else None, verified)


def assign(
    found: Found, model: Any, optimizer: Any = None, *, transpose: bool | None = None
) -> None:
    """Copy what was found into model and optimizer. CheckpointError, and no change, if unfit."""
    wanted, memory = layers_of(model), memory_of(optimizer)
    kept = _of_this_kind(found, memory)
    unfit = misfits(kept, memory, "optimizer") if kept else []
    faults = [faults_of(found, wanted, transpose), *(f"{OPTIMIZER}: {fault}" for fault in unfit)]
    if unfit_all := joined(filter(None, faults)):
        raise CheckpointError(f"{found.path}: {unfit_all}")
    layers = translated(found, wanted, transpose)
    if bad := non_finite(layers | {OPTIMIZER: kept}):
        raise CheckpointError(f"{found.path}: {bad}")
    if not found.verified:
        _say_unverified(found)
    pairs = [(own[key], layers[name][key]) for name, own in wanted.items() for key in own]
    with torch.no_grad(), _all_or_none([own for own, _ in pairs], found.path):
        for own, value in pairs:
            own.copy_(value)
        if memory:
            optimizer.load_state(kept)


@contextmanager
def _all_or_none(tensors: list[Tensor], path: Path) -> Iterator[None]:
    """What fails inside, as on a tensor that cannot be written to, leaves all as they were."""
    before = [tensor.clone() for tensor in tensors]
    try:
        yield
    except Exception as error:
        for tensor, values in zip(tensors, before, strict=True):
            if not tensor.equal(values):
                with suppress(RuntimeError):  # an inference tensor takes the values, then complains
                    tensor.copy_(values)
        why = " ".join(str(error).split())
        raise CheckpointError(f"{path}: cannot be put into place: {why:.200}") from error


def faults_of(found: Found, wanted: Layers, transpose: bool | None = None) -> str:
    """All that keeps the layers found from fitting the wanted ones, in one line; empty if none."""
    if strangers := sorted(found.layers.keys() ^ wanted.keys()):
        here, there = in_a_row(found.layers), in_a_row(wanted)
        return f"holds {here}, model wants {there}: {plain(strangers[0])} differs"
    layers = translated(found, wanted, transpose)
    return joined(
        f"{name}{SUFFIX}: {fault}"
        for name, tensors in wanted.items()
        for fault in misfits(layers[name], tensors, "model")
    )


def translated(found: Found, wanted: Layers | None, transpose: bool | None) -> Layers:
    """The layers found under opnet's names and the way round that opnet has them.

    What opnet has written, and nobody changed, is so already.
    """
    if transpose is not None:
        check_flag("load: transpose", transpose)
    if found.verified:
        return {name: part.tensors for name, part in found.layers.items()}
    return {
        name: foreign.translated(
            part.tensors, (wanted or {}).get(name), part.by, transpose, f"{found.path}: {name}"
        )
        for name, part in found.layers.items()
    }


def _say_unverified(found: Found) -> None:
    with said(found.path, "cannot be read"):
        files = [path.name for path in listed(found.path)] if found.path.is_dir() else []
    there = {name.removesuffix(SUFFIX) for name in files if name.endswith(SUFFIX)}
    others = ", ".join(sorted(there - found.layers.keys()))
    ignored = f"; {others}{SUFFIX} ignored" if others else ""
    without = MANIFEST if found.about is None else f"the sums of {MANIFEST}"
    unknown = "whether its files belong together and are as they were written"
    _log.warning("%s: read without %s: %s is not known%s", found.path, without, unknown, ignored)


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
