"""Paddle's files: pickles of NumPy arrays, read and written without Paddle, and no code is run.

A tensor is an array, or a pair of its name and the array; beside the tensors of a state dict lies
a dict of the names that Paddle gave them, which is dropped.
"""

import os
import pickle
import stat
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .errors import CheckpointError
from .pickles import unpickled

NAMES = "StructuredToParameterName@@"


def load_paddle(path: str | Path) -> Any:
    """What paddle.save wrote: tensors, also in dicts, lists and tuples, numbers and strings."""
    return plain(unpickled(_bytes_of(Path(path)), str(path)))


def plain(content: Any) -> Any:
    """`content` with every pair of name and tensor as the tensor, and without Paddle's names."""
    match content:
        case dict():
            return {key: plain(value) for key, value in content.items() if key != NAMES}
        case (str(), Tensor() as tensor) if isinstance(content, tuple):
            return tensor
        case list():
            return [plain(value) for value in content]
        case tuple():
            return tuple(plain(value) for value in content)
    return content


def paddle_bytes(tensors: dict[str, Tensor]) -> bytes:
    """What paddle.save writes of a state dict; bfloat16 by its bits, as uint16."""
    arrays: dict[str, Any] = {key: _array(tensor) for key, tensor in tensors.items()}
    return pickle.dumps(arrays | {NAMES: {key: key for key in tensors}}, 4)


def _array(tensor: Tensor) -> Any:
    tensor = tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
    if tensor.dtype != torch.bfloat16:
        return tensor.numpy()
    return tensor.view(torch.int16).numpy().view("uint16")


def _bytes_of(path: Path) -> bytes:
    """The bytes of a regular file; a link is not followed, a pipe not waited for."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(handle, "rb") as file:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode):
                raise CheckpointError(f"{path}: not a regular file")
            data = file.read(status.st_size)
    except (OSError, ValueError) as error:
        if isinstance(error, CheckpointError):
            raise
        why = getattr(error, "strerror", None) or error
        raise CheckpointError(f"{path}: cannot be read: {why}") from error
    if len(data) != status.st_size:
        raise CheckpointError(f"{path}: became shorter while it was read")
    return data
