"""One training run: the loop over epochs, and the reading of what the epochs left."""

import logging
import math
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from opnet.captured import generators, keeps_as_usual
from opnet.data import Batch
from opnet.errors import NonFiniteError
from opnet.walk import every_part, set_training

from .best import Best, Kept
from .calls import Calls
from .diagnosis import diagnosis
from .doors import rate_of
from .interrupts import held_back
from .log import SECONDS_BETWEEN_UPDATES, Log
from .ranks import Share
from .replays import EAGER, Plan, Replays
from .resume import Resumable
from .snapshots import Snapshot
from .work import Work

MOST_EPOCHS_UNREAD = 100
MOST_UNREAD = 2**22  # elements, of weights and predictions, in the epochs not read back yet
_log = logging.getLogger(__name__)


class Epoch(NamedTuple):
    """What an epoch leaves: its rate, a snapshot after its updates, and four numbers to be read.

    Instead of a score there may be the predictions that are still to be scored. Those of a replayed
    epoch wait in a row of its window, whose `place` is told instead.
    """

    lr: float | None
    snapshot: Snapshot
    numbers: tuple[Any, Any, Any, Any] | None = None
    place: int = 0


class Run:
    """The epochs of one `RunnerV2_1.train`, of a step on each of `batches()` or on all rows.

    Nothing is read back from the device while epochs run: their losses, scores and weights wait in
    `unread` until there are `most_unread` of them, a tenth of a second has passed, or a callback
    wants to look.
    """

    def __init__(
        self,
        runner: Any,
        share: Share,
        best: Best,
        log: Log,
        callbacks: list[Any],
        schedule: Callable[[int], float] | None = None,
        batches: Callable[[], Iterator[Batch]] | None = None,
        resumable: Resumable | None = None,
        predicted: int = 0,
        plan: Plan = EAGER,
    ) -> None:
        self.runner, self.ranks, self.share = runner, runner.ranks, share
        self.train_set, self.dev_set = share.sets
        self.best, self.log = best, log
        self.schedule, self.batches, self.resumable = schedule, batches, resumable
        self.calls = Calls(runner, callbacks, self._can_drop())
        self.plan = share.plan(plan)
        self.observe = getattr(schedule, "observe", None)  # how a schedule asks for the dev loss
        self.parts = every_part(runner.model)
        self.epochs_before = len(runner.train_loss)
        self.unread: list[Epoch] = []
        self.epochs_read, self.read_at = 0, time.monotonic()
        self.stopped_by_reader = False
        self.last = best.kept.snapshot
        elements = sum(tensor.numel() for tensor in self.last.tensors())
        pause = 1 if self.observe else self.calls.pause
        limit = int(min(log.log_epochs or MOST_EPOCHS_UNREAD, MOST_EPOCHS_UNREAD, pause))
        self.of_rows = getattr(runner.metric, "of_rows", None)
        if plan.what == "epochs" and predicted * limit > MOST_UNREAD:
            self.of_rows = None  # the scores are recorded with the epoch
        many = predicted > MOST_UNREAD and (plan.block_size or batches)
        self.by_blocks = self.of_rows if many else None
        if share.of_rows:
            self.of_rows = self.by_blocks = share.of_rows
        if self.of_rows and not self.by_blocks:
            elements += predicted
        most = max(1, min(limit, MOST_UNREAD // max(elements, 1)))
        self.most_unread = min(self.ranks.gather(most))
        alone = schedule is None and self.calls.nobody_acts
        self.replays: Replays | None = None
        if self.plan.training and plan.what == "epochs":
            how = self.most_unread, alone, bool(self.of_rows and not self.by_blocks)
            self.replays = Replays(self.plan.training, best.camera, *how)
        sets = share.sets
        self.new_work = partial(Work, runner, share.optimizer, *sets, batches, self.by_blocks)
        self.work = self.new_work(self.plan, alone)

    def epochs(self) -> None:
        resumable = self.resumable
        if resumable:
            resumable.begin(self)
        with held_back(resumable is not None or self.ranks.several) as interrupted:
            (stop,) = self.ranks.any(self.runner.stop)
            self.runner.stop |= stop
            for epoch in range(self.epochs_read, self.log.num_epochs):
                if stop:
                    break
                self._epoch_and_after(epoch)
                due = resumable is not None and resumable.due(epoch + 1)
                late = time.monotonic() - self.read_at >= SECONDS_BETWEEN_UPDATES
                asked = late, due, interrupted(), self.runner.stop
                late, due, leaving, stop = self.ranks.any(*asked)
                if late or due or leaving or stop:
                    self.read()
                stop = stop or self.stopped_by_reader  # who stops all ranks alike
                if stop:
                    self.runner.stop = True
                    self.calls.last(self.epochs_read - 1)
                if resumable and (due or leaving):
                    resumable.save(self, self.epochs_read, ended=stop)
                if leaving:
                    done = f"after epoch {self.epochs_read}/{self.log.num_epochs}"
                    saved = ", which is saved: resume goes on from it" if resumable else ""
                    raise KeyboardInterrupt(f"{done}{saved}")
        self.read()
        if resumable:
            resumable.save(self, self.epochs_read, ended=True)

    def go_on(self, kept: Kept, epochs_done: int, epochs_before: int) -> None:
        """Take up a run that was stopped; model, optimizer and histories are those of then."""
        self.best.go_on(kept)
        self.last = self.best.snapshot()
        self.epochs_read, self.epochs_before = epochs_done, epochs_before
        self.log.best_score = max([0.0, *self.runner.dev_scores[epochs_before:]])

    def _epoch_and_after(self, epoch: int) -> None:
        if self.schedule:
            self.runner.optimizer.lr = rate_of(self.schedule, epoch)
        self.unread.append(self._replayed() or self._epoch())
        last = epoch + 1 == self.log.num_epochs
        due = self.calls.due(epoch + 1, last) if self.calls.lookers else []
        if due or len(self.unread) >= self.most_unread:
            self.read()
        if self.observe:
            self.observe(self.runner.dev_loss[-1])
        if self.calls.lookers:
            self.calls.look(due, self.epochs_read - 1)

    def _tell(self) -> None:
        """Call who reads. If the epoch is the last one, what has run beyond never was."""
        beyond, self.unread = self.unread, []
        asked, self.runner.stop = self.runner.stop, False  # from elsewhere, for after this epoch
        self.calls.read(self.epochs_read - 1)
        self.stopped_by_reader = self.runner.stop
        self.runner.stop |= asked
        if not self.stopped_by_reader:
            self.unread = beyond
        elif beyond:
            self.best.put(self.last)

    def _can_drop(self) -> bool:
        """Whether a snapshot holds all that goes on from one epoch to the next."""
        model, told = self.runner.model, self.batches or self.schedule or self.resumable
        draws = generators(model) or any(hasattr(part, "generator") for part in every_part(model))
        return not (told or draws) and keeps_as_usual(self.runner.optimizer)

    def _replayed(self) -> Epoch | None:
        if self._moved():
            _log.info("train: a param has been replaced: eager from here on")
            self.read()
            self.replays, self.work = None, self.new_work(self.plan.eager())
        if not self.replays:
            return None
        snapshot, place = self.replays.epoch()
        return Epoch(self._rate(), snapshot, place=place)

    def _moved(self) -> bool:
        """Whether what is recorded no longer holds."""
        if self.replays:
            return self.replays.moved()
        return self.work.recorded and (self.work.moved() or self.best.camera.moved())

    @torch.no_grad()
    def _epoch(self) -> Epoch:
        (_, y), (_, y_dev) = self.train_set, self.dev_set
        set_training(self.parts, True)
        predicts, train_loss = self.work.train()
        train_score = self._score(predicts, y)
        set_training(self.parts, False)
        predicts, dev_loss = self.work.judge()
        dev_score = self._score(predicts, y_dev)
        numbers = train_loss, dev_loss, train_score, dev_score
        return Epoch(self._rate(), self.best.snapshot(), numbers)

    def _rate(self) -> float | None:
        optimizer = self.runner.optimizer
        return getattr(optimizer, "lr", getattr(optimizer, "init_lr", None))

    def _score(self, predicts: Any, labels: Tensor) -> Any:
        """The score; what can be scored together with that of other epochs stays as it is."""
        return predicts if self.of_rows else self.runner.metric(predicts, labels)

    def _columns(self, waiting: list[Epoch]) -> list[list[float]]:
        """The four numbers of all epochs that wait, each in one round trip."""
        eager = zip(*(epoch.numbers or () for epoch in waiting), strict=True)
        first = waiting[0].place
        columns = self.replays.columns(first, len(waiting)) if self.replays else eager
        train_losses, dev_losses, *scored = columns
        sets = zip(scored, (self.train_set, self.dev_set), strict=True)
        scores = [self._scores(outputs, labels) for outputs, (_, labels) in sets]
        losses = [_read_back(train_losses), _read_back(dev_losses)]
        return self.share.totals(losses + scores)

    def _scores(self, waiting: Any, labels: Tensor) -> list[float]:
        """The scores of all epochs that wait, in one call where the metric can do that."""
        if not self.of_rows or self.by_blocks:
            return _read_back(waiting)
        predicts = waiting if isinstance(waiting, Tensor) else torch.stack(waiting)
        labels = labels.expand(len(predicts), *labels.shape)
        return self.of_rows(predicts, labels).flatten(1).mean(1).tolist()

    def read(self) -> None:
        """Read what waits into histories, best weights, log and files. NonFiniteError if bad."""
        waiting, self.read_at = list(self.unread), time.monotonic()
        if not waiting:
            return
        columns = self._columns(waiting)
        for epoch, numbers in zip(waiting, zip(*columns, strict=True), strict=True):
            if not all(math.isfinite(number) for number in numbers):
                self.unread.clear()
                raise NonFiniteError(diagnosis(self, epoch, numbers))
            self._accept(epoch, numbers)
            self.unread.pop(0)  # only now: an interrupt in between loses nothing
            if self.calls.readers:
                self._tell()
                if self.stopped_by_reader:
                    break
        if self.replays:
            self.replays.rewind()
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
            self.calls.end()

    def _accept(self, epoch: Epoch, numbers: tuple[float, ...]) -> None:
        runner = self.runner
        train_loss, dev_loss, train_score, dev_score = numbers
        runner.train_loss.append(train_loss)
        runner.dev_loss.append(dev_loss)
        runner.train_scores.append(train_score)
        runner.dev_scores.append(dev_score)
        self.best.offer(self.epochs_read, dev_score, dev_loss, epoch.snapshot)
        self.log.epoch(self.epochs_read, train_loss, dev_score)
        self.last = epoch.snapshot
        self.epochs_read += 1


def _read_back(column: Any) -> list[float]:
    """Numbers or one-element tensors as floats, in one round trip."""
    if not isinstance(column, Tensor) and all(isinstance(value, Tensor) for value in column):
        column = torch.stack([value.reshape(()) for value in column])
    numbers = column.flatten().tolist() if isinstance(column, Tensor) else column
    return [float(number) for number in numbers]
