"""What stands between epochs: objects to pass as `train(callbacks=[...])`.

A callback has some of `on_train_begin(runner)`, `on_epoch_end(runner, epoch)`,
`on_train_end(runner)`. With `called_every = k` the second comes after every k-th epoch and after
the last one, and nobody waits for those in between. A class with `reads_only_histories = True` is
told of each epoch when many are read together: the histories end with that epoch, the model may be
further on. If it stops the run there, the epochs beyond never were.
"""

import math
from typing import Any

from opnet.errors import check_count, check_rate


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
