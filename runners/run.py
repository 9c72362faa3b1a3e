"""One training run: the loop over epochs, and the reading of what the epochs left."""

import math
import time
from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from opnet.data import Rows
from opnet.errors import NonFiniteError
from opnet.step import evaluation, first_non_finite, training_step
from opnet.walk import every_part, set_training

from .best import Best, Weights, restore, snapshot
from .log import SECONDS_BETWEEN_UPDATES, Log

MOST_EPOCHS_UNREAD = 100
MOST_WEIGHTS_UNREAD = 2**22  # elements in the snapshots of the epochs that have not been read yet
NUMBERS = ("train loss", "dev loss", "train score", "dev score")
HOOKS = ("on_train_begin", "on_epoch_end", "on_train_end")


class Epoch(NamedTuple):
    """What an epoch leaves: the four NUMBERS, not read back, and the weights after its update."""

    train_loss: Any
    dev_loss: Any
    train_score: Any
    dev_score: Any
    lr: float | None
    weights: Weights


class Run:
    """The epochs of one `RunnerV2_1.train`.

    Nothing is read back from the device while epochs run: their losses, scores and weights wait in
    `unread` until there are `most_unread` of them or a tenth of a second has passed.
    """

    def __init__(
        self,
        runner: Any,
        train_set: Rows,
        dev_set: Rows,
        best: Best,
        log: Log,
        callbacks: list[Any],
    ) -> None:
        self.runner, self.train_set, self.dev_set = runner, train_set, dev_set
        self.best, self.log, self.callbacks = best, log, callbacks
        self.parts = every_part(runner.model)
        self.epochs_before = len(runner.train_loss)
        self.unread: list[Epoch] = []
        self.epochs_read, self.read_at = 0, time.monotonic()
        self.last_weights = best.kept.weights
        elements = sum(w.numel() for w in best.kept.weights)
        every_epoch = any(hasattr(callback, "on_epoch_end") for callback in callbacks)
        limit = 1 if every_epoch else min(log.log_epochs or MOST_EPOCHS_UNREAD, MOST_EPOCHS_UNREAD)
        self.most_unread = max(1, min(limit, MOST_WEIGHTS_UNREAD // max(elements, 1)))

    def epochs(self) -> None:
        for epoch in range(self.log.num_epochs):
            if self.runner.stop:
                break
            self.unread.append(self._epoch())
            late = time.monotonic() - self.read_at >= SECONDS_BETWEEN_UPDATES
            if late or len(self.unread) >= self.most_unread:
                self.read()
            self.call("on_epoch_end", epoch)
        self.read()

    @torch.no_grad()
    def _epoch(self) -> Epoch:
        model, loss_fn, metric = self.runner.model, self.runner.loss_fn, self.runner.metric
        (X, y), (X_dev, y_dev) = self.train_set, self.dev_set
        set_training(self.parts, True)
        predicts, train_loss = training_step(model, loss_fn, self.runner.optimizer, X, y)
        train_score = metric(predicts, y)
        set_training(self.parts, False)
        predicts, dev_loss = evaluation(model, loss_fn, X_dev, y_dev)
        dev_score = metric(predicts, y_dev)
        lr = getattr(self.runner.optimizer, "lr", getattr(self.runner.optimizer, "init_lr", None))
        return Epoch(train_loss, dev_loss, train_score, dev_score, lr, snapshot(model))

    def read(self) -> None:
        """Read what waits into histories, best weights, log and files. NonFiniteError if bad."""
        waiting, self.read_at = list(self.unread), time.monotonic()
        if not waiting:
            return
        columns = [_read_back(column) for column in list(zip(*waiting, strict=True))[:4]]
        for epoch, numbers in zip(waiting, zip(*columns, strict=True), strict=True):
            if not all(math.isfinite(number) for number in numbers):
                self.unread.clear()
                raise NonFiniteError(self._diagnosis(epoch, numbers))
            self._accept(epoch, numbers)
            self.unread.pop(0)  # only now: an interrupt in between loses nothing
        self.best.check_finite()
        self.best.write()
        self.log.progress(self.epochs_read, self.runner.train_loss[-1])

    def end(self) -> None:
        """Put the kept weights into the model and on disk; say which they are."""
        runner, kept = self.runner, self.best.kept
        try:
            self.best.restore()
            set_training(self.parts, True)
            shortest = min(map(len, runner.histories))
            for history in runner.histories:  # of one length, also after an interrupt in between
                del history[shortest:]
            if kept.epoch is not None:
                runner.kept_epoch = self.epochs_before + kept.epoch
            self.best.write(at_once=True)
            self.log.kept(kept.epoch, kept.score, kept.loss, self.best.keep)
        finally:
            self.log.close()
            self.call("on_train_end")

    def _accept(self, epoch: Epoch, numbers: tuple[float, ...]) -> None:
        runner = self.runner
        train_loss, dev_loss, train_score, dev_score = numbers
        runner.train_loss.append(train_loss)
        runner.dev_loss.append(dev_loss)
        runner.train_scores.append(train_score)
        runner.dev_scores.append(dev_score)
        self.best.offer(self.epochs_read, dev_score, dev_loss, epoch.weights)
        self.log.epoch(self.epochs_read, train_loss, dev_score)
        self.last_weights = epoch.weights
        self.epochs_read += 1

    def _diagnosis(self, epoch: Epoch, numbers: tuple[float, ...]) -> str:
        """What is not finite, when, at which rate, and which op it comes from."""
        bad = [not math.isfinite(number) for number in numbers].index(True)
        name, number = NUMBERS[bad], numbers[bad]
        on_train = name.startswith("train")
        restore(self.runner.model, self.last_weights if on_train else epoch.weights)
        op = first_non_finite(self.runner.model, (self.train_set if on_train else self.dev_set)[0])
        cause = f"first at the output of {op!r}" if op else "the output of every op is finite"
        epoch_kept = self.best.kept.epoch
        kept = "the start" if epoch_kept is None else f"epoch {epoch_kept}"
        what = f"{name} of epoch {self.epochs_read} is {number} at learning rate {epoch.lr}"
        return f"train: {what}; {cause}; the weights of {kept} are kept"

    def call(self, hook: str, *arguments: Any) -> None:
        for callback in self.callbacks:
            if hasattr(callback, hook):
                getattr(callback, hook)(self.runner, *arguments)


def checked_callbacks(callbacks: Iterable[Any]) -> list[Any]:
    """The callbacks as a list; TypeError for one that has none of the hooks."""
    checked = list(callbacks)
    for position, callback in enumerate(checked):
        if not any(hasattr(callback, hook) for hook in HOOKS):
            who = f"train: callback {position} ({type(callback).__name__})"
            raise TypeError(f"{who} has none of {', '.join(HOOKS)}")
    return checked


def _read_back(column: tuple[Any, ...]) -> list[float]:
    """Numbers or one-element tensors as floats, in one round trip."""
    if all(isinstance(value, Tensor) for value in column):
        column = tuple(torch.stack([value.reshape(()) for value in column]).tolist())
    return [float(value) for value in column]
