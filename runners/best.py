"""Which weights of a run are kept, and when they go to disk."""

import math
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from opnet import checkpoint
from opnet.walk import state

KEEP = ("best_score", "best_loss", "last")
SECONDS_BETWEEN_WRITES = 1.0

Weights = list[Tensor]


class Best:
    """The weights of the epoch with the highest dev score, the lowest dev loss, or of the last.

    Equal dev scores are decided by the lower dev loss. Until an epoch is offered the weights are
    those that the model came with.
    """

    def __init__(self, model: Any, keep: str, save_dir: str | Path | None) -> None:
        self.model, self.keep = model, keep
        self.directory = None if save_dir is None else checkpoint.prepare(save_dir, model)
        self.epoch: int | None = None
        self.score, self.loss = -math.inf, math.inf
        self.weights = snapshot(model)
        self._unwritten, self._written_at = False, -math.inf

    def offer(self, epoch: int, score: float, loss: float, weights: Weights) -> None:
        if self._is_better(score, loss):
            self.epoch, self.score, self.loss, self.weights = epoch, score, loss, weights
            self._unwritten = True

    def _is_better(self, score: float, loss: float) -> bool:
        if self.keep == "best_score":
            return (score, -loss) > (self.score, -self.loss)
        return self.keep == "last" or loss < self.loss

    def restore(self) -> None:
        restore(self.model, self.weights)

    def write(self, *, at_once: bool = False) -> None:
        """Put what is not on disk yet there; not more often than once a second unless `at_once`."""
        now = time.monotonic()
        if (
            self.directory
            and self._unwritten
            and (at_once or now - self._written_at >= SECONDS_BETWEEN_WRITES)
        ):
            weights = iter(self.weights)
            layers = checkpoint.layers_of(self.model)
            checkpoint.save(
                self.directory,
                {name: {key: next(weights) for key in layer} for name, layer in layers.items()},
            )
            self._unwritten, self._written_at = False, now


def snapshot(model: Any) -> Weights:
    return [tensor.detach().clone() for tensor in state(model)]


def restore(model: Any, weights: Weights) -> None:
    with torch.no_grad():
        for tensor, kept in zip(state(model), weights, strict=True):
            tensor.copy_(kept)
