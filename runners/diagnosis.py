"""What to say of a number that is not finite: when, at which rate, and where it went bad first."""

import logging
import math
from collections.abc import Callable
from functools import partial
from typing import Any

from opnet.data import Rows
from opnet.nonfinite import first_bad_gradient, first_bad_output
from opnet.parallel import RankError

from .snapshots import Snapshot, set_weights

NUMBERS = ("train loss", "dev loss", "train score", "dev score")
FAILED, LOST = "", "where it went bad could not be found"
_log = logging.getLogger(__name__)


def diagnosis(run: Any, epoch: Any, numbers: tuple[float, ...]) -> str:
    """In one line, on all ranks the same, of the first epoch that was read with bad numbers."""
    bad = [not math.isfinite(number) for number in numbers].index(True)
    name, number = NUMBERS[bad], numbers[bad]
    cause = _cause(run, epoch, name.startswith("train"))
    kept = "the start" if run.best.kept.epoch is None else f"epoch {run.best.kept.epoch}"
    what = f"{name} of epoch {run.epochs_read} is {number} at learning rate {epoch.lr}"
    return f"train: {what}; {cause}; the weights of {kept} are kept"


def _cause(run: Any, epoch: Any, on_train: bool) -> str:
    """What each rank finds among its own rows, place by place in the order of an epoch.

    Mini-batches are cut from the rows in their order: nobody has their draws or weights any more.
    """
    model, loss_fn = run.runner.model, run.runner.loss_fn
    sizes = [size for size in (run.share.batch_size, run.plan.block_size) if size]
    for snapshot, first_bad, rows in _places(run, epoch, on_train):
        set_weights(model, snapshot)
        look = partial(first_bad, model, loss_fn, *rows, min(sizes, default=None))
        try:
            found = run.ranks.gather(_tried(look))
        except RankError:  # one that has more to look through is late: that is no reason of its own
            return LOST
        if any(found):
            rank, where = next((rank, where) for rank, where in enumerate(found) if where)
            return f"first {where}" + ("" if all(found) else f" on rank {rank}")
        if FAILED in found:
            return LOST
    return "the output of every op is finite"


def _places(
    run: Any, epoch: Any, on_train: bool
) -> list[tuple[Snapshot, Callable[..., str | None], Rows]]:
    """Where to look: what ran before the number, and the weights that it ran with."""
    train, dev = run.share.sets
    before = [(run.last, first_bad_output, train)] if on_train else []
    if on_train and not run.batches:
        return before
    update = run.last, first_bad_gradient, train
    return [*before, update, (epoch.snapshot, first_bad_output, train if on_train else dev)]


def _tried(look: Callable[[], str | None]) -> str | None:
    """What is found, or FAILED: a search that raises must not take the place of what it is for."""
    try:
        return look()
    except Exception as error:
        _log.debug("train: no search: %s: %s", type(error).__name__, error)
        return FAILED
