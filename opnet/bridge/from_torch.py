"""Modules of torch.nn as ops with the same rule; W of a Linear is transposed."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ..activations import (
    ELU,
    GELU,
    HardLogistic,
    HardTanh,
    LeakyReLU,
    Logistic,
    ReLU,
    Softplus,
    Swish,
    Tanh,
)
from ..dropout import Dropout
from ..linear import Linear
from ..normalisation import BatchNorm, LayerNorm, Normalisation
from ..op import Sequential
from ..softmax import LogSoftmax, Softmax
from ..walk import set_training

Rule = Callable[[Any, str | None], Any]  # module, name -> op


def from_module(module: nn.Module) -> Any:
    """The op that computes what a module does: y = x W + b with W = weight^T of an nn.Linear.

    For nn.Linear, the activations of torch that opnet has, Softmax and LogSoftmax over the last
    axis, Dropout, LayerNorm and BatchNorm1d, and nn.Sequential of them. Names given in an
    OrderedDict stay, "0", "1", ... do not. The op has copies of the weights, in their dtype and on
    their device, and is in training mode where the module is. TypeError for any other module, also
    a subclass, one with hooks, and a layer with weights in two places; ValueError for one whose
    settings opnet has no rule for.
    """
    return _converted(module, None)


def _converted(module: Any, name: str | None) -> Any:
    if isinstance(module, type):
        raise TypeError(f"from_module: came the class {module.__name__}, wanted a module of it")
    if (rule := RULES.get(type(module))) is None:
        known = ", ".join(sorted(kind.__name__ for kind in RULES))
        raise TypeError(f"from_module: no op for {type(module).__name__}, wanted one of {known}")
    if module._forward_hooks or module._forward_pre_hooks or module._backward_hooks:
        raise TypeError(f"from_module: {module} has hooks, which an op has not")
    op = rule(module, name)
    set_training([op], module.training)
    return op


def _sequential(module: nn.Sequential, name: str | None) -> Sequential:
    named = module.named_modules(remove_duplicate=False)
    held = [id(child) for _, child in named if list(child.parameters(recurse=False))]
    if len(set(held)) < len(held):
        raise TypeError("from_module: a layer with weights stands in two places, wanted one each")
    layers = [
        _converted(child, None if key.isdecimal() else key)
        for key, child in module._modules.items()  # children() leaves out one in a second place
    ]
    made = Sequential(*layers)
    if name:
        made.name = name
    return made


def _linear(module: nn.Linear, name: str | None) -> Linear:
    weight, bias = module.weight.detach().T, module.bias
    return Linear(
        module.in_features,
        module.out_features,
        name,
        weight_init=lambda shape: weight,
        bias_init=None if bias is None else lambda shape: bias.detach()[None],
    )


def _normalisation(op: Normalisation, module: Any) -> Normalisation:
    theirs = {"W": module.weight, "b": module.bias}
    theirs |= {key: getattr(module, key) for key in op.buffers}
    for key, tensor in theirs.items():
        if tensor is None:
            raise ValueError(f"from_module: {module} has no {key}, which the op learns or keeps")
        (op.params if key in op.params else op.buffers)[key].copy_(tensor.detach()[None])
    return op


def _layer_norm(module: nn.LayerNorm, name: str | None) -> Normalisation:
    if len(module.normalized_shape) != 1:
        raise ValueError(f"from_module: {module} is over several axes, wanted the last one")
    where = _where(module)
    return _normalisation(
        LayerNorm(module.normalized_shape[0], name, eps=module.eps, **where), module
    )


def _batch_norm(module: nn.BatchNorm1d, name: str | None) -> Normalisation:
    if module.momentum is None:
        raise ValueError(f"from_module: {module} averages over all time, wanted a momentum")
    where = {"eps": module.eps, "momentum": module.momentum, **_where(module)}
    return _normalisation(BatchNorm(module.num_features, name, **where), module)


def _where(module: nn.Module) -> dict[str, Any]:
    tensors: list[Tensor] = [*module.parameters(), torch.empty(0)]
    return {"device": tensors[0].device, "dtype": tensors[0].dtype}


def _only(fits: Callable[[Any], bool], wanted: str, rule: Rule) -> Rule:
    """A rule for the modules that fit, and for no others of their class."""

    def checked(module: Any, name: str | None) -> Any:
        if not fits(module):
            raise ValueError(f"from_module: {module}, wanted {wanted}")
        return rule(module, name)

    return checked


_LAST = (lambda module: module.dim == -1, "dim=-1, the last axis")
RULES: dict[type[nn.Module], Rule] = {
    nn.Sequential: _sequential,
    nn.Linear: _linear,
    nn.LayerNorm: _layer_norm,
    nn.BatchNorm1d: _batch_norm,
    nn.Dropout: lambda module, name: Dropout(module.p, name),
    nn.Sigmoid: lambda module, name: Logistic(name),
    nn.Tanh: lambda module, name: Tanh(name),
    nn.ReLU: lambda module, name: ReLU(name),
    nn.LeakyReLU: lambda module, name: LeakyReLU(module.negative_slope, name),
    nn.ELU: lambda module, name: ELU(module.alpha, name),
    nn.SiLU: lambda module, name: Swish(1.0, name),
    nn.Hardsigmoid: lambda module, name: HardLogistic(1 / 6, 0.5, name),
    nn.Hardtanh: _only(
        lambda module: (module.min_val, module.max_val) == (-1, 1),
        "min_val=-1 and max_val=1",
        lambda module, name: HardTanh(name),
    ),
    nn.Softplus: _only(
        lambda module: (module.beta, module.threshold) == (1, 20),
        "beta=1 and threshold=20",
        lambda module, name: Softplus(name),
    ),
    nn.GELU: _only(
        lambda module: module.approximate == "none",
        "approximate='none'",
        lambda module, name: GELU(name),
    ),
    nn.Softmax: _only(*_LAST, lambda module, name: Softmax(name)),
    nn.LogSoftmax: _only(*_LAST, lambda module, name: LogSoftmax(name)),
}
