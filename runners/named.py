"""Nets and optimizers by name: what a user says in words, as opnet's ops.

The names are there before torch is: a command line shows them.
"""

from collections.abc import Iterable, Mapping
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import opnet

if TYPE_CHECKING:
    import torch

    from opnet.losses import Loss

ACTIVATIONS = {
    "elu": "ELU",
    "gelu": "GELU",
    "leaky_relu": "LeakyReLU",
    "logistic": "Logistic",
    "relu": "ReLU",
    "softplus": "Softplus",
    "swish": "Swish",
    "tanh": "Tanh",
}
OPTIMIZERS = {
    "adagrad": "Adagrad",
    "adam": "Adam",
    "momentum": "Momentum",
    "rmsprop": "RMSprop",
    "sgd": "BatchGD",
}


def net(
    sizes: Iterable[int],
    activation: str,
    head: "opnet.Op | None" = None,
    *,
    generator: "torch.Generator | None" = None,
    device: "str | torch.device | None" = None,
    dtype: "torch.dtype | None" = None,
) -> "opnet.Sequential":
    """Linear ops between layers of these sizes, the inputs first, and activations between them.

    The weights are Glorot's, the biases 0; `head` comes last.
    """
    from opnet.linear import glorot

    act, draw = by_name("activation", activation, ACTIVATIONS), partial(glorot, generator=generator)
    layers: list[opnet.Op] = []
    for inputs, outputs in pairwise(sizes):
        layers += [opnet.Linear(inputs, outputs, None, draw, device=device, dtype=dtype), act()]
    return opnet.Sequential(*layers[:-1], *([head] if head else []))


def optimizer(name: str, lr: float, model: Any, **options: Any) -> "opnet.Optimizer":
    """The optimizer of that name. TypeError for an option that it does not take."""
    made: opnet.Optimizer = by_name("optimizer", name, OPTIMIZERS)(lr, model, **options)
    return made


def judges(model: Any) -> "tuple[Loss, Any]":
    """Loss and metric by the op that the net ends in: a Logistic, a Softmax, or none of the two."""
    from opnet.metrics import accuracy, negative_squared_error
    from opnet.walk import last_op

    head = last_op(model)
    if isinstance(head, opnet.Logistic):
        return opnet.BinaryCrossEntropyLoss(model), accuracy
    if isinstance(head, opnet.Softmax):
        return opnet.CrossEntropyLoss(model), accuracy
    return opnet.MeanSquaredErrorLoss(model), negative_squared_error


def by_name(what: str, name: str, table: Mapping[str, str]) -> Any:
    """opnet's class for a name. ValueError for one that is not in the table."""
    if not isinstance(name, str) or name not in table:
        raise ValueError(f"{what} is {name!r}, wanted one of {', '.join(table)}")
    return getattr(opnet, table[name])
