"""Blocks of rows in their order, the next one read while the caller works on the present one."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from typing import Any, NamedTuple

from torch import Tensor

from .errors import check_count
from .rows import Source


class Block(NamedTuple):
    """Consecutive rows of a data set, and where they stand in it: X[a:b], y[a:b], a:b."""

    X: Tensor
    y: Any
    rows: slice


def blocks(X: Tensor | Source, y: Tensor | Source | None, size: int) -> Iterator[Block]:
    """All rows of X [..., N, I] and y [..., N, O] or [..., N] in order, `size` at a time.

    y is None where there are no labels. Tensors give views. A Source is read one block ahead in a
    thread, into two pieces of memory that take turns: a block holds its rows until the next one is
    asked for. An error of a read is raised where its block is asked for. Whatever ends the loop
    waits for the read under way, begins no other and leaves no thread. ValueError or TypeError,
    before the first block is asked for, for a size that is no count and where rows differ.
    """
    size = check_count("blocks: size", size)
    axis, sources = X.ndim - 2, [part for part in (X, y) if isinstance(part, Source)]
    if axis < 0 or (axis > 0 and sources):
        raise ValueError(f"blocks: X has shape {list(X.shape)}, wanted [N, features]")
    if y is not None and y.shape[: axis + 1] != X.shape[:-1]:
        raise ValueError(f"blocks: X has shape {list(X.shape)}, y {list(y.shape)}: rows differ")
    count = X.shape[axis]
    spans = (slice(a, min(a + size, count)) for a in range(0, count, size))
    if sources:
        return _read_ahead(X, y, spans, min(size, count))
    return (Block(_rows(X, rows, axis), _rows(y, rows, axis), rows) for rows in spans)


def _read_ahead(X: Any, y: Any, spans: Iterator[slice], size: int) -> Iterator[Block]:
    def read(rows: slice) -> Block:
        room = next(turns)
        return Block(_rows(X, rows, room=room[0]), _rows(y, rows, room=room[1]), rows)

    turns = cycle([(_room(X, size), _room(y, size)) for _ in range(2)])
    reader = ThreadPoolExecutor(1, "opnet-rows")
    try:
        ahead = reader.submit(read, next(spans))
        for rows in spans:
            block = ahead.result()
            ahead = reader.submit(read, rows)
            yield block
        yield ahead.result()
    finally:
        reader.shutdown(cancel_futures=True)


def _room(part: Any, size: int) -> Tensor | None:
    return part.empty(size) if isinstance(part, Source) else None


def _rows(part: Any, rows: slice, axis: int = 0, room: Tensor | None = None) -> Any:
    """A view of a tensor, a source's rows in its `room`, None of None."""
    count = rows.stop - rows.start
    if room is not None:
        return part.read(rows.start, room[:count])
    return None if part is None else part.narrow(axis, rows.start, count)
