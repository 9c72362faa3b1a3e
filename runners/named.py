"""Nets and optimizers by name: what a user says in words, as opnet's ops."""

from collections.abc import Iterable, Mapping
from functools import partial
from itertools import pairwise
from typing import Any

import torch

import opnet
from opnet.linear import glorot

ACTIVATIONS = {
    "elu": opnet.ELU,
    "gelu": opnet.GELU,
    "leaky_relu": opnet.LeakyReLU,
    "logistic": opnet.Logistic,
    "relu": opnet.ReLU,
    "softplus": opnet.Softplus,
    "swish": opnet.Swish,
    "tanh": opnet.Tanh,
}
OPTIMIZERS = {
    "adagrad": opnet.Adagrad,
    "adam": opnet.Adam,
    "momentum": opnet.Momentum,
    "rmsprop": opnet.RMSprop,
    "sgd": opnet.BatchGD,
}


def net(
    sizes: Iterable[int],
    activation: str,
    head: opnet.Op | None = None,
    *,
    generator: torch.Generator | None = None,
    device: str | torch.device | None = None,
    dtype: torch.dtype | None = None,
) -> opnet.Sequential:
    """Linear ops between layers of these sizes, the inputs first, and activations between them.

    The weights are Glorot's, the biases 0; `head` comes last.
    """
    act, draw = by_name("activation", activation, ACTIVATIONS), partial(glorot, generator=generator)
    layers: list[opnet.Op] = []
    for inputs, outputs in pairwise(sizes):
        layers += [opnet.Linear(inputs, outputs, None, draw, device=device, dtype=dtype), act()]
    return opnet.Sequential(*layers[:-1], *([head] if head else []))


def optimizer(name: str, lr: float, model: Any, **options: Any) -> opnet.Optimizer:
    """The optimizer of that name. TypeError for an option that it does not take."""
    made: opnet.Optimizer = by_name("optimizer", name, OPTIMIZERS)(lr, model, **options)
    return made


def by_name(what: str, name: str, table: Mapping[str, Any]) -> Any:
    """ValueError for a name that is not in the table."""
    if not isinstance(name, str) or name not in table:
        raise ValueError(f"{what} is {name!r}, wanted one of {', '.join(table)}")
    return table[name]
