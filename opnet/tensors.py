"""What users have, as tensors: on which device, from which type, and how an error names one."""

import logging
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from .errors import plain

_ROWS_AT_ONCE = 2**16  # of values that are looked at

_log = logging.getLogger(__name__)


def pick_device(name: str | torch.device) -> torch.device:
    """A torch.device; "auto" is CUDA, else MPS, else the CPU, and logs which. ValueError else."""
    if name == "auto":
        there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
        name = next((kind for kind, is_there in there.items() if is_there), "cpu")
        _log.info("device auto: %s", name)
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(f"device is {name!r}, wanted auto, cpu, cuda, cuda:1 or mps") from None
    except TypeError:
        raise TypeError(f"device is {name!r}, wanted a string or a torch.device") from None
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, ImportError):  # in the words of whoever is not there
        raise ValueError(f"device is {str(name)!r}: this machine or this torch has none") from None
    return device


def as_tensor(who: str, values: Any, like: Tensor) -> Tensor:
    """A tensor as it is; anything else on the device of `like`, floating point in its dtype."""
    if isinstance(values, Tensor):
        check_dense(who, values)
        return values.detach()
    import numpy as np

    try:
        tensor = torch.as_tensor(np.require(values, requirements=["C", "W"]), device=like.device)
    except (TypeError, ValueError, RuntimeError):
        came = type(values).__name__
        raise TypeError(f"{who} is a {came}, wanted a Tensor or an array of numbers") from None
    return tensor.to(like.dtype) if tensor.is_floating_point() else tensor


def check_dense(who: str, values: Tensor) -> None:
    """TypeError for a tensor that is sparse, or that has a shape only."""
    if values.layout != torch.strided:
        kind = str(values.layout).removeprefix("torch.")
        raise TypeError(f"{who}: came {kind}, wanted a dense Tensor: .to_dense()")
    if values.is_meta:
        raise TypeError(f"{who}: came a meta tensor, wanted one that holds values")


def check_finite(who: str, values: Tensor, start: int = 0, where: str = "") -> None:
    """ValueError for a nan or an infinite number, at its place in rows that begin at `start`."""
    if not values.is_floating_point() or math.isfinite(float(values.sum())):
        return
    unfit = ~values.isfinite()
    if unfit.any():  # else the sum has overflowed
        first, count = first_of(unfit, values, start)
        raise ValueError(f"{who}{first} ({where}{count} not finite)")


def mask_of(values: Tensor, unfit: Callable[[Tensor], Tensor]) -> Tensor | None:
    """`unfit(values)`; None where it holds nowhere, and to find that out takes no memory."""
    parts = torch.atleast_1d(values).split(_ROWS_AT_ONCE)
    return unfit(values) if any(bool(unfit(part).any()) for part in parts) else None


def first_of(found: Tensor, values: Tensor, start: int = 0) -> tuple[str, str]:
    """Where the first of the `values` that were `found` stands, what it is, how many they are."""
    index = found.nonzero()[0].tolist()
    value = values[tuple(index)].item()
    index = [row + start for row in index[:1]] + index[1:]
    return f"{index} is {value:g}", f"{int(found.sum())} of {values.numel()} values"


def same_tensor(a: object, b: object) -> bool:
    """Whether both are one tensor in memory: a detached one is, an equal copy is not."""
    if a is b:
        return isinstance(a, Tensor)
    if not (isinstance(a, Tensor) and isinstance(b, Tensor)):
        return False
    return (a.shape, a.stride(), a.data_ptr()) == (b.shape, b.stride(), b.data_ptr())


def described(tensor: Tensor) -> str:
    """`float32 [640, 5]`, for error messages."""
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"


def misfits(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor], who: str) -> list[str]:
    """All that keeps `found` from being copied into what `who` wanted: names, dtypes, shapes."""
    return unlike(kinds_of(found), kinds_of(wanted), who)


def kinds_of(tensors: Mapping[str, object]) -> dict[str, str]:
    """{key: "float32 [2, 5]"}."""
    return {key: kind_of(value) for key, value in tensors.items()}


def kind_of(value: object) -> str:
    """`float32 [2, 5]`, or `a list` of what is no tensor."""
    return described(value) if isinstance(value, Tensor) else f"a {type(value).__name__}"


def unlike(came: Mapping[str, str], wanted: Mapping[str, str], who: str) -> list[str]:
    """Where the kinds that came are not those that `who` wants: in names, dtypes, shapes."""
    if came.keys() != wanted.keys():
        return [f"holds {in_a_row(came)}, {who} wants {in_a_row(wanted)}"]
    pairs = ((key, came[key], wanted[key]) for key in wanted)
    return [
        f"{plain(key)} is {has}, {who} wants {plain(want)}"
        for key, has, want in pairs
        if has != want
    ]


def in_a_row(keys: Iterable[str]) -> str:
    """The keys in order, of many only the first."""
    row = str(sorted(keys))
    return row if len(row) <= 500 else f"{row[:500]}..."


def as_matrix(x: Tensor) -> Tensor:
    """[..., N, F] as [all rows, F]."""
    return x if x.ndim == 2 else x.reshape(-1, x.shape[-1])


def check_inputs(who: object, inputs: Any, W: Tensor, columns: int, what: str = "W") -> None:
    """TypeError or ValueError unless `inputs` are [..., N, columns] and like W otherwise."""
    if not isinstance(inputs, Tensor):
        raise TypeError(f"{who}: inputs are a {type(inputs).__name__}, wanted a Tensor")
    if inputs.ndim < 2:
        mend = f"wanted [..., N, {columns}]: .reshape(1, -1)"
        raise ValueError(f"{who}: inputs are {described(inputs)}, {mend}")
    if inputs.shape[-1] != columns:
        raise ValueError(f"{who}: inputs have {inputs.shape[-1]} columns, {what} wants {columns}")
    if inputs.dtype != W.dtype:
        raise TypeError(f"{who}: inputs are {inputs.dtype}, {what} is {W.dtype}: .to({W.dtype})")
    if inputs.device != W.device:
        raise ValueError(f"{who}: inputs are on {inputs.device}, {what} is on {W.device}")
