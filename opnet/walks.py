"""Rows block by block through a model, where a block is a recording: on one core, or on several.

Every block of so many rows is the same kernels on the same memory, so one recording serves them
all: the rows of the next block are copied to where it reads them. It needs nothing of the ops then,
and blocks can go side by side, each lane with outputs and gradients of its own: torch computes
without holding Python's lock. Cut among threads, a kernel on so few rows would gain little.
"""

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import nullcontext
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from .ahead import Block, blocks
from .blocks import Gradient, Memory, Tally, widths
from .captured import Training, generators
from .op import Op
from .recorded import RECORDERS, OnRows
from .rows import Source
from .step import OfRows, evaluation, walk_back_from
from .walk import attributes, every_op, leaf_ops, state

FEWEST_ELEMENTS = 2**17  # in a tensor of a block: below, lanes wait for Python's lock more than not


class Walk:
    """At each call predictions and loss of all rows of a set, with `back` their gradient as well.

    As `evaluation` and the backward half of `training_step` give them, block by block: with one
    lane to the last bit, with more the sums of the lanes are added. With `of_rows` their mean score
    comes in the place of the predictions.
    """

    def __init__(
        self,
        training: Training,
        data_set: Sequence[Any],
        *,
        back: bool = False,
        of_rows: OfRows | None = None,
        lanes: int = 1,
    ) -> None:
        self.X, self.y = data_set
        self.size = training.block_size or len(self.X)
        self.of_rows, self.back = of_rows, back
        tensors = state(training.model)
        recorder = RECORDERS["cpu"](tensors[0].device, generators(training.model))
        lock = threading.Lock()
        parts = spans(len(self.X), self.size, lanes)
        make = partial(Lane, training, recorder, lock, len(self.X), back, of_rows)
        self.lanes = [(make(), rows) for rows in parts]
        alone = partial(torch.set_num_threads, 1)  # each lane is one thread
        self.others = ThreadPoolExecutor(max(1, len(parts) - 1), "opnet-lane", initializer=alone)

    @torch.no_grad()
    def __call__(self) -> tuple[Tensor, Tensor]:
        tally = Tally(len(self.X), self.size, self.of_rows is not None)
        (first, rows), *others = self.lanes
        futures = [self.others.submit(lane.walk, self._blocks(r), tally) for lane, r in others]
        try:
            first.walk(self._blocks(rows), tally)
        finally:
            wait(futures)
        for future in futures:
            future.result()  # or its error
        if self.back:
            first.gradient.write(*(lane.gradient for lane, _ in others))
        return tally.read()

    def _blocks(self, rows: slice) -> Iterator[Block]:
        if isinstance(self.X, Source) or isinstance(self.y, Source):
            return blocks(self.X, self.y, self.size)  # there is one lane
        found = blocks(self.X[rows], self.y[rows], self.size)
        return (Block(X, y, slice(rows.start + r.start, rows.start + r.stop)) for X, y, r in found)


class Lane:
    """Blocks one after the other: recordings for each number of rows, and the memory they write."""

    def __init__(
        self,
        training: Training,
        recorder: Any,
        lock: Any,
        count: int,
        back: bool,
        of_rows: OfRows | None,
    ) -> None:
        self.lock, self.gradient = lock, Gradient(training.model)
        desk, gradient = Memory(training.model), self.gradient if back else None
        rule = partial(_rule, training, desk, of_rows, gradient, count)
        self.steps = OnRows(recorder, rule)

    @torch.no_grad()
    def walk(self, found: Iterator[Block], tally: Tally) -> None:
        self.gradient.zero()
        for X, y, rows in found:
            step = self.steps.on(X, y)
            with nullcontext() if step.done else self.lock:  # the ops are the same for all lanes
                left, loss = step()
            tally.put(left, loss, rows)


def _rule(
    training: Training,
    memory: Memory,
    of_rows: OfRows | None,
    gradient: Gradient | None,
    count: int,
    X: Tensor,
    y: Tensor,
) -> list[Tensor]:
    """Predictions, or the sum of their scores, and loss; with `gradient` the way back as well."""
    model, loss_fn = training.model, training.loss_fn
    with memory.lent():
        predicts, loss = evaluation(model, loss_fn, X, y)
        left = of_rows(predicts, y).sum() if of_rows else predicts
        if gradient:
            walk_back_from(model, loss_fn)
            gradient.add(len(X) / count)
    return [left, loss]


def spans(count: int, size: int, lanes: int) -> list[slice]:
    """Rows 0 to `count` in at most `lanes` parts of whole blocks, as even as can be."""
    many = -(-count // size)
    lanes = max(1, min(lanes, many))
    ends = [min(count, size * (many * i // lanes)) for i in range(lanes + 1)]
    return [slice(*ends) for ends in pairwise(ends)]


def lanes_for(training: Training, threads: int) -> int:
    """In how many lanes to walk through blocks: as many as `threads` where a block is worth one.

    One where rows are read from elsewhere, and where an op draws, so that all draws are in order.
    """
    X, size = training.train_set[0], training.block_size
    sources = any(isinstance(part, Source) for part in (*training.train_set, *training.dev_set))
    draws = any("generator" in attributes(op) for op in leaf_ops(training.model))
    if sources or draws or not size or size * max(widths(training.model, X)) < FEWEST_ELEMENTS:
        return 1
    return max(1, min(threads, len(X) // size))


def obstacle_to_blocks(training: Training) -> str | None:
    """What is not recorded by blocks, in one line."""
    device = state(training.model)[0].device
    if device.type != "cpu":
        return f"the model is on {device.type}, blocks are recorded on a CPU"
    for op in every_op(training.model):
        if not isinstance(op, Op):
            return f"{type(op).__name__} is no Op, whose memory could be exchanged"
    return None
