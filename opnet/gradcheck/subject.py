"""What is checked, on a float64 copy: an op, a model, or a loss with its labels, as one thing."""

import copy
import functools
import inspect
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..op import forward_of
from ..walk import (
    attributes,
    dict_of,
    every_part,
    given_name,
    leaf_ops,
    named_ops,
    set_training,
)
from .copies import copy_of, reachable

SOURCES = (torch.Generator, np.random.Generator, np.random.RandomState, random.Random)
SEED = 20  # of the replay: every forward starts from it, so that a random op is one function


class Subject:
    """A float64 copy of `op`, called so that nothing that it does reaches the original.

    `forward(x)` replays the same random numbers each time. `params` are the tensors by label, `W`
    for a single op and `fc1.W` in a model; `labels` make the op a loss, whose outputs are 0-d.
    """

    def __init__(self, op: Any, labels: Tensor | None = None, *, wide: bool = True) -> None:
        self.op = copy_of(op, wide=wide)
        self.labels = None if labels is None else labels.clone()
        self.model = getattr(self.op, "model", None) if is_loss(op) else None
        self.received: Tensor | None = None
        self.handed: dict[str, Tensor] = {}  # to a loss, in its last forward
        self.before: dict[str, Tensor] = {}  # and what stood in it then
        self._sources = [_source(part) for part in reachable(self.op) if isinstance(part, SOURCES)]
        self._buffers = [
            (tensor, tensor.clone())
            for root in self._roots()
            for leaf in leaf_ops(root)
            for tensor in dict_of(leaf, "buffers").values()
        ]
        if labels is not None:
            self._listen()

    def _roots(self) -> list[Any]:
        return [self.op] if self.model is None else [self.op, self.model]

    def _listen(self) -> None:
        """Let the loss's backward leave dL/d inputs where it can be read."""
        if self.model is None:
            self.op.model = _Ear(functools.partial(setattr, self, "received"))
        else:
            walk = self.model.backward

            def heard(grads: Tensor) -> Any:
                self.received = walk(grads)
                return self.received

            self.model.backward = heard

    @property
    def params(self) -> dict[str, Tensor]:
        return {label: owner[key] for label, owner, key in self._slots("params")}

    @property
    def grads(self) -> dict[str, Any]:
        """What stands in `grads` for each param; None where nothing does."""
        found = {}
        for prefix, op in self._holders():
            grads = dict_of(op, "grads")
            for key in dict_of(op, "params"):
                found[prefix + key] = grads.get(key)
        return found

    def rebind(self, label: str, tensor: Tensor) -> None:
        for slot, owner, key in self._slots("params"):
            if slot == label:
                owner[key] = tensor

    def _slots(self, kind: str) -> Iterator[tuple[str, dict[str, Tensor], str]]:
        for prefix, op in self._holders():
            owner = dict_of(op, kind)
            for key in owner:
                yield prefix + key, owner, key

    def _holders(self) -> Iterator[tuple[str, Any]]:
        """Every op with the start of its params' labels: in `layers` first, then elsewhere."""
        known: set[int] = set()
        for root in self._roots():
            for name, op in named_ops(root).items():
                known.add(id(op))
                yield ("" if op is root else f"{name}."), op
        taken: set[str] = set()
        for root in self._roots():
            names = {id(value): name for name, value in attributes(root).items()}
            for position, op in enumerate(every_part(root)):
                if id(op) not in known and dict_of(op, "params"):
                    known.add(id(op))
                    name = given_name(op) or names.get(id(op)) or f"{type(op).__name__}_{position}"
                    name = f"{name}_{position}" if name in taken else name
                    taken.add(name)
                    yield ("" if op is root else f"{name}."), op

    def forward(self, x: Tensor) -> Tensor:
        """The outputs, in memory of their own: an op may use its own again."""
        with torch.no_grad():
            self.rewind()
            outputs = self.plain_forward(x)
            return outputs.clone() if isinstance(outputs, Tensor) else outputs

    def rewind(self) -> None:
        """Random numbers and buffers as they were before the first forward."""
        rewind()
        for start_again in self._sources:
            start_again()
        for tensor, before in self._buffers:
            tensor.copy_(before)

    def plain_forward(self, x: Tensor) -> Tensor:
        if self.labels is None:
            return forward_of(self.op)(x)
        predicts, labels = self.predicts(x), self.labels.clone()
        self.handed = {"predictions": predicts, "labels": labels}
        self.before = {what: tensor.clone() for what, tensor in self.handed.items()}
        loss = forward_of(self.op)(predicts, labels)
        return torch.as_tensor(loss, dtype=torch.float64).reshape(())

    def predicts(self, x: Tensor) -> Tensor:
        """What the loss is handed for x: its model's outputs, or x where it has none."""
        return x if self.model is None else forward_of(self.model)(x)

    def backward(self, grads: Tensor) -> Any:
        with torch.no_grad():
            if self.labels is None:
                return self.op.backward(grads)
            self.received = None
            returned = self.op.backward()
            return returned if self.received is None else self.received

    def set_training(self, training: bool) -> None:
        for root in self._roots():
            set_training(every_part(root), training)


class _Ear:
    """A model that only hears what a loss sends back."""

    def __init__(self, hear: Callable[[Tensor], None]) -> None:
        self.hear = hear

    def backward(self, grads: Tensor) -> Tensor:
        self.hear(grads)
        return grads


def is_loss(op: Any) -> bool:
    """Whether forward takes predictions and labels."""
    needed = [
        p
        for p in inspect.signature(forward_of(op)).parameters.values()
        if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    return len(needed) >= 2


@contextmanager
def own_randomness() -> Iterator[None]:
    """What is drawn inside is drawn from a fixed start; the global sources go on as they were."""
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()
    try:
        rewind()
        yield
    finally:
        torch.set_rng_state(before[0])
        random.setstate(before[1])
        np.random.set_state(before[2])


def rewind() -> None:
    """Put every global source of random numbers at its fixed start."""
    torch.set_rng_state(_torch_start())
    random.setstate(_PYTHON_START)
    np.random.seed(SEED)


@functools.cache
def _torch_start() -> Tensor:
    return torch.Generator().manual_seed(SEED).get_state()


_PYTHON_START = random.Random(SEED).getstate()


def _source(generator: Any) -> Callable[[], Any]:
    """What puts a generator that an op holds back at where it is now."""
    if isinstance(generator, torch.Generator):
        return functools.partial(generator.set_state, generator.get_state())
    if isinstance(generator, np.random.RandomState):
        return functools.partial(generator.set_state, generator.get_state())
    if isinstance(generator, random.Random):
        return functools.partial(generator.setstate, generator.getstate())
    state = copy.deepcopy(generator.bit_generator.state)
    return functools.partial(setattr, generator.bit_generator, "state", state)
