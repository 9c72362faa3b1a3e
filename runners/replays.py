"""Epochs that are replayed from a recording: whether a run can have them, and what they leave."""

import functools
import logging
import math
import operator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from opnet.captured import Captured, Training, is_steady, obstacle, obstacle_to_all
from opnet.rows import Source
from opnet.threads import most_threads
from opnet.walks import lanes_for, obstacle_to_blocks

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

    def epoch(self) -> Snapshot:
        """The next epoch; its snapshot."""
        left = self.captured()
        if len(left) != len(self.left) or any(map(operator.is_not, left, self.left)):
            self.left = left  # only while nothing is recorded yet
            self.seen = [tensor.detach().reshape(-1) for tensor in left] + self.camera.rows
        if not self.rows:
            self._open_window()
        row = self.rows[self.filled]
        torch.cat(self.seen, out=row)
        self.filled += 1
        return self.camera.developed(row)

    def _open_window(self) -> None:
        sizes = [len(tensor) for tensor in self.seen]
        kind = functools.reduce(torch.promote_types, (tensor.dtype for tensor in self.seen))
        window = self.seen[0].new_empty((self.length, sum(sizes)), dtype=kind)
        self.window, self.rows = window.split(sizes, dim=1), list(window.unbind())

    def columns(self, count: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Train loss, dev loss, train score and dev score of the last `count` epochs, [count]."""
        last = slice(self.filled - count, self.filled)
        train_loss, train_score, dev_loss, dev_score = (
            column[last].unflatten(1, tensor.shape or (1,))
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
    """What of a run is recorded: whole epochs, steps on mini-batches, or blocks in some lanes."""

    training: Training
    what: str  # "epochs", "steps" or "blocks"
    lanes: int
    threads: int | None  # of torch, in each lane


def plan(
    step: str,
    training: Training,
    callbacks: list[Any],
    num_epochs: int,
    batch_size: int | None = None,
    threads: int | None = None,
) -> Plan | None:
    """How a run is recorded; None where all of it is computed as usual.

    ValueError for a `step` that there is not, and for "captured" where that cannot be.
    """
    if step not in STEPS:
        raise ValueError(f"train: step is {step!r}, wanted one of {', '.join(STEPS)}")
    if step == "eager":
        return None
    sets = training.train_set, training.dev_set
    rows = max(len(X) for X, _ in sets)
    by_blocks = (training.block_size or rows) < rows or any(isinstance(X, Source) for X, _ in sets)
    why = obstacle(training) or _unknown(callbacks)
    steps = num_epochs
    if batch_size:
        what, steps = "steps", num_epochs * math.ceil(len(training.train_set[0]) / batch_size)
    elif by_blocks:
        what, steps = "blocks", num_epochs * math.ceil(rows / (training.block_size or rows))
        why = why or obstacle_to_blocks(training)
    else:
        what = "epochs"
        why = why or obstacle_to_all(training)
    if why is None and (steps >= WORTH or step == "captured"):
        most = threads or min(torch.get_num_threads(), most_threads())
        lanes = lanes_for(training, most) if what == "blocks" else 1
        return Plan(training, what, lanes, threads if lanes == 1 else 1)
    if step == "captured":
        raise ValueError(f"captured: {why}")
    _log.debug("train: eager: %s", why)
    return None


def _unknown(callbacks: list[Any]) -> str | None:
    """Who could change, after an epoch, what is fixed in a recording."""
    for callback in callbacks:
        own = type(callback).__module__.startswith("runners.")
        known = own or getattr(callback, "recordable", False)
        if hasattr(callback, "on_epoch_end") and not known:
            return f"{type(callback).__name__} comes after every epoch, says no recordable = True"
    return None
