"""A run that goes on where it was stopped, to the last bit: all that the next epoch depends on.

Kept between epochs, so that the order of the next batches is still in their generator. What is
not kept: tensors that a learner's op or callback holds outside of params and buffers, and what
`held` does not look at.
"""

import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from opnet import checkpoint
from opnet.checkpoint import RunState
from opnet.environment import environment
from opnet.errors import CheckpointError
from opnet.tensors import misfits
from opnet.walk import named_ops, state

from . import held
from .best import Kept
from .calls import only_looks
from .layout import HELD, HISTORIES, RANDOM, below, fixed, flat, row, snapshot_of, text, values_of
from .snapshots import set_weights, snapshot
from .sound import check_keeps, is_whole, memory_faults, random_faults, takes_memory
from .told import differences, told

CALLBACK = "callback "
SECONDS_BETWEEN_SAVES = 10.0  # where nobody has said after how many epochs

_log = logging.getLogger(__name__)


class Resumable:
    """The state of a training below `directory`, put there every `every` epochs.

    None: as many as the state that is found says, or else every ten seconds. `made_of` are what
    another one must share to go on from it, as it must model, optimizer, loss and metric: data and
    arguments of `train`. Besides tensors the state has the plain values that these, the schedule
    and the callbacks keep, and the state of every generator.
    """

    def __init__(
        self,
        runner: Any,
        callbacks: list[Any],
        schedule: Any,
        generator: torch.Generator | None,
        made_of: dict[str, Any],
        directory: Path,
        every: int | None,
    ) -> None:
        check_keeps(runner.optimizer, runner.model)
        self.runner, self.callbacks = runner, _by_class(CALLBACK, callbacks)
        self.directory, self.every = directory, every
        self.found: RunState | None = None  # what the run goes on from
        self.saved: tuple[int, bool] | None = None  # epochs done, and whether that was the end
        self.saved_at = time.monotonic()
        self.as_given: held.Values = {}  # what the callbacks hold when the epochs begin
        made_of = made_of | {"schedule": schedule}
        self.settings = told_of(runner, callbacks) | {k: told(v) for k, v in made_of.items()}
        parts = {key: getattr(runner, key) for key in ("model", "optimizer", "loss_fn")}
        self.roots = parts | {"schedule": schedule, "batches": {"generator": generator}}
        self.roots |= self.callbacks

    def due(self, epochs_done: int) -> bool:
        if self.every is None:
            return time.monotonic() - self.saved_at >= SECONDS_BETWEEN_SAVES
        return epochs_done % self.every == 0

    def save(self, run: Any, epochs_done: int, *, ended: bool = False) -> None:
        if self.saved == (epochs_done, ended):
            return
        about = {
            "epochs_done": epochs_done,
            "ended": ended,
            "epochs_before": run.epochs_before,
            "kept_epoch": [run.best.kept.epoch, self.runner.kept_epoch],
            "stopped_with": [*self.callbacks] if self.runner.stop else [],
            "save_every": self.every,
            "settings": self.settings,
            "environment": environment(_device(self.runner.model)),
        }
        if self.runner.ranks.first:
            checkpoint.save_state(self.directory, RunState(self._tensors(run.best.kept), about))
        self.saved, self.saved_at = (epochs_done, ended), time.monotonic()

    def _tensors(self, kept: Kept) -> dict[str, Tensor]:
        return {
            **flat("last", snapshot(self.runner.model, self.runner.optimizer)),
            **flat("kept", kept.snapshot),
            "kept.numbers": torch.tensor([kept.score, kept.loss], dtype=torch.float64),
            **{f"history.{name}": row(getattr(self.runner, name)) for name in HISTORIES},
            **{f"{RANDOM}{name}": state for name, state in self._random().items()},
            HELD: text(self._values()),
        }

    def look(self, resume: bool, num_epochs: int) -> None:
        """Read what was saved, which changes nothing. CheckpointError if it is in the way."""
        found = checkpoint.read_state(self.directory)
        if found and not is_whole(found):
            raise CheckpointError(f"{_who(self.directory)}: is no state of a run")
        if not resume:
            check_free(self.directory)
        elif found:
            self._check(found, num_epochs)
            self.found = found
            self.every = self.every or found.about.get("save_every")
        else:
            _log.info("%s: holds nothing to resume, starts anew", _who(self.directory))

    def begin(self, run: Any) -> None:
        """Go on from what was found, or save the state before the first epoch."""
        self.as_given = held.values(self.callbacks)
        if self.found:
            self._restore(run, self.found)
        else:
            self.save(run, 0)

    def _check(self, found: RunState, num_epochs: int) -> None:
        """CheckpointError unless the run found is this one, and not longer."""
        who, done = _who(self.directory), found.about["epochs_done"]
        if other := list(differences(found.about["settings"], self.settings)):
            raise CheckpointError(f"{who}: is of another run: {'; '.join(other)}")
        if done > num_epochs:
            raise CheckpointError(f"{who}: has {done} epochs already, num_epochs is {num_epochs}")
        start = Kept(None, 0.0, 0.0, snapshot(self.runner.model, self.runner.optimizer))
        if unfit := misfits(fixed(found.tensors), fixed(self._tensors(start)), "run"):
            raise CheckpointError(f"{who}: {'; '.join(unfit)}")
        if faults := list(self._faults(found)):
            raise CheckpointError(f"{who}: {'; '.join(faults)}")
        now = environment(_device(self.runner.model))
        if changed := list(differences(found.about["environment"], now)):
            _log.warning("%s: %s: the last bits may differ", who, "; ".join(changed))

    def _faults(self, found: RunState) -> Iterator[str]:
        """All that would fail once the state is being put back."""
        yield from memory_faults(found, self.runner.optimizer, self.runner.model)
        yield from random_faults(found, self.roots, _device(self.runner.model))
        yield from held.unfit(values_of(found), self.roots, CALLBACK)

    def _restore(self, run: Any, found: RunState) -> None:
        """Put the state back, in model, optimizer, histories, generators and the run."""
        runner, tensors, about = self.runner, found.tensors, found.about
        last, kept = snapshot_of("last", tensors), snapshot_of("kept", tensors)
        set_weights(runner.model, last)
        if takes_memory(runner.optimizer):
            runner.optimizer.load_state(last.memory)
        for name in HISTORIES:
            getattr(runner, name)[:] = tensors[f"history.{name}"].tolist()
        held.put_back(values_of(found), self.roots)
        self._set_random(below(RANDOM, tensors))
        epoch, runner.kept_epoch = about["kept_epoch"]
        score, loss = tensors["kept.numbers"].tolist()
        run.go_on(Kept(epoch, score, loss, kept), about["epochs_done"], about["epochs_before"])
        callbacks = self.callbacks.values()
        runner.stop = any(getattr(c, "stopped_epoch", None) is not None for c in callbacks)
        if about["stopped_with"]:  # by one of them; with others it goes on
            runner.stop |= about["stopped_with"] == [*self.callbacks]
        self.saved = about["epochs_done"], about["ended"]

    def _random(self) -> dict[str, Tensor]:
        """The state of every generator that the run draws from, the global ones too."""
        states = {"torch": torch.get_rng_state()}
        if _device(self.runner.model).type == "cuda":
            states["cuda"] = torch.cuda.get_rng_state(_device(self.runner.model))
        return states | {name: g.get_state() for name, g in held.generators(self.roots)}

    def _set_random(self, states: dict[str, Tensor]) -> None:
        torch.set_rng_state(states["torch"])
        if "cuda" in states:
            torch.cuda.set_rng_state(states["cuda"], _device(self.runner.model))
        for name, generator in held.generators(self.roots):
            generator.set_state(states[name])

    def _values(self) -> held.Values:
        """What the parts hold; of a callback what it has changed, the rest is for its caller."""
        values = held.values(self.roots)
        for name, given in self.as_given.items():
            now = values.get(name, {})
            values[name] = {k: v for k, v in now.items() if k not in given or _differ(given[k], v)}
        return values


def check_free(directory: Path) -> None:
    """CheckpointError where a run is that can go on, and would be written over."""
    manifest = checkpoint.read_manifest(directory / checkpoint.RESUME, "to begin anew, delete it")
    if manifest and not manifest.about.get("ended"):
        done = f"holds a run of {manifest.about.get('epochs_done')} epochs that can go on"
        raise CheckpointError(
            f"{_who(directory)}: {done}: pass resume=True, or delete the directory"
        )


def _who(directory: Path) -> Path:
    return directory / checkpoint.RESUME


def _by_class(prefix: str, things: list[Any]) -> dict[str, Any]:
    """Each under its class and its place among those of that class: others may come and go."""
    classes = [type(thing).__name__ for thing in things]
    names = [f"{prefix}{name} {classes[:place].count(name)}" for place, name in enumerate(classes)]
    return dict(zip(names, things, strict=True))


def _differ(one: Any, other: Any) -> bool:
    return repr(one) != repr(other)  # 1 is not True here, and nan is nan


def told_of(runner: Any, callbacks: list[Any]) -> dict[str, Any]:
    """The parts of a runner in plain values; of the callbacks those that can end a run."""
    parts = {key: told(getattr(runner, key)) for key in ("model", "optimizer", "loss_fn", "metric")}
    own = [c for c in callbacks if only_looks(c) and hasattr(c, "stopped_epoch")]
    ops = {name: told(op) for name, op in named_ops(runner.model).items()}
    return parts | {"ops": ops, "callbacks": told(own)}


def _device(model: Any) -> torch.device:
    first = next(iter(state(model)), None)
    return torch.device("cpu") if first is None else first.device
