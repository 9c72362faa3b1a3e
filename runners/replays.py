"""Epochs that are replayed from a recording: whether a run can have them, and what they leave."""

import functools
import logging
import operator
from typing import Any

import torch
from torch import Tensor

from opnet.captured import Captured, Training, is_steady, obstacle

from .snapshots import Camera, Snapshot

STEPS = ("eager", "captured", "auto")

_log = logging.getLogger(__name__)


class Replays:
    """The epochs of a training; at most `length` of them wait until somebody reads them.

    The next epoch writes over what one leaves, so it is copied, in one call: the four of `Captured`
    and all that the camera sees are a row of a window [length, P]. The next window is a new one.
    """

    def __init__(
        self, training: Training, camera: Camera, length: int, schedule: Any, scored_later: bool
    ) -> None:
        steady = schedule is None and is_steady(training.optimizer)
        self.camera, self.length, self.scheduled = camera, length, schedule is not None
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

        Between two epochs a schedule can, and who looks at the numbers when they are read.
        """
        return (self.filled == 0 or self.scheduled) and (
            self.camera.moved() or self.captured.moved()
        )


def to_record(
    step: str,
    runner: Any,
    sets: tuple[Any, Any],
    schedule: Any,
    callbacks: list[Any],
    block_size: int | None = None,
    batch_size: int | None = None,
) -> Training | None:
    """What an epoch is made of, if it is to be recorded; None where each is computed eagerly.

    ValueError for a `step` that there is not, and for "captured" where that cannot be.
    """
    if step not in STEPS:
        raise ValueError(f"train: step is {step!r}, wanted one of {', '.join(STEPS)}")
    if step == "eager":
        return None
    parts = runner.model, runner.optimizer, runner.metric, runner.loss_fn
    training = Training(*parts, *sets, block_size)
    why = obstacle(training) or _wanted_between(schedule, callbacks)
    if batch_size:
        why = why or f"batch_size is {batch_size}, wanted None: a step an epoch"
    if why is None:
        return training
    if step == "captured":
        raise ValueError(f"captured: {why}")
    _log.debug("train: eager: %s", why)
    return None


def _wanted_between(schedule: Any, callbacks: list[Any]) -> str | None:
    """Who wants something of an epoch before it is over, or before the next one begins."""
    if hasattr(schedule, "observe"):
        return f"{type(schedule).__name__} observes every epoch"
    for callback in callbacks:
        if hasattr(callback, "on_epoch_end"):
            return f"{type(callback).__name__} wants every epoch"
    return None
