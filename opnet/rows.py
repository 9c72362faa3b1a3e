"""Rows that something else holds, on disk or anywhere, as tensors of the model's kind by slices."""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from .npy import NpyRows
from .tensors import as_tensor, check_finite

_TAKEN_WHOLE = Tensor | list | tuple | str | bytes | bytearray | Mapping | type


def is_source(values: Any) -> bool:
    """Whether X or y is to be read by slices: it has __len__ and slicing, and is not in memory.

    In memory are tensors, arrays, lists and tables of pandas; np.memmap, a data set of h5py or
    zarr, `from_npy(path)` and a learner's own class are not.
    """
    import numpy as np

    if isinstance(values, _TAKEN_WHOLE) or hasattr(values, "iloc"):
        return False
    if isinstance(values, np.ndarray):
        return isinstance(values, np.memmap)
    return hasattr(values, "__len__") and hasattr(values, "__getitem__")


class Source:
    """`source[a:b]` is a tensor [b - a, ...] of one dtype on one device; `shape` is that of all.

    Every block is held to what the first row has shown: ValueError or TypeError for other columns,
    another number of rows, another kind of number, and by its place in all rows for a value that is
    not finite. What the values themselves raise goes through, with a note of the rows.
    """

    def __init__(self, who: str, values: Any, like: Tensor, features: bool) -> None:
        self.who, self.values, self._like = who, values, like
        self._begin = 0
        try:
            count = len(values)
        except (TypeError, ValueError, OverflowError) as error:
            raise _refused(who, values, "a len", error) from error
        if not count:
            raise ValueError(f"{who} has no rows, wanted N >= 1")
        try:
            first = values[0:1]
        except (TypeError, LookupError) as error:
            raise _refused(who, values, "slices as [0:1]", error) from error
        first = as_tensor(f"{who}[0:1]", first, like)
        if first.is_complex():
            raise TypeError(f"{who} is {first.dtype}, wanted real numbers")
        self.shape = torch.Size((count, *first.shape[1:]))
        self.ndim, self.device = len(self.shape), like.device
        if features and (self.ndim != 2 or self.shape[1] == 0):
            raise ValueError(f"{who} has shape {list(self.shape)}, wanted [N, features]")
        self._whole = not (features or first.is_floating_point())
        self.dtype = first.dtype if self._whole else like.dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> Tensor:
        start, stop, _ = rows.indices(len(self))
        return self.read(start, self.empty(max(stop - start, 0)))

    def part(self, rows: slice) -> "Source":
        """Consecutive rows as a Source of their own; errors name them by their place in all."""
        part = copy.copy(self)
        start, stop, _ = rows.indices(len(self))
        part._begin = self._begin + start
        part.shape = torch.Size((max(stop - start, 0), *self.shape[1:]))
        return part

    def empty(self, count: int) -> Tensor:
        """Room for `count` rows."""
        return torch.empty(count, *self.shape[1:], dtype=self.dtype, device=self.device)

    def read(self, start: int, out: Tensor) -> Tensor:
        """`out`, filled with the rows from `start` on."""
        start += self._begin
        rows = f"{start}:{start + len(out)}"
        try:
            kept_alike = isinstance(self.values, NpyRows) and self.values.dtype == self.dtype
            if kept_alike and out.is_cpu:  # no copy in between
                self.values.read(start, out)
            else:
                self._copy(f"{self.who}[{rows}]", self.values[start : start + len(out)], out)
        except Exception as error:
            error.add_note(f"while {self.who}[{rows}] was read")
            raise
        check_finite(self.who, out, start, f"rows {rows}: ")
        return out

    def _copy(self, who: str, rows: Any, out: Tensor) -> None:
        part = as_tensor(who, rows, self._like)
        if part.shape != out.shape:
            came, wanted = list(part.shape), list(out.shape)
            raise ValueError(f"{who} has shape {came}, wanted {wanted}")
        if part.is_complex() or (self._whole and part.dtype != self.dtype):
            raise TypeError(f"{who} is {part.dtype}, the first rows are {self.dtype}")
        out.copy_(part)


def _refused(who: str, values: Any, wanted: str, error: Exception) -> TypeError:
    said = (str(error) or type(error).__name__).splitlines()[0]
    return TypeError(f"{who} is a {type(values).__name__}, wanted {wanted}: {said}")


def as_features(who: str, X: Any, like: Tensor) -> Source:
    """X [N, features] in the dtype and on the device of `like`. ValueError, TypeError."""
    return Source(who, X, like, features=True)


def as_labels(who: str, y: Any, like: Tensor) -> Source:
    """y [N, O] or [N], on the device of `like` and in its dtype, but whole numbers stay whole."""
    return Source(who, y, like, features=False)
