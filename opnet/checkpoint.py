"""The only file that writes or reads parameters: `<layer>.pdparams`, one dict of tensors a layer.

Beside them `optimizer.pdopt`, where the optimizer keeps something between steps. Gives and takes
tensors by name; knows no class. Every error is a CheckpointError that names the file.
"""

import io
import logging
import os
import re
import warnings
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .errors import CheckpointError, NonFiniteError
from .tensors import described, misfits
from .walk import dict_of, named_ops

Layers = dict[str, dict[str, Tensor]]
Memory = dict[str, Tensor]  # what an optimizer keeps: {"<layer>.<key>.<name>": tensor}
SUFFIX = ".pdparams"
OPTIMIZER = "optimizer.pdopt"
DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int64, torch.bool)
WAY_OUT = "choose another directory or empty this one"

_log = logging.getLogger(__name__)


def layers_of(model: Any) -> Layers:
    """{layer name: {key: tensor}} of params and buffers; the tensors are the model's own."""
    ops = named_ops(model).items()
    layers = {name: dict_of(op, "params") | dict_of(op, "buffers") for name, op in ops}
    return {name: tensors for name, tensors in layers.items() if tensors}


def memory_of(optimizer: Any) -> Memory:
    """What `optimizer` keeps between steps, its own tensors; {} where that is nothing.

    It has `state_dict()` to give them and `load_state(state)` to go on from them, from {} anew.
    """
    gives_and_takes = hasattr(optimizer, "state_dict") and hasattr(optimizer, "load_state")
    return optimizer.state_dict() if gives_and_takes else {}


def prepare(directory: str | Path, model: Any) -> Path:
    """Make `directory`, parents too; refuse it when it holds layers that are not this model's."""
    directory, layers = Path(directory), layers_of(model)
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CheckpointError(f"{directory}: cannot be made: {error.strerror}") from error
    if not os.access(directory, os.W_OK | os.X_OK):
        raise CheckpointError(f"{directory}: cannot be written to")
    there = {path.stem for path in directory.glob(f"*{SUFFIX}")}
    if strangers := sorted(there - layers.keys()):
        raise CheckpointError(
            f"{directory}: holds {strangers[0]}{SUFFIX}, which this model has not; {WAY_OUT}"
        )
    known = {name: tensors for name, tensors in layers.items() if name in there}
    if faults := _faults(known, read(directory, known)):
        raise CheckpointError(f"{directory}: holds another model: {faults}; {WAY_OUT}")
    return directory


def save(directory: str | Path, layers: Layers, memory: Memory | None = None) -> list[Path]:
    """Write one file a layer, then the optimizer's, if it keeps something. Returns the paths.

    Each takes the place of the old one only when whole; the optimizer's old one goes first, so that
    it never lies beside weights that are not its own. NonFiniteError, and nothing written, when a
    value is nan or infinite.
    """
    directory = Path(directory)
    if bad := _non_finite(layers | {OPTIMIZER: memory or {}}):
        raise NonFiniteError(f"{directory}: {bad}; nothing was written")
    _remove(directory / OPTIMIZER)
    paths = [_write(directory / f"{name}{SUFFIX}", tensors) for name, tensors in layers.items()]
    return [*paths, _write(directory / OPTIMIZER, memory)] if memory else paths


def read(directory: str | Path, names: Iterable[str]) -> Layers:
    """The tensors of the named layers, on the CPU. Runs no code that a file may hold."""
    directory = Path(directory)
    if not directory.is_dir():
        raise CheckpointError(f"{directory}: no such directory")
    layers, faults = {}, []
    for name in names:
        try:
            layers[name] = _read(directory / f"{name}{SUFFIX}")
        except CheckpointError as error:
            faults.append(str(error))
    if faults:
        raise CheckpointError("; ".join(faults))
    return layers


def load(directory: str | Path, model: Any, optimizer: Any = None) -> None:
    """Copy the files into the tensors of model and optimizer: all, or none when one is unfit.

    Where there is no file of an optimizer of this kind, the optimizer starts anew: what it kept
    was of other weights.
    """
    wanted, memory = layers_of(model), memory_of(optimizer)
    layers, kept = read(directory, wanted), _read_memory(Path(directory) / OPTIMIZER, memory)
    unfit = misfits(kept, memory, "optimizer") if kept else []
    faults = [_faults(wanted, layers), *(f"{OPTIMIZER}: {fault}" for fault in unfit)]
    if said := "; ".join(filter(None, faults)) or _non_finite(layers | {OPTIMIZER: kept}):
        raise CheckpointError(f"{directory}: {said}")
    with torch.no_grad():
        for name, tensors in wanted.items():
            for key, tensor in tensors.items():
                tensor.copy_(layers[name][key])
    if memory:
        optimizer.load_state(kept)


def _read_memory(path: Path, memory: Memory) -> Memory:
    """What the file holds; {} where there is none, or one of an optimizer that keeps other things.

    What they keep is told by the last parts of the names, as `velocity` in `fc1.W.velocity`.
    """
    if not memory or not path.exists():
        return {}
    found = _read(path)
    came, wanted = ({name.rpartition(".")[2] for name in names} for names in (found, memory))
    if came == wanted:
        return found
    _log.info("%s: holds %s, optimizer wants %s: starts anew", path, sorted(came), sorted(wanted))
    return {}


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be removed: {error.strerror}") from error


def _write(path: Path, tensors: dict[str, Tensor]) -> Path:
    copies = {
        key: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for key, tensor in tensors.items()  # a view would take all that it is a view of to disk
    }
    stream = io.BytesIO()  # saved into a stream, the bytes do not depend on the path
    torch.save(copies, stream)
    new = path.with_name(path.name + ".new")
    try:
        with open(new, "wb") as file:
            file.write(stream.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, path)
    except OSError as error:
        new.unlink(missing_ok=True)
        raise CheckpointError(f"{path}: cannot be written: {error.strerror}") from error
    return path


def _read(path: Path) -> dict[str, Tensor]:
    if not path.exists():
        raise CheckpointError(f"{path}: no such file")
    if not path.is_file():
        raise CheckpointError(f"{path}: not a regular file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what torch has to say of the bytes is said below
            tensors = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever the bytes lead it to
        why = _reason(path, error)
        raise CheckpointError(f"{path}: no checkpoint that can be read safely: {why}") from error
    if not isinstance(tensors, dict):
        raise CheckpointError(f"{path}: holds a {type(tensors).__name__}, wanted a dict of tensors")
    for key, tensor in tensors.items():
        if not (isinstance(key, str) and isinstance(tensor, Tensor)):
            raise CheckpointError(f"{path}: {key!r} is a {type(tensor).__name__}, wanted a Tensor")
        if tensor.layout != torch.strided or tensor.is_meta or tensor.dtype not in DTYPES:
            raise CheckpointError(f"{path}: {key} is {described(tensor)}, wanted plain numbers")
    return tensors


def _reason(path: Path, error: Exception) -> str:
    """Why torch would not read the file, without its advice to read it unsafely."""
    if not zipfile.is_zipfile(path):
        return "it is no zip archive, as torch.save writes them"
    if code := re.search(r"GLOBAL (\S+)", str(error)):
        return f"it names {code[1]}, which is no tensor"
    return f"torch says {type(error).__name__}"


def _faults(wanted: Layers, found: Layers) -> str:
    """All that keeps `found` from fitting `wanted`, in one line; empty when it fits."""
    return "; ".join(
        f"{name}{SUFFIX}: {fault}"
        for name, tensors in wanted.items()
        for fault in misfits(found[name], tensors, "model")
    )


def _non_finite(layers: Layers) -> str:
    """The tensors that hold nan or infinite values, in one line; empty when there are none."""
    bad = [
        f"{key} of {name}"
        for name, tensors in layers.items()
        for key, tensor in tensors.items()
        if not tensor.isfinite().all()
    ]
    return f"nan or infinite values in {', '.join(bad)}" if bad else ""
