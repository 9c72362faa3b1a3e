"""Walking the ops of a model: their names, what they hold, what they remember. Knows no class.

An op is any object with `forward` and `backward`, a container any with `layers`; what an op never
set reads as absent.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from .errors import check_name


def every_op(model: Any) -> Iterator[Any]:
    """The model, its layers and theirs, containers before what they hold."""
    yield model
    for layer in getattr(model, "layers", ()):
        yield from every_op(layer)


def leaf_ops(model: Any) -> Iterator[Any]:
    """The ops that hold no other, in order: those with a rule of their own."""
    return (op for op in every_op(model) if not hasattr(op, "layers"))


def dict_of(op: Any, kind: str) -> dict[str, Tensor]:
    """`op.params`, `op.grads` or `op.buffers`; an op that has none or None has an empty one."""
    return getattr(op, kind, None) or {}


def state(model: Any) -> list[Tensor]:
    """Every tensor that a checkpoint would hold, in the order of the ops: params, then buffers."""
    return [
        tensor
        for op in leaf_ops(model)
        for kind in ("params", "buffers")
        for tensor in dict_of(op, kind).values()
    ]


def named_layers(model: Any) -> list[tuple[str, Any]]:
    """The layers by name: the given one, else the attribute that holds it, else class and position.

    ValueError for a given name that is no file name, or that two layers have, but for upper and
    lower case: on some disks that is one file.
    """
    who = type(model).__name__
    given = [given_name(layer) for layer in model.layers]
    taken: dict[str, int] = {}
    for position, name in enumerate(given):
        if name and taken.setdefault(check_name(f"{who}: name", name).lower(), position) < position:
            first = taken[name.lower()]
            raise ValueError(f"{who}: layers {first} and {position} are both named {name!r}")
    held_as = {id(value): key for key, value in attributes(model).items()}

    def found_name(position: int, layer: Any) -> str:
        name = held_as.get(id(layer)) or f"{type(layer).__name__}_{position}"
        while name.lower() in taken:  # only given names can clash
            name += "_"
        taken[name.lower()] = position
        return name

    return [(given[i] or found_name(i, layer), layer) for i, layer in enumerate(model.layers)]


def named_ops(model: Any) -> dict[str, Any]:
    """Every op that holds no other, by name; one in a nested container is called `container.op`."""
    ops: dict[str, Any] = {}
    for name, op in _named_leaves(model):
        if name in ops:
            raise ValueError(f"{type(model).__name__}: two ops are called {name!r}")
        ops[name] = op
    return ops


def _named_leaves(model: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if not hasattr(model, "layers"):
        yield prefix.removesuffix(".") or given_name(model) or type(model).__name__, model
        return
    for name, layer in named_layers(model):
        yield from _named_leaves(layer, f"{prefix}{name}.")


def last_op(model: Any) -> Any:
    """The op whose outputs are the model's."""
    while getattr(model, "layers", None):
        model = model.layers[-1]
    return model


def remembered(model: Any) -> list[int]:
    """The addresses of what every op remembers; another forward of any of them changes it."""
    held = (attributes(op).get(key) for op in every_op(model) for key in ("inputs", "outputs"))
    return [tensor.data_ptr() for tensor in held if isinstance(tensor, Tensor)]


def attributes(op: Any) -> dict[str, Any]:
    return getattr(op, "__dict__", {})


def given_name(op: Any) -> str | None:
    """The name that a constructor was given; not one that a container has found for the op."""
    return None if getattr(op, "named_by_container", False) else getattr(op, "name", None)


def set_training(model: Any, training: bool) -> Any:
    for op in every_op(model):
        op.training = training
    return model


@contextmanager
def untouched(*models: Any) -> Iterator[None]:
    """Run in eval mode without a graph; then put back all that the ops held, and the RNG."""
    before = [(op, dict(attributes(op))) for model in models for op in every_op(model)]
    devices = {tensor.device.index for model in models for tensor in state(model) if tensor.is_cuda}
    with torch.no_grad(), torch.random.fork_rng(devices=sorted(devices)):
        try:
            for model in models:
                set_training(model, False)
            yield
        finally:
            for op, held in before:
                attributes(op).clear()
                attributes(op).update(held)
