"""When the callbacks of a run are called."""

import math
import operator
from collections.abc import Sequence
from itertools import compress
from typing import Any


class Calls:
    """Those with an on_epoch_end are `lookers`, who come between two epochs, or `readers`.

    A reader is told of an epoch when its numbers are read, with those of many others: only who
    reads nothing but histories, and only where the epochs beyond a stop of his `can_drop` out. On
    several ranks a learner's own is no reader: it may stop on one, and they ask after each epoch.
    """

    def __init__(self, runner: Any, callbacks: list[Any], can_drop: bool) -> None:
        self.runner, self.callbacks = runner, callbacks
        called = [callback for callback in callbacks if hasattr(callback, "on_epoch_end")]
        reads = [can_drop and self._may_read(callback) for callback in called]
        self.readers = list(compress(called, reads))
        self.lookers = list(compress(called, map(operator.not_, reads)))
        self.pause = min([every(looker) for looker in self.lookers], default=math.inf)
        self.looked: list[Any] = []
        self.nobody_acts = all(map(only_looks, self.lookers))

    def _may_read(self, callback: Any) -> bool:
        known = of_house(callback) or not self.runner.ranks.several
        return known and reads_only_histories(callback)

    def due(self, done: int, last: bool) -> list[Any]:
        """Who looks at the run after so many epochs."""
        return [looker for looker in self.lookers if last or done % every(looker) == 0]

    def look(self, due: list[Any], epoch: int) -> None:
        """Call who is due."""
        self.looked = [] if self.runner.stop else due  # a reader's stop may be some epochs ago
        self._call("on_epoch_end", self.looked, epoch)

    def last(self, epoch: int) -> None:
        """Call the others too: the epoch has turned out to be the last one."""
        looked = {id(looker) for looker in self.looked}
        others = [looker for looker in self.lookers if id(looker) not in looked]
        self._call("on_epoch_end", others, epoch)

    def read(self, epoch: int) -> None:
        self._call("on_epoch_end", self.readers, epoch)

    def end(self) -> None:
        """Call all, also after one that fails; the first error is raised, with the others in it."""
        errors: list[Exception] = []
        for callback in self.callbacks:
            try:
                self._call("on_train_end", [callback])
            except Exception as error:
                errors.append(error)
        for other in errors[1:]:
            errors[0].add_note(f"{type(other).__name__}: {other}")
        if errors:
            raise errors[0]

    def _call(self, hook: str, callbacks: Sequence[Any], *arguments: Any) -> None:
        for callback in callbacks:
            if hasattr(callback, hook):
                getattr(callback, hook)(self.runner, *arguments)


def every(callback: Any) -> int:
    """After how many epochs it is called."""
    return getattr(callback, "called_every", 1)


def reads_only_histories(callback: Any) -> bool:
    """Whether its own class says so, not one above it."""
    return bool(type(callback).__dict__.get("reads_only_histories"))


def only_looks(callback: Any) -> bool:
    """Whether it changes nothing that an epoch computes with, as those of this house."""
    return of_house(callback) or reads_only_histories(callback)


def of_house(callback: Any) -> bool:
    return type(callback).__module__.startswith("runners.")
