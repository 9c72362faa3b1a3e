"""A run that goes on where it was stopped, to the last bit: all that the next epoch depends on.

Kept between epochs, so that the order of the next batches is still in their generator. What is
not kept: tensors that a learner's op or callback holds outside of params and buffers.
"""

import copy
import logging
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
from opnet.walk import attributes, named_ops, state

from .best import Kept
from .snapshots import Snapshot, set_weights, snapshot
from .told import differences, told

ABOUT = {"epochs_done": int, "ended": bool, "epochs_before": int}
ABOUT |= {"kept_epoch": list, "settings": dict, "environment": dict}
RANDOM, CALLBACK = "random.", "callback "
HISTORIES = ("train_scores", "train_loss", "dev_scores", "dev_loss")

_log = logging.getLogger(__name__)


class Resumable:
    """The state of a training below `directory`, put there every `every` epochs.

    `made_of` are what another one must share to go on from it, as it must model, optimizer, loss
    and metric: data and arguments of `train`. Besides tensors the state has the numbers that these,
    the schedule and the callbacks keep as attributes, and the state of every generator.
    """

    def __init__(
        self,
        runner: Any,
        callbacks: list[Any],
        schedule: Any,
        generator: torch.Generator | None,
        made_of: dict[str, Any],
        directory: Path,
        every: int,
    ) -> None:
        _check_keeps(runner.optimizer)
        self.runner, self.callbacks = runner, callbacks
        self.directory, self.every = directory, every
        self.found: RunState | None = None  # what the run goes on from
        self.saved: tuple[int, bool] | None = None  # epochs done, and whether that was the end
        self.as_given: dict[str, Any] = {}  # the numbers of the callbacks when the epochs begin
        made_of = made_of | {"schedule": schedule}
        self.settings = told_of(runner, callbacks) | {k: told(v) for k, v in made_of.items()}
        self.holders: dict[str, Any] = {
            **{f"op {name}": op for name, op in named_ops(runner.model).items()},
            **_by_class(CALLBACK, callbacks),
            "optimizer": runner.optimizer,
            "loss_fn": runner.loss_fn,
            "schedule": schedule,
            "batches": {"generator": generator},
        }

    def save(self, run: Any, epochs_done: int, *, ended: bool = False) -> None:
        if self.saved == (epochs_done, ended):
            return
        about = {
            "epochs_done": epochs_done,
            "ended": ended,
            "epochs_before": run.epochs_before,
            "kept_epoch": [run.best.kept.epoch, self.runner.kept_epoch],
            "save_every": self.every,
            "settings": self.settings,
            "environment": environment(_device(self.runner.model)),
        }
        checkpoint.save_state(self.directory, RunState(self._tensors(run.best.kept), about))
        self.saved = epochs_done, ended

    def _tensors(self, kept: Kept) -> dict[str, Tensor]:
        return {
            **_flat("last", snapshot(self.runner.model, self.runner.optimizer)),
            **_flat("kept", kept.snapshot),
            "kept.numbers": torch.tensor([kept.score, kept.loss], dtype=torch.float64),
            **{f"history.{name}": _as_tensor(getattr(self.runner, name)) for name in HISTORIES},
            **{f"{RANDOM}{name}": state for name, state in self._random().items()},
            **{f"held.{name}": _as_tensor(value) for name, value in self._numbers().items()},
        }

    def look(self, resume: bool, num_epochs: int) -> None:
        """Read what was saved, which changes nothing. CheckpointError if it is in the way."""
        found = checkpoint.read_state(self.directory)
        who = self.directory / checkpoint.RESUME
        if found and not _is_whole(found):
            raise CheckpointError(f"{who}: is no state of a run")
        if resume and found:
            self._check(found, num_epochs)
            self.found = found
        elif found and not found.about["ended"]:
            done = f"holds a run of {found.about['epochs_done']} epochs that can go on"
            raise CheckpointError(f"{who}: {done}: pass resume=True, or delete the directory")
        elif resume:
            _log.info("%s: holds nothing to resume, starts anew", who)

    def begin(self, run: Any) -> None:
        """Go on from what was found, or save the state before the first epoch."""
        numbers = self._numbers().items()
        self.as_given = {name: value for name, value in numbers if name.startswith(CALLBACK)}
        if self.found:
            self._restore(run, self.found)
        else:
            self.save(run, 0)

    def _check(self, found: RunState, num_epochs: int) -> None:
        """CheckpointError unless the run found is this one, and not longer."""
        who, done = self.directory / checkpoint.RESUME, found.about["epochs_done"]
        if other := list(differences(found.about["settings"], self.settings)):
            raise CheckpointError(f"{who}: is of another run: {'; '.join(other)}")
        if done > num_epochs:
            raise CheckpointError(f"{who}: has {done} epochs already, num_epochs is {num_epochs}")
        start = Kept(None, 0.0, 0.0, snapshot(self.runner.model, self.runner.optimizer))
        if unfit := misfits(_fixed(found.tensors), _fixed(self._tensors(start)), "run"):
            raise CheckpointError(f"{who}: {'; '.join(unfit)}")
        now = environment(_device(self.runner.model))
        if changed := list(differences(found.about["environment"], now)):
            _log.warning("%s: %s: the last bits may differ", who, "; ".join(changed))

    def _restore(self, run: Any, found: RunState) -> None:
        """Put the state back, in model, optimizer, histories, generators and the run."""
        runner, tensors, about = self.runner, found.tensors, found.about
        last, kept = _snapshot("last", tensors), _snapshot("kept", tensors)
        set_weights(runner.model, last)
        if last.memory:
            runner.optimizer.load_state(last.memory)
        for name in HISTORIES:
            getattr(runner, name)[:] = tensors[f"history.{name}"].tolist()
        for name, held in self._held():
            held |= {key: value.tolist() for key, value in _below(f"held.{name}.", tensors).items()}
        self._set_random(_below(RANDOM, tensors))
        epoch, runner.kept_epoch = about["kept_epoch"]
        score, loss = tensors["kept.numbers"].tolist()
        run.go_on(Kept(epoch, score, loss, kept), about["epochs_done"], about["epochs_before"])
        runner.stop = any(getattr(c, "stopped_epoch", None) is not None for c in self.callbacks)
        self.saved = about["epochs_done"], about["ended"]

    def _random(self) -> dict[str, Tensor]:
        """The state of every generator that the run draws from, the global ones too."""
        states = {"torch": torch.get_rng_state()}
        if _device(self.runner.model).type == "cuda":
            states["cuda"] = torch.cuda.get_rng_state(_device(self.runner.model))
        return states | {name: generator.get_state() for name, generator in self._generators()}

    def _set_random(self, states: dict[str, Tensor]) -> None:
        torch.set_rng_state(states["torch"])
        if "cuda" in states:
            torch.cuda.set_rng_state(states["cuda"], _device(self.runner.model))
        for name, generator in self._generators():
            generator.set_state(states[name])

    def _generators(self) -> Iterator[tuple[str, torch.Generator]]:
        for name, held in self._held():
            for key, value in held.items():
                if isinstance(value, torch.Generator):
                    yield f"{name}.{key}", value

    def _numbers(self) -> dict[str, Any]:
        """What the holders count; of a callback what it has changed, the rest is for its caller."""
        numbers = {
            f"{name}.{key}": copy.copy(value)
            for name, held in self._held()
            for key, value in held.items()
            if _is_number(value) or _is_row(value)
        }
        given = self.as_given
        return {n: v for n, v in numbers.items() if not (n in given and given[n] == v)}

    def _held(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """The attributes of each holder, by its name; a schedule may hold another."""
        todo = list(self.holders.items())
        for name, holder in todo:
            holder = getattr(holder, "__self__", holder)  # a method keeps there
            held = holder if isinstance(holder, dict) else attributes(holder)
            yield name, held
            if callable(holder) and "schedule" in held:
                todo.append((f"{name}.schedule", held["schedule"]))


def _by_class(prefix: str, things: list[Any]) -> dict[str, Any]:
    """Each under its class and its place among those of that class: others may come and go."""
    classes = [type(thing).__name__ for thing in things]
    names = [f"{prefix}{name} {classes[:place].count(name)}" for place, name in enumerate(classes)]
    return dict(zip(names, things, strict=True))


def _check_keeps(optimizer: Any) -> None:
    """TypeError for one that keeps tensors, or may, and has no way to give and take them."""
    if hasattr(optimizer, "state_dict") and hasattr(optimizer, "load_state"):
        return
    for key, value in attributes(optimizer).items():
        if key != "model" and isinstance(value, (dict, list, Tensor)):
            who, wanted = type(optimizer).__name__, "state_dict() and load_state(state)"
            raise TypeError(f"train: save_every: {who} keeps {key!r} and has no {wanted}")


def _is_whole(found: RunState) -> bool:
    """Whether `about` and the histories are such as `save` writes: sums alone do not tell."""
    if any(type(found.about.get(key)) is not kind for key, kind in ABOUT.items()):
        return False
    lengths = {tuple(found.tensors.get(f"history.{n}", torch.tensor(0)).shape) for n in HISTORIES}
    about = found.about
    epochs = (about["epochs_before"] + about["epochs_done"],)
    return lengths == {epochs} and len(about["kept_epoch"]) == 2


def _fixed(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Those that every state of a run has, in one shape."""
    grow = ("held.", "history.")
    return {name: tensor for name, tensor in tensors.items() if not name.startswith(grow)}


def told_of(runner: Any, callbacks: list[Any]) -> dict[str, Any]:
    """The parts of a runner in plain values; of the callbacks those that can end a run."""
    parts = {key: told(getattr(runner, key)) for key in ("model", "optimizer", "loss_fn", "metric")}
    own = [callback for callback in callbacks if type(callback).__module__.startswith("runners.")]
    ops = {name: told(op) for name, op in named_ops(runner.model).items()}
    return parts | {"ops": ops, "callbacks": told(own)}


def _flat(name: str, taken: Snapshot) -> dict[str, Tensor]:
    weights = {f"{name}.weight.{i}": tensor for i, tensor in enumerate(taken.weights)}
    return weights | {f"{name}.memory.{key}": tensor for key, tensor in taken.memory.items()}


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Those whose names go on after the prefix by one more part, under that part."""
    names = {name.removeprefix(prefix): name for name in tensors if name.startswith(prefix)}
    return {key: tensors[name] for key, name in names.items() if prefix == RANDOM or "." not in key}


def _snapshot(name: str, tensors: dict[str, Tensor]) -> Snapshot:
    weight, memory = f"{name}.weight.", f"{name}.memory."
    weights = [tensor for key, tensor in tensors.items() if key.startswith(weight)]
    kept = {key.removeprefix(memory): t for key, t in tensors.items() if key.startswith(memory)}
    return Snapshot(lambda: (weights, kept))


def _as_tensor(value: Any) -> Tensor:
    """A number or a list of such; floats as they are in Python, to the last bit."""
    whole = all(isinstance(v, (bool, int)) for v in (value if isinstance(value, list) else [value]))
    return torch.tensor(value) if whole else torch.tensor(value, dtype=torch.float64)


def _is_number(value: Any) -> bool:
    return isinstance(value, (bool, float)) or (isinstance(value, int) and abs(value) < 2**63)


def _is_row(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_is_number, value))


def _device(model: Any) -> torch.device:
    first = next(iter(state(model)), None)
    return torch.device("cpu") if first is None else first.device
