"""Tensors within an allowance: how large the next one is, is asked before it takes any memory."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map_only

from .errors import CheckpointError
from .kernels import Kernels


class Allowance(Kernels):
    """Inside, operations of torch may make tensors of `nbytes` in all. CheckpointError if more.

    The one that would be too large is not begun: it is first made on the device "meta", where a
    tensor has a size and no values. Values can be read, which they cannot under that device.
    """

    def __init__(self, nbytes: int, way_out: str) -> None:
        super().__init__()
        self.left = nbytes
        self.fault = f"the tensors of its model take more than {nbytes} bytes; {way_out}"

    def meet(self, kernel: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        schema = kernel._schema
        if not any(result.alias_info for result in schema.returns):  # no view, not in place
            names = (argument.name for argument in schema.arguments)
            self.left -= _size(kernel, dict(zip(names, args, strict=False)) | kwargs)
        if self.left < 0:
            raise CheckpointError(self.fault)
        return kernel(*args, **kwargs)


def _size(kernel: Any, given: dict[str, Any]) -> int:
    """The bytes of what `kernel` would make; 0 where that cannot be told beforehand."""
    size = given["self"].shape if kernel._schema.name.endswith("_like") else given.get("size")
    if size is not None:  # "meta" would import torch's compiler to draw numbers: 2 s
        return math.prod(size) * (given.get("dtype") or torch.float64).itemsize
    if any(argument.name == "device" for argument in kernel._schema.arguments):
        given = given | {"device": torch.device("meta")}
    try:
        made = kernel(**tree_map_only(Tensor, _without_values, given))
    except Exception:  # of an operation that needs values, or that is to fail
        return 0
    return sum(tensor.nbytes for tensor in tree_leaves(made) if isinstance(tensor, Tensor))


def _without_values(tensor: Tensor) -> Tensor:
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="meta")
