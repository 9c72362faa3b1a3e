"""RunnerV2_1: trains, evaluates, predicts, and keeps the best weights, in memory and on disk."""

import math
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from opnet import checkpoint
from opnet.blocks import block_rows, widths
from opnet.data import as_features, as_rows
from opnet.errors import check_count, check_path
from opnet.losses import Loss
from opnet.parallel import Ranks
from opnet.step import evaluation, predictions
from opnet.threads import fitting_threads
from opnet.walk import check_model, check_places, named_ops, state, untouched

from .best import Best, about, alone
from .doors import (
    check_generator,
    check_keep,
    check_of_rows,
    check_part,
    check_schedule,
    checked_callbacks,
    checked_saving,
    count_or_none,
    number,
    several,
    split_size,
)
from .history import History
from .log import Log
from .ranks import Share, on_ranks
from .replays import block_size_of, plan
from .resume import Resumable, check_free
from .run import Run


class Judged(NamedTuple):
    """Score and loss of a model on rows, their labels as the loss takes them, predicted numbers."""

    score: float
    loss: float
    labels: Tensor
    predicted: int


class RunnerV2_1:
    """Training on all rows or on mini-batches, with an evaluation on the dev set every epoch.

    `model`, `optimizer`, `metric(predicts, labels)` and `loss_fn(predicts, labels)` may be opnet's
    or a learner's own. `train_scores`, `train_loss`, `dev_scores`, `dev_loss` are lists of floats,
    one a finished epoch: the train numbers are of the weights before each update, the dev numbers
    of those after the last. `kept_epoch` is the place in these lists of the weights that were kept;
    log lines and callbacks count each `train` from 0. Data sets are pairs [X, y] of tensors, NumPy
    arrays or lists.
    Source: NNDL 4.2, RunnerV2_1.
    """

    def __init__(self, model: Any, optimizer: Any, metric: Any, loss_fn: Any) -> None:
        check_model("RunnerV2_1", model)
        check_places(model)
        named_ops(model)  # refuses names that clash
        check_part("optimizer", optimizer, model, does="step")
        check_part("metric", metric, model)
        check_part("loss_fn", loss_fn, model)
        self.model, self.optimizer, self.metric, self.loss_fn = model, optimizer, metric, loss_fn
        self.train_scores: list[float] = []
        self.train_loss: list[float] = []
        self.dev_scores: list[float] = []
        self.dev_loss: list[float] = []
        self.histories = (self.train_scores, self.train_loss, self.dev_scores, self.dev_loss)
        self.history = History(*self.histories)
        self.kept_epoch: int | None = None
        self.stop = False
        self.ranks = Ranks()  # of the training under way

    @on_ranks
    def train(
        self,
        train_set: Any,
        dev_set: Any,
        *,
        num_epochs: int,
        log_epochs: int = 100,
        save_dir: str | Path | None = None,
        keep: str = "best_score",
        callbacks: Iterable[Any] = (),
        schedule: Callable[[int], float] | None = None,
        batch_size: int | None = None,
        generator: torch.Generator | None = None,
        save_every: int | None = None,
        resume: bool = False,
        block_size: int | None = None,
        threads: int | None = None,
        step: str = "auto",
    ) -> None:
        """Train for `num_epochs` from the weights in memory; put the kept ones there and on disk.

        An epoch is one step on all rows, or with a `batch_size` one on each batch of so many rows,
        in an order that `generator` draws anew each epoch (None: seeded from fresh entropy, which
        is logged); its train loss and score are over all rows. `schedule(epoch)`, epochs counted
        from 0, is the learning rate; one with `observe(dev_loss)` is told the loss of each epoch.
        `keep` is "best_score" (dev score; ties go to the lower dev loss), "best_loss" (dev loss) or
        "last". The kept weights, and what the optimizer held with them, are also put back on
        Ctrl-C, on errors and when a callback sets `runner.stop`. A callback has some of
        `on_train_begin(runner)`, `on_epoch_end(runner, epoch)`, `on_train_end(runner)`; with
        `called_every = k` the second comes after every k-th epoch and the last (docs/speed.md).
        With `save_every=k` all that the run is made of goes to `save_dir`/resume every k epochs, at
        its end, and on Ctrl-C, which then waits for the end of the epoch. `resume=True` goes on
        from there: `num_epochs` is the total, and all ends as if the run had never stopped, to the
        last bit; other settings or data are a CheckpointError. Where nothing is, it starts anew.
        Without a `save_every` it takes that of the run it goes on with, else saves each 10 s.
        On a CPU the rows of a step go through the model in blocks that fit its cache, or of
        `block_size` rows: gradient, loss and score are those of all rows, to rounding. An op
        that couples the rows, as BatchNorm, has them all at once.
        X may be larger than the memory: what has __len__ and slicing, as `data.from_npy(path)`, is
        read block by block. `threads` of torch are as many as the work is worth, if not given.
        Epochs, mini-batches or blocks are recorded once and replayed, with `step="auto"` where they
        can be and it pays: "captured" refuses what cannot, "eager" never records. A learner's op,
        loss, metric, optimizer or callback says `recordable = True` if it can (docs/speed.md).
        Started by a launcher as torchrun, it is one training of all ranks (docs/ranks.md).
        `log_epochs=0` prints nothing. Before `on_train_begin`: ValueError or TypeError for
        arguments and data that do not fit, CheckpointError for a `save_dir` that cannot be used.
        Later ValueError or TypeError for a rate that is not finite or below 0, NonFiniteError when
        a loss or a score is nan or infinite.
        """
        num_epochs = check_count("train: num_epochs", num_epochs, lowest=0)
        log_epochs = check_count("train: log_epochs", log_epochs, lowest=0)
        check_keep(keep)
        self._check_can_train()
        hooks = checked_callbacks(several("train: callbacks", callbacks))
        check_schedule(schedule, self.optimizer)
        check_generator(generator)
        sizes = {"batch_size": batch_size, "block_size": block_size, "threads": threads}
        batch_size, block_size, threads = (count_or_none(*size) for size in sizes.items())
        where = None if save_dir is None else check_path("train: save_dir", save_dir).absolute()
        save_every = checked_saving(save_every, resume, where)
        train_rows, predicted = self._rehearsed("train_set", train_set)
        dev_rows, more_predicted = self._rehearsed("dev_set", dev_set)
        split = split_size(batch_size, train_rows[0])
        share = Share(self.ranks, self, (train_rows, dev_rows), split)
        planned = partial(
            plan, step, self, share.sets, hooks, num_epochs, split, block_size, threads
        )
        recorded = planned()
        made_of = {"keep": keep, "batch_size": batch_size, "block_size": block_size}
        lasting = {"num_epochs": num_epochs, "save_every": save_every, "resume": resume}
        asked = made_of | lasting | {"schedule": schedule, "save_dir": _named(save_dir)}
        share.check_alike(hooks, generator if split else None, asked)
        if num_epochs == 0 and not resume:
            return
        if generator is None and split:
            generator = share.fresh_generator()
        resumable = None
        if where and (save_every or resume):
            made_of["data"] = share.told_data()
            resumable = Resumable(self, hooks, schedule, generator, made_of, where, save_every)
        own = where if self.ranks.first else None  # nobody else writes
        if save_dir is not None and self.ranks.first:
            checkpoint.prepare(save_dir, self.model)
        with alone(own), self._threads(train_rows[0], recorded.block_size, recorded.threads):
            if resumable:  # all that can be refused is, before anybody has begun
                resumable.look(resume, num_epochs)
            elif where:
                check_free(where)
            share.check_found(resumable)
            self.stop = False
            for callback in (hook for hook in hooks if hasattr(hook, "on_train_begin")):
                callback.on_train_begin(self)  # which may change any part
                recorded = planned()
            share.begin(hooks)
            best = Best(self.model, self.optimizer, keep, own)
            if self.train_loss:  # after a run the weights that it left are kept, where better
                score, loss, *_ = self._judge(*dev_rows)
                best.offer(None, score, loss, best.kept.snapshot)
            log = Log(num_epochs, log_epochs if self.ranks.first else 0)
            batches = partial(share.batches, split, generator) if split and generator else None
            how = resumable, predicted + more_predicted, recorded
            self._drive(Run(self, share, best, log, hooks, schedule, batches, *how))

    def _drive(self, run: Run) -> None:
        """All epochs; whatever ends them, the kept weights are put back and on disk."""
        try:
            run.epochs()
        except BaseException as error:
            closings = (run.end,) if self.ranks.several else (run.read, run.end)
            for closing in closings:  # their errors are notes to the one under way
                try:
                    closing()
                except Exception as second:
                    error.add_note(str(second))
            raise
        run.end()

    def evaluate(self, data_set: Any) -> tuple[float, float]:
        """(score, loss) on [X, y]; leaves no trace in model, loss, histories or random state."""
        X, y = as_rows("evaluate: data_set", data_set, self._like())
        score, loss, *_ = self._judge(X, y)
        return score, loss

    def predict(self, X: Any) -> Tensor:
        """The model's outputs for X [..., N, I]; leaves no trace."""
        X = as_features("predict", X, self._like())
        size = block_rows(self.model, X)
        with untouched(self.model), self._threads(X, size):
            return predictions(self.model, X, size)

    def save_model(self, save_dir: str | Path) -> None:
        """Write <layer>.pdparams of each layer with weights. CheckpointError, NonFiniteError.

        What the optimizer keeps between steps, if anything, goes into optimizer.pdopt.
        """
        save_dir = check_path("save_model: save_dir", save_dir)
        directory = checkpoint.prepare(save_dir, self.model).absolute()
        memory = checkpoint.memory_of(self.optimizer)
        checkpoint.save(directory, checkpoint.layers_of(self.model), memory, about(self.model))

    def load_model(
        self, model_dir: str | Path, *, transpose: bool | None = None, verify: bool = True
    ) -> None:
        """Read <layer>.pdparams of each layer with weights: all, or none and a CheckpointError.

        The optimizer goes on from optimizer.pdopt; without one of its kind it starts anew. Layers
        of torch's and Paddle's are read too, and a file with the state dict of a whole net;
        `transpose` and `verify` are those of `opnet.load`.
        """
        model_dir = check_path("load_model: model_dir", model_dir)
        checkpoint.load(model_dir, self.model, self.optimizer, transpose=transpose, verify=verify)
        self.kept_epoch = None

    def _threads(
        self, X: Any, size: int | None, threads: int | None = None
    ) -> AbstractContextManager[int]:
        """Inside, torch has so many threads, or as many as `size` of the rows of X are worth."""
        rows = math.prod(X.shape[:-1])
        return fitting_threads(min(rows, size or rows), widths(self.model, X), threads)

    def _like(self) -> Tensor:
        """A tensor of the dtype and on the device that the model works in."""
        return next(iter(state(self.model)), torch.empty(0))

    def _check_can_train(self) -> None:
        if self.optimizer is None:
            raise ValueError("train: optimizer is None, wanted one made for the model")
        if self.loss_fn is not None and not hasattr(self.loss_fn, "backward"):
            raise TypeError(f"train: loss_fn is {self.loss_fn!r}, wanted one with backward")
        if getattr(self.loss_fn, "model", self.model) is None:
            raise ValueError(f"train: loss_fn has no model, wanted {self.loss_fn}(model)")

    def _judge(self, X: Any, y: Tensor, in_short: bool = False) -> Judged:
        """The model on X, y, through all the doors; `in_short` on the first block, all labels."""
        for role, part in (("metric", self.metric), ("loss_fn", self.loss_fn)):
            if part is None:
                raise TypeError(f"RunnerV2_1: {role} is None, wanted one to judge by")
        size = block_size_of(self, X)
        with untouched(self.model, self.loss_fn), self._threads(X, size):
            if size is None or (isinstance(X, Tensor) and len(X) <= size):
                predicts = predictions(self.model, X)
                loss = self.loss_fn(predicts, y)
                labels = self.loss_fn.labels if isinstance(self.loss_fn, Loss) else y
            else:
                few = predictions(self.model, X[:size])
                labels = self.loss_fn.check(few[:1].expand(len(X), *few.shape[1:]), y)
                predicts, loss = few, self.loss_fn(few, labels[:size])
                if not in_short:
                    predicts, loss = evaluation(self.model, self.loss_fn, X, labels, size)
                    self.loss_fn.admitted(predicts, labels)  # refuses what is no prediction
            few_labels = labels[: len(predicts)]
            check_of_rows(self.metric, predicts, few_labels)
            score = number("metric", self.metric(predicts, few_labels))
            predicted = len(X) * predicts.numel() // len(predicts)
            return Judged(score, number("loss_fn", loss), labels, predicted)

    def _rehearsed(self, who: str, data_set: Any) -> tuple[list[Any], int]:
        """[X, y] as the step wants them, and how many numbers the model predicts.

        One evaluation refuses what does not fit, of all labels and the first block of rows.
        """
        X, y = as_rows(who, data_set, self._like())
        try:
            _, _, labels, predicted = self._judge(X, y, in_short=True)
        except (TypeError, ValueError, RuntimeError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            said = str(error).removeprefix(f"{who}: ")  # rows that are read know whose they are
            raise kind(f"{who}: {said}") from error
        return [X, labels], predicted


def _named(directory: str | Path | None) -> str | None:
    return None if directory is None else str(Path(directory))
