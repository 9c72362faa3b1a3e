"""A run that goes on where it was stopped, to the last bit: all that the next epoch depends on.

Kept between epochs, so that the order of the next batches is still in their generator. What is
not kept: tensors that a learner's op or callback holds outside of params and buffers.
"""

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

from .best import Kept, Snapshot, set_weights
from .told import differences, told

ABOUT = {"epochs_done": int, "ended": bool, "epochs_before": int}
ABOUT |= {"kept_epoch": list, "settings": dict, "environment": dict}
RANDOM = "random."
HISTORIES = ("train_scores", "train_loss", "dev_scores", "dev_loss")

_log = logging.getLogger(__name__)


class Resumable:
    """The state of a `Run` below `directory`, put there every `every` epochs.

    `made_of` are arguments of `train` that another run must share to go on from it, as it must
    model, optimizer, loss, metric and data. Besides tensors the state has the numbers that these,
    schedule and callbacks keep as attributes, and the state of every generator.
    """

    def __init__(
        self,
        run: Any,
        directory: Path,
        every: int,
        made_of: dict[str, Any],
        generator: torch.Generator | None,
    ) -> None:
        _check_keeps(run.runner.optimizer)
        self.run, self.directory, self.every = run, directory, every
        self.saved: tuple[int, bool] | None = None  # epochs done, and whether that was the end
        runner = run.runner
        self.settings = told_of(runner, run.callbacks) | {k: told(v) for k, v in made_of.items()}
        self.settings["data"] = told([run.train_set, run.dev_set])
        self.holders: dict[str, Any] = {
            **{f"op {name}": op for name, op in named_ops(runner.model).items()},
            **{f"callback {i}": callback for i, callback in enumerate(run.callbacks)},
            "optimizer": runner.optimizer,
            "loss_fn": runner.loss_fn,
            "schedule": run.schedule,
            "batches": {"generator": generator},
        }

    def save(self, epochs_done: int, *, ended: bool = False) -> None:
        if self.saved == (epochs_done, ended):
            return
        run = self.run
        about = {
            "epochs_done": epochs_done,
            "ended": ended,
            "epochs_before": run.epochs_before,
            "kept_epoch": [run.best.kept.epoch, run.runner.kept_epoch],
            "save_every": self.every,
            "settings": self.settings,
            "environment": environment(_device(run.runner.model)),
        }
        checkpoint.save_state(self.directory, RunState(self._tensors(), about))
        self.saved = epochs_done, ended

    def _tensors(self) -> dict[str, Tensor]:
        run, kept = self.run, self.run.best.kept
        return {
            **_flat("last", run.best.snapshot()),
            **_flat("kept", kept.snapshot),
            "kept.numbers": torch.tensor([kept.score, kept.loss], dtype=torch.float64),
            **{f"history.{name}": _as_tensor(getattr(run.runner, name)) for name in HISTORIES},
            **{f"{RANDOM}{name}": state for name, state in self._random().items()},
            **{
                f"held.{name}.{key}": _as_tensor(value)
                for name, held in self._held()
                for key, value in held.items()
                if _is_number(value) or _is_row(value)
            },
        }

    def begin(self, resume: bool) -> None:
        """Go on from what was saved if `resume`, else from the first epoch, and save that."""
        found = checkpoint.read_state(self.directory)
        who = self.directory / checkpoint.RESUME
        if found and not _is_whole(found):
            raise CheckpointError(f"{who}: is no state of a run")
        if resume and found:
            self._check(found)
            self._restore(found)
        elif found and not found.about["ended"]:
            done = f"holds a run of {found.about['epochs_done']} epochs that can go on"
            raise CheckpointError(f"{who}: {done}: pass resume=True, or delete the directory")
        else:
            if resume:
                _log.info("%s: holds nothing to resume, starts anew", who)
            self.save(0)

    def _check(self, found: RunState) -> None:
        """CheckpointError unless the run found is this one, and not longer."""
        num_epochs = self.run.log.num_epochs
        who, done = self.directory / checkpoint.RESUME, found.about["epochs_done"]
        if other := list(differences(found.about["settings"], self.settings)):
            raise CheckpointError(f"{who}: is of another run: {'; '.join(other)}")
        if done > num_epochs:
            raise CheckpointError(f"{who}: has {done} epochs already, num_epochs is {num_epochs}")
        if unfit := misfits(_fixed(found.tensors), _fixed(self._tensors()), "run"):
            raise CheckpointError(f"{who}: {'; '.join(unfit)}")
        now = environment(_device(self.run.runner.model))
        if changed := list(differences(found.about["environment"], now)):
            _log.warning("%s: %s: the last bits may differ", who, "; ".join(changed))

    def _restore(self, found: RunState) -> None:
        """Put the state back, in model, optimizer, histories, generators and the run."""
        run, runner, tensors, about = self.run, self.run.runner, found.tensors, found.about
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
        runner.stop = any(getattr(c, "stopped_epoch", None) is not None for c in run.callbacks)
        self.saved = about["epochs_done"], about["ended"]

    def _random(self) -> dict[str, Tensor]:
        """The state of every generator that the run draws from, the global ones too."""
        states = {"torch": torch.get_rng_state()}
        if _device(self.run.runner.model).type == "cuda":
            states["cuda"] = torch.cuda.get_rng_state(_device(self.run.runner.model))
        return states | {name: generator.get_state() for name, generator in self._generators()}

    def _set_random(self, states: dict[str, Tensor]) -> None:
        torch.set_rng_state(states["torch"])
        if "cuda" in states:
            torch.cuda.set_rng_state(states["cuda"], _device(self.run.runner.model))
        for name, generator in self._generators():
            generator.set_state(states[name])

    def _generators(self) -> Iterator[tuple[str, torch.Generator]]:
        for name, held in self._held():
            for key, value in held.items():
                if isinstance(value, torch.Generator):
                    yield f"{name}.{key}", value

    def _held(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """The attributes of each holder, by its name; a schedule may hold another."""
        todo = list(self.holders.items())
        for name, holder in todo:
            holder = getattr(holder, "__self__", holder)  # a method keeps there
            held = holder if isinstance(holder, dict) else attributes(holder)
            yield name, held
            if callable(holder) and "schedule" in held:
                todo.append((f"{name}.schedule", held["schedule"]))


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


def _flat(name: str, snapshot: Snapshot) -> dict[str, Tensor]:
    weights = {f"{name}.weight.{i}": tensor for i, tensor in enumerate(snapshot.weights)}
    return weights | {f"{name}.memory.{key}": tensor for key, tensor in snapshot.memory.items()}


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Those whose names go on after the prefix by one more part, under that part."""
    names = {name.removeprefix(prefix): name for name in tensors if name.startswith(prefix)}
    return {key: tensors[name] for key, name in names.items() if prefix == RANDOM or "." not in key}


def _snapshot(name: str, tensors: dict[str, Tensor]) -> Snapshot:
    weights, memory = f"{name}.weight.", f"{name}.memory."
    return Snapshot(
        [tensor for key, tensor in tensors.items() if key.startswith(weights)],
        {key.removeprefix(memory): t for key, t in tensors.items() if key.startswith(memory)},
    )


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
