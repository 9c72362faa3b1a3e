"""Epochs that are replayed from a recording: whether a run can have them, and what they leave."""

import logging
import math
import operator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from opnet.blocks import block_rows
from opnet.captured import Captured, Training, is_recordable, is_steady, obstacle, obstacle_to_all
from opnet.losses import Loss
from opnet.rows import Source
from opnet.threads import most_threads
from opnet.walks import lanes_for, obstacle_to_blocks

from .calls import only_looks
from .snapshots import Camera, Snapshot

STEPS = ("eager", "captured", "auto")
WORTH = 10  # steps: recording one takes as long as replaying saves in 3 to 10 of them

_log = logging.getLogger(__name__)


class Replays:
    """The epochs of a training; at most `length` of them wait until somebody reads them.

    The next epoch writes over what one leaves, so it is copied, in one call: the four of `Captured`
    and all that the camera sees are a row of a window [length, P]. The next window is a new one.
    The epochs are `alone` where nobody acts between two of them, who may change rate or params.
    """

    def __init__(
        self, training: Training, camera: Camera, length: int, alone: bool, scored_later: bool
    ) -> None:
        self.camera, self.length, self.alone = camera, length, alone
        steady = alone and is_steady(training.optimizer)
        self.captured = Captured(training, steady, scored_later)
        self.left: list[Tensor] = []
        self.rewind()

    def rewind(self) -> None:
        """All have been read."""
        self.rows: list[Tensor] = []
        self.filled = 0

    def epoch(self) -> tuple[Snapshot, int]:
        """The next epoch: its snapshot, and its row in the window."""
        left = self.captured()
        if len(left) != len(self.left) or any(map(operator.is_not, left, self.left)):
            self.left = left  # only while nothing is recorded yet
            self.seen = [tensor.detach().reshape(-1) for tensor in left] + self.camera.rows
        if not self.rows:
            self._open_window()
        place, row = self.filled, self.rows[self.filled]
        torch.cat(self.seen, out=row)
        self.filled += 1
        return self.camera.developed(row), place

    def _open_window(self) -> None:
        sizes = [len(tensor) for tensor in self.seen]
        kinds = {tensor.dtype for tensor in self.seen}
        kind = kinds.pop() if len(kinds) == 1 else torch.float64  # which holds all of them exactly
        window = self.seen[0].new_empty((self.length, sum(sizes)), dtype=kind)
        self.window, self.rows = window.split(sizes, dim=1), list(window.unbind())

    def columns(self, first: int, count: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Train loss, dev loss, train score, dev score of epochs from a row on, [count, ...]."""
        rows = slice(first, first + count)
        train_loss, train_score, dev_loss, dev_score = (
            column[rows].to(tensor.dtype).unflatten(1, tensor.shape or (1,))
            for column, tensor in zip(self.window, self.left, strict=False)
        )
        return train_loss, dev_loss, train_score, dev_score

    def moved(self) -> bool:
        """Whether somebody has put other tensors into the place of those that were recorded.

        If they are `alone`, only who looks at the numbers when they are read.
        """
        asked = self.filled == 0 or not self.alone
        return asked and (self.camera.moved() or self.captured.moved())


class Plan(NamedTuple):
    """How many rows go through together, and what of a run is recorded, in how many lanes."""

    block_size: int | None = None
    threads: int | None = None  # of torch, in each lane
    what: str | None = None  # "epochs", "steps" on mini-batches, or "blocks"; None for nothing
    training: Training | None = None
    lanes: int = 1

    def eager(self) -> "Plan":
        return Plan(self.block_size, self.threads)


EAGER = Plan()


def plan(
    step: str,
    runner: Any,
    sets: tuple[Any, Any],
    callbacks: list[Any],
    num_epochs: int,
    batch_size: int | None = None,
    block_size: int | None = None,
    threads: int | None = None,
) -> Plan:
    """What is asked for, made sense of for this model and these rows.

    ValueError for a `step` that there is not, and for "captured" where that cannot be.
    """
    if not isinstance(step, str) or step not in STEPS:
        raise ValueError(f"train: step is {step!r}, wanted one of {', '.join(STEPS)}")
    eager = Plan(block_size_of(runner, sets[0][0], block_size), threads)
    if step == "eager":
        return eager
    parts = runner.model, runner.optimizer, runner.metric, runner.loss_fn
    training = Training(*parts, *sets, eager.block_size)
    what, steps = _what(training, batch_size)
    why = obstacle(training) or _unknown(callbacks)
    if what != "steps":
        why = why or (obstacle_to_all if what == "epochs" else obstacle_to_blocks)(training)
    if why and step == "captured":
        raise ValueError(f"captured: {why}")
    if why or (step == "auto" and num_epochs * steps < WORTH):
        _log.debug("train: eager: %s", why or "it is soon over")
        return eager
    most = min(threads or torch.get_num_threads(), most_threads())
    lanes = lanes_for(training, most) if what == "blocks" else 1
    return Plan(eager.block_size, threads if lanes == 1 else 1, what, training, lanes)


def block_size_of(runner: Any, X: Any, asked: int | None = None) -> int | None:
    """How many rows of X go through the model at once; None for all."""
    loss_fn = runner.loss_fn if isinstance(runner.loss_fn, Loss) else None  # others cannot check
    return block_rows(runner.model, X, loss_fn, asked=asked)


def _what(training: Training, batch_size: int | None) -> tuple[str, int]:
    """What can be recorded, and how often an epoch replays it."""
    sets = training.train_set, training.dev_set
    rows = max(len(X) for X, _ in sets)
    size = training.block_size or rows
    if batch_size:
        return "steps", math.ceil(len(training.train_set[0]) / batch_size)
    if size < rows or any(isinstance(part, Source) for both in sets for part in both):
        return "blocks", math.ceil(rows / size)
    return "epochs", 1


def _unknown(callbacks: list[Any]) -> str | None:
    """Who could change, after an epoch, what is fixed in a recording."""
    for callback in callbacks:
        known = only_looks(callback) or is_recordable(callback)
        if hasattr(callback, "on_epoch_end") and not known:
            return f"{type(callback).__name__} comes after every epoch, says no recordable = True"
    return None
