"""What stands between epochs: objects to pass as `train(callbacks=[...])`.

A callback has some of `on_train_begin(runner)`, `on_epoch_end(runner, epoch)`,
`on_train_end(runner)`. With `called_every = k` the second comes after every k-th epoch and after
the last one, and nobody waits for those in between. A class with `reads_only_histories = True` is
told of each epoch when many are read together: the histories end with that epoch, the model may be
further on. If it stops the run there, the epochs beyond never were.
"""

import copy
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from opnet.errors import check_count, check_rate
from opnet.parallel import rank
from opnet.tracking import EventFiles
from opnet.walk import dict_of, named_ops, state


class EarlyStopping:
    """Stop when for `patience` epochs no dev loss was below best - min_delta.

    best is the lowest dev loss that was, inf at the start of each `train`. `stopped_epoch` is the
    epoch, counted as `train` counts, after which the run was stopped, None while it was not. Which
    weights stay is the choice of `train(keep=...)`; "best_loss" fits.
    ValueError or TypeError for a patience below 1, a min_delta that is not finite or below 0.
    Source: Prechelt 1998, as a patience: Goodfellow, Bengio, Courville 2016, algorithm 7.1.
    """

    reads_only_histories = True

    def __init__(self, patience: int, min_delta: float = 0.0) -> None:
        self.patience = check_count("EarlyStopping: patience", patience)
        self.min_delta = check_rate("EarlyStopping: min_delta", min_delta)
        self.stopped_epoch: int | None = None

    def on_train_begin(self, runner: Any) -> None:
        self.best, self.waited, self.stopped_epoch = math.inf, 0, None

    def on_epoch_end(self, runner: Any, epoch: int) -> None:
        loss = runner.dev_loss[-1]
        if loss < self.best - self.min_delta:
            self.best, self.waited = loss, 0
            return
        self.waited += 1
        if self.waited >= self.patience:
            self.stopped_epoch, runner.stop = epoch, True


class Snapshots:
    """Copies of the weights after every `every`-th epoch of a `train` and the last one.

    `weights` are {epoch: tensors}, epochs as `train` counts them, tensors as the ops have them in
    order. ValueError or TypeError for an `every` below 1.
    """

    def __init__(self, every: int = 1) -> None:
        self.called_every = check_count("Snapshots: every", every)
        self.weights: dict[int, list[Tensor]] = {}

    def on_train_begin(self, runner: Any) -> None:
        self._model, self.weights = runner.model, {}

    def on_epoch_end(self, runner: Any, epoch: int) -> None:
        self.weights[epoch] = [tensor.clone() for tensor in state(runner.model)]

    @torch.no_grad()
    def at(self, epoch: int) -> Any:
        """A copy of the model with the weights after that epoch. KeyError if none were kept."""
        kept, model = self.weights[epoch], copy.deepcopy(self._model)
        for tensor, value in zip(state(model), kept, strict=True):
            tensor.copy_(value)
        return model


class TensorBoard:
    """Writes what TensorBoard shows below `log_dir`, after every `every`-th epoch and the last one.

    The four histories as curves, histograms of each `params` and of its gradient; with `sets`, as
    `plots.DecisionBoundary` takes them, at the end the boundary of the weights that are kept, of a
    model of two features. Steps are places in the histories.
    ImportError if tensorboard is not installed; ValueError or TypeError for an `every` below 1, a
    `log_dir` that cannot be written, and when a training begins for `sets` that do not fit.
    """

    def __init__(
        self,
        log_dir: str | Path,
        every: int = 100,
        sets: Mapping[str, Sequence[Any]] | None = None,
    ) -> None:
        self.called_every = check_count("TensorBoard: every", every)
        self._sets = sets
        self._files = None if rank() else EventFiles(log_dir)  # of several, rank 0 writes

    def on_train_begin(self, runner: Any) -> None:
        if self._sets:
            self._boundary(runner, resolution=2)  # refuses now what it would refuse at the end

    def on_epoch_end(self, runner: Any, epoch: int) -> None:
        if self._files is None:
            return
        step = len(runner.dev_loss) - 1
        for name, values in runner.history.items():
            which, what = name.split("_")
            self._files.scalar(f"{what}/{which}", values[-1], step)
        for name, op in named_ops(runner.model).items():
            for kind in ("params", "grads"):
                for key, tensor in dict_of(op, kind).items():
                    self._files.histogram(f"{kind}/{name}.{key}", tensor, step)

    def on_train_end(self, runner: Any) -> None:
        if self._files is None:
            return
        try:
            if self._sets and runner.dev_loss:
                drawn = self._boundary(runner).plot()
                self._files.figure("boundary", drawn.figure_, len(runner.dev_loss) - 1)
        finally:
            self._files.close()

    def _boundary(self, runner: Any, **how: Any) -> Any:
        from opnet.plots import DecisionBoundary

        return DecisionBoundary(runner.model, self._sets, **how)
