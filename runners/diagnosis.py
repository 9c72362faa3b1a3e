"""What to say of a number that is not finite: when, at which rate, and where it went bad first."""

import math
from collections.abc import Iterator
from typing import Any

from opnet.nonfinite import first_bad_gradient, first_bad_output

from .snapshots import Snapshot, set_weights

NUMBERS = ("train loss", "dev loss", "train score", "dev score")
FINE = "the output of every op is finite"


def diagnosis(run: Any, epoch: Any, numbers: tuple[float, ...]) -> str:
    """In one line, on all ranks the same, of the first epoch that was read with bad numbers."""
    bad = [not math.isfinite(number) for number in numbers].index(True)
    name, number = NUMBERS[bad], numbers[bad]
    found = (run.ranks.gather(here) for here in _searched(run, epoch, name.startswith("train")))
    cause = next((_first(ranks) for ranks in found if any(ranks)), FINE)
    kept = "the start" if run.best.kept.epoch is None else f"epoch {run.best.kept.epoch}"
    what = f"{name} of epoch {run.epochs_read} is {number} at learning rate {epoch.lr}"
    return f"train: {what}; {cause}; the weights of {kept} are kept"


def _searched(run: Any, epoch: Any, on_train: bool) -> Iterator[str | None]:
    """What is found here, place by place in the order of an epoch, from the last good weights on.

    Of mini-batches, whose weights in between nobody has, all rows together stand for each.
    """
    (X, y), (X_dev, _) = run.train_set, run.dev_set
    parts, size = (run.runner.model, run.runner.loss_fn), run.plan.block_size
    if on_train:
        yield _output(run, run.last, X)
    if run.batches or not on_train:  # then an update lies between
        set_weights(parts[0], run.last)
        op = first_bad_gradient(*parts, X, y, size)
        yield op and f"first in the gradient of {op!r}"
        yield _output(run, epoch.snapshot, X if on_train else X_dev)


def _output(run: Any, snapshot: Snapshot, X: Any) -> str | None:
    set_weights(run.runner.model, snapshot)
    op = first_bad_output(run.runner.model, X, run.plan.block_size)
    return op and f"first at the output of {op!r}"


def _first(found: list[str | None]) -> str:
    """What one rank has found, with its number unless all have."""
    rank, cause = next((rank, cause) for rank, cause in enumerate(found) if cause)
    return cause if all(found) else f"{cause} on rank {rank}"
