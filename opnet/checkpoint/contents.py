"""What of a model and its optimizer is kept, by name."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..arrays import STORAGES
from ..errors import plain
from ..tensors import kind_of
from ..walk import dict_of, named_ops

Layers = dict[str, dict[str, Tensor]]
DTYPES = set(STORAGES.values())
PLAIN = "a dense tensor that holds real numbers of a common dtype"
Memory = dict[str, Tensor]  # what an optimizer keeps: {"<layer>.<key>.<name>": tensor}


def layers_of(model: Any) -> Layers:
    """{layer name: {key: tensor}} of params and buffers; the tensors are the model's own.

    TypeError for what no file of a layer could hold.
    """
    ops = named_ops(model).items()
    layers = {name: dict_of(op, "params") | dict_of(op, "buffers") for name, op in ops}
    for name, tensors in layers.items():
        _check(name, tensors)
    return {name: tensors for name, tensors in layers.items() if tensors}


def _check(who: str, tensors: Mapping[Any, Any]) -> None:
    """TypeError unless all are tensors by name, that can be written and read into again."""
    for key, tensor in tensors.items():
        if not isinstance(key, str):
            raise TypeError(f"{who}: a key of its tensors is {key!r:.80}, wanted a string")
        told = f"{who}: {plain(key)} is {kind_of(tensor)}"
        if not is_plain(tensor):
            raise TypeError(f"{told}, wanted {PLAIN}")
        if any(step == 0 and n > 1 for n, step in zip(tensor.shape, tensor.stride(), strict=True)):
            raise TypeError(f"{told}, expanded: one value in many places; pass .contiguous()")


def is_plain(value: object) -> bool:
    """Whether it is a tensor that a file can hold and a load gives back."""
    if not isinstance(value, Tensor) or value.is_meta:
        return False
    return value.layout == torch.strided and value.dtype in DTYPES


def memory_of(optimizer: Any) -> Memory:
    """What `optimizer` keeps between steps, its own tensors; {} where that is nothing.

    It has `state_dict()` to give them and `load_state(state)` to go on from them, from {} anew.
    TypeError for what no file could hold.
    """
    if not (hasattr(optimizer, "state_dict") and hasattr(optimizer, "load_state")):
        return {}
    memory, who = optimizer.state_dict(), type(optimizer).__name__
    if not isinstance(memory, dict):
        came = type(memory).__name__
        raise TypeError(f"{who}: state_dict gives a {came}, wanted a dict of tensors")
    _check(who, memory)
    return memory


def non_finite(layers: Mapping[str, Mapping[str, Tensor]]) -> str:
    """The tensors that hold nan or infinite values, in one line; empty when there are none."""
    bad = [
        f"{plain(key)} of {name}"
        for name, tensors in layers.items()
        for key, tensor in tensors.items()
        if not tensor.isfinite().all()
    ]
    return f"nan or infinite values in {', '.join(bad)}" if bad else ""
