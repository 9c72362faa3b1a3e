"""Rows of a .npy file that stay on disk until they are asked for."""

import os
import weakref
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .errors import check_path


class NpyRows:
    """`rows[a:b]` is a tensor [b - a, ...] of the file's dtype, read from disk by each slice.

    Read, not mapped: as fast with a cold cache and 0.8 times as fast with a warm one, but a file
    that is cut or a disk that fails is an error here, where a mapping kills the process.
    """

    def __init__(self, path: Path, file: int, array: Any, dtype: torch.dtype) -> None:
        self.path, self.shape, self.dtype = path, tuple(array.shape), dtype
        self._file, self._begin, self._row_bytes = file, array.offset, array.strides[0]
        weakref.finalize(self, os.close, file)

    def __len__(self) -> int:
        return self.shape[0]

    def __reduce__(self) -> Any:
        return from_npy, (self.path,)  # a copy opens the file itself

    def __getitem__(self, rows: slice) -> Tensor:
        if not isinstance(rows, slice):
            raise TypeError(f"{self.path}: asked for {rows!r}, wanted a slice, as [0:64]")
        start, stop, step = rows.indices(len(self))
        if step != 1:
            raise ValueError(f"{self.path}: asked for every row in {step}, wanted 1: [a:b]")
        out = torch.empty(max(stop - start, 0), *self.shape[1:], dtype=self.dtype)
        self.read(start, out)
        return out

    def read(self, start: int, out: Tensor) -> None:
        """Fill `out` [n, ...], contiguous on the CPU, with the rows from `start` on.

        ValueError where the file has been cut, OSError where it cannot be read.
        """
        at = self._begin + start * self._row_bytes
        left = out.numpy().reshape(-1).data.cast("B")
        while left:
            count = os.preadv(self._file, [left], at)
            if count == 0:
                raise ValueError(f"{self.path}: ends at byte {at}, after it was opened: cut short")
            left, at = left[count:], at + count


def from_npy(path: str | Path) -> NpyRows:
    """The rows of a .npy file larger than memory: X [N, F], or y [N, O] or [N].

    Training converts each block to the model's dtype; whole-number labels stay whole. ValueError
    or TypeError in one line for what numpy.save has not written, a file cut short, no rows, columns
    first, and numbers that are not real or not in the byte order of this machine.
    """
    path = check_path("from_npy: path", path)
    who = f"from_npy: {path}"
    try:
        if not path.is_file():
            there = "no file" if path.exists() else "not there"
            raise ValueError(f"{who} is {there}, wanted a .npy file")
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise ValueError(f"{who} cannot be read: {error.strerror or error}") from error
    try:
        array, dtype = _layout(who, file)
        return NpyRows(path, file, array, dtype)
    except BaseException:
        os.close(file)
        raise


def _layout(who: str, file: int) -> tuple[Any, torch.dtype]:
    """What the header says, as an array of which no row is read; and torch's word for its dtype."""
    import numpy as np

    try:
        array = np.lib.format.open_memmap(f"/dev/fd/{file}", mode="r")
    except Exception as error:  # whatever the parser of a header stumbles over
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(f"{who}: {reason}; wanted what numpy.save writes of numbers") from None
    if array.ndim == 0 or array.size == 0:
        raise ValueError(f"{who} has shape {list(array.shape)}, wanted rows")
    if not array.flags.c_contiguous:
        raise ValueError(f"{who} has columns first, wanted rows: numpy.ascontiguousarray")
    try:
        dtype = torch.from_numpy(np.empty(0, array.dtype)).dtype
    except (TypeError, ValueError):  # what torch does not have, and the other byte order
        dtype = None
    if dtype is None or dtype.is_complex:
        raise TypeError(f"{who} holds {array.dtype}, wanted real numbers, as numpy.float32")
    return array, dtype
