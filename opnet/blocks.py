"""Rows that go through a model block by block: how many at once, and what becomes of the parts."""

import functools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .op import Op, Sequential
from .rows import Source
from .walk import attributes, dict_of, every_part, leaf_ops, state

FEWEST_ROWS = 64  # in a block: below, a matrix product waits for the weights
ROWS_ON_THE_WAY = 2**16  # read from elsewhere and sent to a GPU together
USUAL_CACHE = 2**19  # bytes, where the system does not tell
CACHES = 2  # that the widest outputs fill: half of it takes 1.06 to 1.1 times as long at hidden 64
# to 512, since every block costs a hundred calls; twice of it 0.9 to 1.04 times
RULES = ("forward", "backward", "backward_params", "backward_inputs")


def block_rows(
    model: Any, X: Tensor | Source, *others: Any, asked: int | None = None
) -> int | None:
    """How many rows to a block: as `asked`, or so that the widest outputs stay near the core.

    None, for all at once, where the rows do not go through the model and `others`, its loss, each
    by itself, and where the order of draws would be another; on a GPU, which wants much at once.
    TypeError where X is a Source, which can only be read block by block, and the rows do not.
    """
    draws = [id(a["generator"]) for a in map(attributes, leaf_ops(model)) if "generator" in a]
    apart = all(is_rowwise(part) for part in (model, *others)) and len(set(draws)) == len(draws)
    if not apart and isinstance(X, Source):
        wanted = "wanted a model and a loss that take each row by itself"
        raise TypeError(f"X is read block by block, {wanted}")
    if X.ndim != 2 or not apart:
        return None
    if asked:
        return asked
    if X.device.type != "cpu":
        return None if isinstance(X, Tensor) else ROWS_ON_THE_WAY
    return max(FEWEST_ROWS, CACHES * cache_bytes() // (max(widths(model, X)) * X.dtype.itemsize))


def widths(model: Any, X: Tensor | Source) -> list[int]:
    """How many columns X has, then what each matrix of weights makes of them."""
    matrices = [tensor for tensor in state(model) if tensor.ndim > 1 and len(tensor) > 1]
    return [X.shape[-1], *(matrix.shape[-1] for matrix in matrices)]


@functools.cache
def cache_bytes() -> int:
    """What a core has for itself: its second-level cache."""
    try:
        size = Path("/sys/devices/system/cpu/cpu0/cache/index2/size").read_text()
        return int(size.removesuffix("K\n")) * 1024
    except (OSError, ValueError):
        return USUAL_CACHE


class Gradient:
    """dL/dp = sum over blocks of (rows of the block / all rows) dL_block/dp, for every param p."""

    def __init__(self, model: Any) -> None:
        self.ops = [op for op in leaf_ops(model) if dict_of(op, "params")]
        self.sums: list[Tensor] = []

    def zero(self) -> None:
        if self.sums:
            torch._foreach_zero_(self.sums)

    def add(self, weight: float) -> None:
        """Take what stands in `grads` into the sums."""
        grads = self._grads()
        if self.sums:
            torch._foreach_add_(self.sums, grads, alpha=weight)
        else:
            self.sums = list(torch._foreach_mul(grads, weight))

    def write(self, *others: "Gradient") -> None:
        """Put the sums, and those of others, into `grads`."""
        for other in others:
            torch._foreach_add_(self.sums, other.sums)
        torch._foreach_copy_(self._grads(), self.sums)

    def _grads(self) -> list[Tensor]:
        return [op.grads[key] for op in self.ops for key in op.params]


class Together:
    """What blocks leave, as one tensor: rows [b, ...] of `count`, or a number [] of each block."""

    def __init__(self, count: int) -> None:
        self.count, self._lock = count, threading.Lock()
        self.outputs: Any = None

    def put(self, outputs: Tensor, place: slice | int) -> None:
        with self._lock:  # blocks may come from several threads
            if self.outputs is None:
                shape = outputs.shape[isinstance(place, slice) :]
                self.outputs = outputs.new_empty((self.count, *shape))
        self.outputs[place] = outputs


class Tally:
    """Predictions or, where blocks are `scored`, their mean score, and the loss, over all rows.

    Each number has its place from the start: left one by one among what the ops make and give back,
    numbers would keep that memory from being used again, as much as the rows themselves take.
    """

    def __init__(self, count: int, size: int, scored: bool) -> None:
        self.count, self.size, self.scored = count, size, scored
        self.blocks = -(-count // size)
        self.losses = Together(self.blocks)
        self.outputs = Together(self.blocks if scored else count)

    def put(self, outputs: Tensor, loss: Tensor, rows: slice) -> None:
        """Predictions of a block, or the sum of their scores, and its mean loss."""
        block = rows.start // self.size
        self.losses.put(loss, block)
        self.outputs.put(outputs, block if self.scored else rows)

    def read(self) -> tuple[Tensor, Tensor]:
        losses, outputs = self.losses.outputs, self.outputs.outputs
        weights = losses.new_full([self.blocks], self.size / self.count)
        weights[-1] = (self.count - self.size * (self.blocks - 1)) / self.count
        return outputs.sum() / self.count if self.scored else outputs, losses.dot(weights)


@contextmanager
def reusing(*roots: Any) -> Iterator[None]:
    """Inside, the ops write into the same memory at each call: for walks through many blocks."""
    ops = [part for part in every_part(*roots) if isinstance(part, Op)]
    for op in ops:
        op._memory = {}
    try:
        yield
    finally:
        for op in ops:
            del op._memory


class Memory:
    """Scratch memory and gradients of a walk's own, for the ops of a model to write into."""

    def __init__(self, model: Any) -> None:
        self.desks: list[tuple[Op, Any, dict[str, Tensor]]] = [
            (op, {}, {}) for op in every_part(model) if isinstance(op, Op)
        ]

    @contextmanager
    def lent(self) -> Iterator[None]:
        own = [op.grads for op, _, _ in self.desks]
        for op, scratch, grads in self.desks:
            op._memory, op.grads = scratch, grads
        try:
            yield
        finally:
            for (op, _, _), grads in zip(self.desks, own, strict=True):
                del op._memory
                op.grads = grads


def is_rowwise(op: Any) -> bool:
    """Whether every row goes through `op` by itself: said by its own class, not by one above it."""
    cls: Any = type(op)
    if any(rule in attributes(op) for rule in RULES):
        return False
    if hasattr(op, "layers"):
        own = all(getattr(cls, rule, None) is getattr(Sequential, rule) for rule in RULES)
        return own and all(is_rowwise(layer) for layer in op.layers)
    return op.rowwise if cls.__module__.startswith("opnet.") else vars(cls).get("rowwise", False)
