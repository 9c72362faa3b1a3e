"""Which weights of a run are kept, and when they go to disk."""

import math
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

from opnet import checkpoint
from opnet.describe import description
from opnet.environment import environment
from opnet.errors import NonFiniteError
from opnet.walk import state

from .snapshots import Camera, Snapshot, set_weights

KEEP = ("best_score", "best_loss", "last")
SECONDS_BETWEEN_WRITES = 1.0


class Kept(NamedTuple):
    """A snapshot with its dev score and loss; `epoch` is None for that before the run."""

    epoch: int | None
    score: float
    loss: float
    snapshot: Snapshot


class Best:
    """Keeps the weights with the highest dev score, with the lowest dev loss, or the last ones.

    Equal dev scores are decided by the lower dev loss. Until an epoch is offered the weights are
    those that the model came with. What the optimizer keeps stays with the weights it belongs to.
    """

    def __init__(self, model: Any, optimizer: Any, keep: str, directory: Path | None) -> None:
        self.model, self.optimizer, self.keep = model, optimizer, keep
        self.directory, self.camera = directory, Camera(model, optimizer)
        self._sound: Kept | None = None  # what has been looked at already
        self.kept = self._finite = Kept(None, -math.inf, math.inf, self.snapshot())
        self._on_disk, self._written_at = self.kept, time.monotonic()
        self._manifest = self._manifest_there()

    def go_on(self, kept: Kept) -> None:
        """Take up the best of a run that was stopped."""
        self.kept = self._finite = kept

    def snapshot(self) -> Snapshot:
        return self.camera.take()

    def offer(self, epoch: int | None, score: float, loss: float, snapshot: Snapshot) -> None:
        if self._is_better(score, loss):
            self.kept = Kept(epoch, score, loss, snapshot)

    def _is_better(self, score: float, loss: float) -> bool:
        if self.keep == "best_score":
            return (score, -loss) > (self.kept.score, -self.kept.loss)
        return self.keep == "last" or loss < self.kept.loss

    def check_finite(self) -> None:
        """NonFiniteError, and back to the weights of the last check, when some are not finite."""
        bad = self.kept
        if bad is self._sound:
            return
        if all(tensor.isfinite().all() for tensor in bad.snapshot.tensors()):
            self._finite = self._sound = bad
            return
        self.kept = self._finite
        weights_are = all(weight.isfinite().all() for weight in bad.snapshot.weights)
        what = "what the optimizer keeps" if weights_are else "weights"
        raise NonFiniteError(f"train: {what} of epoch {bad.epoch} are nan or infinite")

    def restore(self) -> None:
        self.put(self.kept.snapshot)

    def put(self, taken: Snapshot) -> None:
        """Set the weights, and what the optimizer keeps, to those of a snapshot."""
        set_weights(self.model, taken)
        if taken.memory:
            self.optimizer.load_state(taken.memory)

    def write(self, *, at_once: bool = False) -> None:
        """Put what is not on disk yet there; not more often than once a second unless `at_once`.

        What a callback has saved there meanwhile gives way at the end.
        """
        now = time.monotonic()
        due = at_once or now - self._written_at >= SECONDS_BETWEEN_WRITES
        changed = at_once and self._manifest_there() != self._manifest
        if self.directory and due and (changed or self.kept is not self._on_disk):
            weights, memory = iter(self.kept.snapshot.weights), self.kept.snapshot.memory
            layers = checkpoint.layers_of(self.model).items()
            kept = {name: {key: next(weights) for key in tensors} for name, tensors in layers}
            checkpoint.save(self.directory, kept, memory, about(self.model, self.kept))
            self._on_disk, self._written_at = self.kept, now
            self._manifest = self._manifest_there()

    def _manifest_there(self) -> Any:
        return self.directory and checkpoint.read_manifest(self.directory, checkpoint.ELSEWHERE)


def alone(directory: Path | None) -> AbstractContextManager[None]:
    """Nobody else writes into the directory meanwhile."""
    return checkpoint.locked(directory) if directory else nullcontext()


def about(model: Any, kept: Kept | None = None) -> dict[str, Any]:
    """What the manifest says of the weights: whose they are, and how good they were."""
    device = next((tensor.device for tensor in state(model)), None)
    told = {"model": description(model), "environment": environment(device)}
    if kept is None or kept.epoch is None:
        return told
    scores = {"dev_score": kept.score, "dev_loss": kept.loss}
    return told | {"epoch": kept.epoch, "scores": scores}
