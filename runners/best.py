"""Which weights of a run are kept, and when they go to disk."""

import math
import time
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from opnet import checkpoint
from opnet.errors import NonFiniteError
from opnet.walk import state

KEEP = ("best_score", "best_loss", "last")
SECONDS_BETWEEN_WRITES = 1.0

Weights = list[Tensor]


class Kept(NamedTuple):
    """Weights with their dev score and loss; `epoch` is None for those before the run."""

    epoch: int | None
    score: float
    loss: float
    weights: Weights


class Best:
    """Keeps the weights with the highest dev score, with the lowest dev loss, or the last ones.

    Equal dev scores are decided by the lower dev loss. Until an epoch is offered the weights are
    those that the model came with.
    """

    def __init__(self, model: Any, keep: str, save_dir: str | Path | None) -> None:
        self.model, self.keep = model, keep
        self.directory = None if save_dir is None else checkpoint.prepare(save_dir, model)
        self.kept = self._finite = Kept(None, -math.inf, math.inf, snapshot(model))
        self._on_disk, self._written_at = self.kept, -math.inf

    def offer(self, epoch: int | None, score: float, loss: float, weights: Weights) -> None:
        if self._is_better(score, loss):
            self.kept = Kept(epoch, score, loss, weights)

    def _is_better(self, score: float, loss: float) -> bool:
        if self.keep == "best_score":
            return (score, -loss) > (self.kept.score, -self.kept.loss)
        return self.keep == "last" or loss < self.kept.loss

    def check_finite(self) -> None:
        """NonFiniteError, and back to the weights of the last check, when some are not finite."""
        if not all(w.isfinite().all() for w in self.kept.weights):
            bad, self.kept = self.kept, self._finite
            raise NonFiniteError(f"train: weights of epoch {bad.epoch} are nan or infinite")
        self._finite = self.kept

    def restore(self) -> None:
        restore(self.model, self.kept.weights)

    def write(self, *, at_once: bool = False) -> None:
        """Put what is not on disk yet there; not more often than once a second unless `at_once`."""
        now = time.monotonic()
        due = at_once or now - self._written_at >= SECONDS_BETWEEN_WRITES
        if self.directory and due and self.kept is not self._on_disk:
            weights = iter(self.kept.weights)
            layers = checkpoint.layers_of(self.model).items()
            checkpoint.save(self.directory, {n: {k: next(weights) for k in ts} for n, ts in layers})
            self._on_disk, self._written_at = self.kept, now


def snapshot(model: Any) -> Weights:
    return [tensor.detach().clone() for tensor in state(model)]


def restore(model: Any, weights: Weights) -> None:
    with torch.no_grad():
        for tensor, kept in zip(state(model), weights, strict=True):
            tensor.copy_(kept)
