"""Paddle's files: pickles of NumPy arrays, read and written without Paddle, and no code is run.

A tensor is an array, or a pair of its name and the array; beside the tensors of a state dict lies
a dict of the names that Paddle gave them, which is dropped.
"""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .errors import check_path
from .files import read_file
from .pickles import unpickled

NAMES = "StructuredToParameterName@@"


def load_paddle(path: str | Path) -> Any:
    """What paddle.save wrote: tensors, also in dicts, lists and tuples, numbers and strings."""
    path = check_path("load_paddle: path", path)
    return plain(unpickled(read_file(path), str(path)))


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


def paddle_bytes(tensors: Mapping[str, Tensor]) -> bytes:
    """What paddle.save writes of a state dict; bfloat16 by its bits, as uint16."""
    arrays: dict[str, Any] = {key: _array(tensor) for key, tensor in tensors.items()}
    return pickle.dumps(arrays | {NAMES: {key: key for key in tensors}}, 4)


def _array(tensor: Tensor) -> Any:
    tensor = tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
    if tensor.dtype != torch.bfloat16:
        return tensor.numpy()
    return tensor.view(torch.int16).numpy().view("uint16")
