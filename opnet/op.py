"""Op: a forward rule with its derivative beside it. Sequential: such rules in a row.

Tensors are [..., N, features]: N rows, every axis before them is a batch axis. What a learner wrote
in the style of the book needs nothing from here: an op is any object with `forward` and `backward`,
a model any with `layers`.
"""

import functools
from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor

from .errors import check_name
from .tensors import described, pick_device
from .walk import dict_of, every_op, given_name, named_layers, set_training

_HALVES = ("backward_params", "backward_inputs")
_LIKENESS = ("shape", "dtype", "device")


def without_graph(rule: Callable[..., Any]) -> Callable[..., Any]:
    """Run `rule` without building an autograd graph; costs nothing where grad mode is off."""

    @functools.wraps(rule)
    def ungraphed(*args: Any) -> Any:
        if torch.is_grad_enabled():
            with torch.no_grad():
                return rule(*args)
        return rule(*args)

    return ungraphed


def _guarded(rule: Callable[..., Any]) -> Callable[..., Any]:
    """`rule` without a graph; it refuses a gradient that would broadcast, and a missing forward."""
    rule = without_graph(rule)

    @functools.wraps(rule)
    def guarded(self: "Op", *grads: Tensor) -> Any:
        outputs = vars(self).get("outputs")
        if grads and isinstance(outputs, Tensor):
            came, wanted = grads[0], outputs
            if came.shape != wanted.shape or came.dtype != wanted.dtype:
                raise ValueError(
                    f"{self}: upstream gradient is {described(came)}, wanted {described(wanted)}"
                )
        try:
            return rule(self, *grads)
        except (AttributeError, TypeError) as error:
            if outputs is None and vars(self).get("inputs") is None:
                raise RuntimeError(f"{self}: backward before forward") from error
            raise

    return guarded


class Op:
    """y = forward(x),  dL/dx = backward(dL/dy): a rule with its derivative beside it.

    `forward(inputs)` keeps `self.inputs` and `self.outputs` until the next forward, for the
    derivative and for whoever wants to look. `backward(grads)` takes dL/d outputs, writes
    `self.grads[key]` for each `self.params[key]` and returns dL/d inputs; its halves
    `backward_params` and `backward_inputs` can be called apart, in any order, more than once. A
    subclass writes `forward` and the halves (or one whole `backward`) as plain formulas: no graph
    is ever built in them, and an upstream gradient of another shape or dtype is a ValueError before
    they run. `buffers` holds what a checkpoint keeps and no optimizer walks.
    Source: NNDL 4.2, the operators of the practice.
    """

    name: str | None = None
    training = True
    params: dict[str, Tensor]
    grads: dict[str, Tensor]
    buffers: dict[str, Tensor]
    inputs: Tensor
    outputs: Tensor

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        op = super().__new__(cls)  # here, for subclasses whose __init__ does not call super's
        op.params, op.grads, op.buffers = {}, {}, {}
        return op

    def __init__(self, name: str | None = None) -> None:
        if name is not None:
            self.name = check_name(f"{type(self).__name__}: name", name)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for key in ("backward", *_HALVES):
            if key in vars(cls):
                setattr(cls, key, _guarded(vars(cls)[key]))

    def __repr__(self) -> str:
        return f"{type(self).__name__} {self.name!r}" if self.name else type(self).__name__

    def __call__(self, *inputs: Any) -> Any:
        """The door: `forward` on detached inputs, without an autograd graph."""
        with torch.no_grad():
            return self.forward(*(x.detach() if isinstance(x, Tensor) else x for x in inputs))

    def forward(self, inputs: Tensor) -> Tensor:
        raise NotImplementedError(f"{self}: has no forward")

    def backward(self, grads: Tensor) -> Tensor:
        self.backward_params(grads)
        return self.backward_inputs(grads)

    @_guarded
    def backward_params(self, grads: Tensor) -> None:
        """Ops without weights have nothing to write."""

    def backward_inputs(self, grads: Tensor) -> Tensor:
        raise NotImplementedError(f"{self}: has no backward")

    def grad(self, key: str) -> Tensor:
        """The tensor to write dL/d params[key] into, of its shape, dtype and device."""
        param, grad = self.params[key], self.grads.get(key)
        if grad is None or any(getattr(grad, of) != getattr(param, of) for of in _LIKENESS):
            grad = self.grads[key] = torch.zeros_like(param)
        return grad

    def train(self) -> Self:
        return set_training(self, True)

    def eval(self) -> Self:
        return set_training(self, False)

    def to(self, target: str | torch.device | torch.dtype) -> Self:
        """Move params, grads and buffers to a device ("auto" too) or dtype; the dicts stay.

        What the last forward remembered is forgotten: it lives where the op was.
        """
        if not isinstance(target, torch.dtype):
            target = pick_device(target)
        for op in every_op(self):
            for tensors in (dict_of(op, "params"), dict_of(op, "grads"), dict_of(op, "buffers")):
                for key, tensor in tensors.items():
                    tensors[key] = tensor.to(target)
            for key in ("inputs", "outputs"):
                vars(op).pop(key, None)
        return self


class Sequential(Op):
    """y = fK(...f1(x)),  dL/dx = f1'(...fK'(dL/dy)).

    Forward walks `layers` down, backward walks the same list up. A layer without a name is named by
    the attribute that holds it, else by class and position. ValueError or TypeError for no layers,
    two of one given name, one object in two places, and what is no op.
    """

    def __init__(self, *layers: Any) -> None:
        super().__init__()
        self.layers = list(layers)
        _check_layers(self)
        for name, layer in named_layers(self):
            if not given_name(layer):
                layer.name, layer.named_by_container = name, True

    def forward(self, inputs: Tensor) -> Tensor:
        self.inputs = inputs
        for layer in self.layers:
            inputs = layer.forward(inputs)
        self.outputs = inputs
        return inputs

    def backward(self, grads: Tensor) -> Tensor:
        for layer in reversed(self.layers):
            grads = layer.backward(grads)
        return grads

    def backward_params(self, grads: Tensor) -> None:
        """All that a training step needs: every `grads`, but not dL/d inputs of the first layer."""
        first, *others = self.layers
        for layer in reversed(others):
            grads = layer.backward(grads)
        if has_halves(first):
            first.backward_params(grads)
        else:
            first.backward(grads)

    def backward_inputs(self, grads: Tensor) -> Tensor:
        for layer in reversed(self.layers):
            grads = layer.backward_inputs(grads) if has_halves(layer) else layer.backward(grads)
        return grads


def _check_layers(model: Sequential) -> None:
    who = type(model).__name__
    if not model.layers:
        raise ValueError(f"{who}: has no layers, wanted at least one op")
    for position, layer in enumerate(model.layers):
        came = f"{who}: layer {position}"
        if isinstance(layer, type):
            raise TypeError(f"{came} is the class {layer.__name__}, wanted an op of it")
        for rule in ("forward", "backward"):
            if not _has(layer, rule):
                raise TypeError(f"{came} ({type(layer).__name__}) has no {rule}, wanted an op")
        if any(layer is other for other in model.layers[:position]):
            raise ValueError(f"{came} ({layer}) stands there twice, wanted an op for each place")


def _has(op: Any, rule: str) -> bool:
    """Whether `op` has a rule of its own: Op's forward and backward are only the promise of one."""
    own = getattr(type(op), rule, None) or getattr(op, rule, None)
    if rule == "backward" and own is Op.backward:
        return type(op).backward_inputs is not Op.backward_inputs
    return callable(own) and own is not Op.forward


def has_halves(op: Any) -> bool:
    """Whether the halves of `op` are its backward: not where a subclass wrote `backward` anew."""
    for cls in type(op).__mro__:
        if any(half in vars(cls) for half in _HALVES):
            return True
        if "backward" in vars(cls):
            return False
    return False
