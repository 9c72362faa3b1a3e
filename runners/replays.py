"""Epochs that are replayed from a recording: whether a run can have them, and what they leave."""

import logging
from functools import partial
from typing import Any

from torch import Tensor

from opnet.captured import Captured, Training, is_steady, obstacle

from .snapshots import Camera, Snapshot

STEPS = ("eager", "captured", "auto")

_log = logging.getLogger(__name__)


class Replays:
    """Up to `length` epochs wait in one window of memory, which the next window uses again."""

    def __init__(self, training: Training, camera: Camera, length: int, schedule: Any) -> None:
        steady = schedule is None and is_steady(training.optimizer)
        self.camera = camera
        self.captured = Captured(training, camera.rows, length, steady)
        self.numbers: list[Any] = [row.unbind() for row in self.captured.numbers]
        self.window = Window(self.captured.weights)

    def epoch(self, slot: int) -> tuple[tuple[Any, Any, Any, Any], Snapshot]:
        """One epoch, the next one after `slot` that wait: its four numbers and its snapshot."""
        if slot == 0:
            self.window.weights = self.captured.weights.clone()  # someone may look yet
            self.window = Window(self.captured.weights)
            self.captured.rewind()
        self.captured()
        return self.numbers[slot], self.camera.developed(partial(self.window.row, slot))

    def moved(self) -> bool:
        """Whether somebody has put other tensors into the place of those that were recorded."""
        moved = self.camera.moved() or self.captured.moved()
        if moved:
            _log.info("train: a param has been replaced: eager from here on")
        return moved


class Window:
    """Where the weights of some epochs in a row are: [K, P]."""

    def __init__(self, weights: Tensor) -> None:
        self.weights = weights

    def row(self, slot: int) -> Tensor:
        return self.weights[slot].clone()


def to_record(
    step: str,
    runner: Any,
    sets: tuple[Any, Any],
    schedule: Any,
    callbacks: list[Any],
    **sizes: int | None,
) -> Training | None:
    """What an epoch is made of, if it is to be recorded; None where each is computed eagerly.

    ValueError for a `step` that there is not, and for "captured" where that cannot be.
    """
    if step not in STEPS:
        raise ValueError(f"train: step is {step!r}, wanted one of {', '.join(STEPS)}")
    if step == "eager":
        return None
    training = Training(runner.model, runner.optimizer, runner.metric, runner.loss_fn, *sets)
    why = obstacle(training) or _wanted_between(schedule, callbacks, sizes)
    if why is None:
        return training
    if step == "captured":
        raise ValueError(f"captured: {why}")
    _log.debug("train: eager: %s", why)
    return None


def _wanted_between(schedule: Any, callbacks: list[Any], sizes: dict[str, Any]) -> str | None:
    """Who wants something of an epoch before it is over, or before the next one begins."""
    for name, size in sizes.items():
        if size is not None:
            return f"{name} is {size}, wanted None: all rows at once"
    if hasattr(schedule, "observe"):
        return f"{type(schedule).__name__} observes every epoch"
    for callback in callbacks:
        if hasattr(callback, "on_epoch_end"):
            return f"{type(callback).__name__} wants every epoch"
    return None
