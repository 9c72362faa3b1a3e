"""Op: a forward rule with its derivative beside it. Sequential: such rules in a row.

Tensors are [..., N, features]: N rows, every axis before them is a batch axis. What a learner wrote
in the style of the book needs nothing from here: an op is any object with `forward` and `backward`,
a model any with `layers`.
"""

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor

from .doors import REMEMBERED, door_of, half_of, refuse_unreal
from .errors import check_name
from .tensors import check_dense, pick_device
from .walk import (
    attributes,
    check_places,
    dict_of,
    every_op,
    every_part,
    given_name,
    named_layers,
    set_training,
)

if TYPE_CHECKING:
    from .summary import Summary

HALVES = ("backward_params", "backward_inputs")
_Memory = dict[tuple[str, torch.Size], Tensor]


class Op:
    """y = forward(x),  dL/dx = backward(dL/dy): a rule with its derivative beside it.

    `forward(inputs)` keeps `self.inputs` and `self.outputs` until the next forward, for the
    derivative and for whoever wants to look. `backward(grads)` takes dL/d outputs, writes
    `self.grads[key]` for each `self.params[key]` and returns dL/d inputs; its halves
    `backward_params` and `backward_inputs` can be called apart, in any order, more than once. A
    subclass writes `forward` and the halves (or one whole `backward`) as plain formulas: no graph
    is ever built in them, and an upstream gradient of another shape or dtype is a ValueError before
    they run. `buffers` holds what a checkpoint keeps and no optimizer walks. An op is `rowwise`
    when each row of its outputs depends on the same row of its inputs only: then training may walk
    through the rows block by block. A subclass with a rule of its own has to say so itself.
    Source: NNDL 4.2, the operators of the practice.
    """

    name: str | None = None
    training = True
    rowwise = False
    _memory: _Memory | None = None
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
        for key, door in (("backward", door_of), *((half, half_of) for half in HALVES)):
            if key in vars(cls):
                setattr(cls, key, door(vars(cls)[key]))

    def __repr__(self) -> str:
        return f"{type(self).__name__} {self.name!r}" if self.name else type(self).__name__

    def __call__(self, *inputs: Any) -> Any:
        """The door: `forward` on detached inputs, without an autograd graph."""
        for x in inputs:
            if isinstance(x, Tensor) and x.layout != torch.strided:
                check_dense(f"{self}: inputs", x)
        try:
            with torch.no_grad():
                return self.forward(*(x.detach() if isinstance(x, Tensor) else x for x in inputs))
        except (AttributeError, TypeError, RuntimeError) as error:
            if inputs and not hasattr(self, "layers") and not str(error).startswith(f"{self}"):
                refuse_unreal(f"{self}: inputs", inputs[0], error)
            raise

    def forward(self, inputs: Tensor) -> Tensor:
        raise NotImplementedError(f"{self}: has no forward")

    def backward(self, grads: Tensor) -> Tensor:
        self.backward_params(grads)
        return self.backward_inputs(grads)

    @half_of
    def backward_params(self, grads: Tensor) -> None:
        """Ops without weights have nothing to write."""

    def backward_inputs(self, grads: Tensor) -> Tensor:
        raise NotImplementedError(f"{self}: has no backward")

    def grad(self, key: str) -> Tensor:
        """The tensor to write dL/d params[key] into, of its shape, dtype and device."""
        if self.grads is None:  # a learner's way to zero them
            self.grads = {}
        param, grad = self.params[key], self.grads.get(key)
        if (
            grad is None
            or grad.shape != param.shape
            or grad.dtype != param.dtype
            or grad.device != param.device
        ):
            grad = self.grads[key] = torch.zeros_like(param)
        return grad

    def scratch(self, key: str, like: Tensor, *shape: int) -> Tensor | None:
        """An `out=` for a rule: None, so fresh memory, but inside `reusing` that of last time.

        It is like the tensor `like`, of the given shape where there is one.
        """
        if self._memory is None:
            return None
        place = key, torch.Size(shape) if shape else like.shape
        if (found := self._memory.get(place)) is None:
            found = self._memory[place] = like.new_empty(place[1])
        return found

    def train(self) -> Self:
        set_training(every_part(self), True)
        return self

    def eval(self) -> Self:
        set_training(every_part(self), False)
        return self

    def to(self, target: str | torch.device | torch.dtype) -> Self:
        """Move params, grads and buffers to a device ("auto" too) or a floating dtype.

        The dicts stay the same objects. What the last forward remembered is forgotten: it lives
        where the op was.
        """
        if not isinstance(target, torch.dtype):
            target = pick_device(target)
        elif not target.is_floating_point:
            raise TypeError(f"{self}: to({target}), wanted a device or a floating point dtype")
        for op in every_op(self):
            for tensors in (dict_of(op, "params"), dict_of(op, "grads"), dict_of(op, "buffers")):
                for key, tensor in tensors.items():
                    if tensor.is_floating_point() or isinstance(target, torch.device):
                        tensors[key] = tensor.to(target)
        forget(self)
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
            if not given_name(layer) and hasattr(layer, "__dict__"):
                layer.name, layer.named_by_container = name, True

    def forward(self, inputs: Tensor) -> Tensor:
        self.inputs = inputs
        for layer in self.layers:
            inputs = layer.forward(inputs)
        self.outputs = inputs
        return inputs

    @half_of
    def backward(self, grads: Tensor) -> Tensor:
        return sent_through(self.layers, grads)

    def summary(self, inputs: int | Sequence[int] | None = None) -> "Summary":
        """Each op with its formula, shapes, params, memory and cost: `opnet.summary.summary`."""
        from .summary import summary

        return summary(self, inputs)

    def backward_params(self, grads: Tensor) -> None:
        """All that a training step needs: every `grads`, but not dL/d inputs of the first layer."""
        walk_back(self.layers, grads)

    def backward_inputs(self, grads: Tensor) -> Tensor:
        for layer in reversed(self.layers):
            half = layer.backward_inputs if has_halves(layer) else layer.backward
            grads = _sent_back(layer, half(grads))
        return grads


def forget(model: Any) -> None:
    """Let go of the tensors that the last forward has left in the ops: a backward needs another."""
    for op in every_op(model):
        for key in REMEMBERED:
            attributes(op).pop(key, None)


def is_plain(model: Any) -> bool:
    """Whether gradients walk through the model's `layers`, two or more, and nothing else."""
    cls = type(model)
    plain = isinstance(model, Sequential) and cls.backward is Sequential.backward
    alike = plain and cls.backward_params is Sequential.backward_params
    return alike and "backward" not in vars(model) and len(model.layers) > 1


def sent_through(layers: list[Any], grads: Tensor) -> Tensor:
    """dL/d inputs of ops in a row from dL/d outputs, and every `grads` of theirs."""
    for layer in reversed(layers):
        grads = _sent_back(layer, layer.backward(grads))
    return grads


def walk_back(layers: list[Any], grads: Tensor) -> None:
    """Every `grads` of ops in a row, but not dL/d inputs of the first one."""
    first, *others = layers
    grads = sent_through(others, grads)
    if has_halves(first):
        first.backward_params(grads)
    else:
        first.backward(grads)


def _sent_back(layer: Any, grads: Tensor | None) -> Tensor:
    if grads is None:
        raise TypeError(f"{layer}: backward returned None, wanted dL/d inputs")
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
    check_places(model)


def _has(op: Any, rule: str) -> bool:
    """Whether `op` has a rule of its own: Op's forward and backward are only the promise of one."""
    own = getattr(type(op), rule, None) or getattr(op, rule, None)
    if rule == "backward" and own is Op.backward:
        return type(op).backward_inputs is not Op.backward_inputs
    return callable(own) and own is not Op.forward


def forward_of(op: Any) -> Callable[..., Any]:
    """The forward of an op, a model or a loss; the object itself where that is all it can do."""
    return op.forward if _has(op, "forward") else op


def has_halves(op: Any) -> bool:
    """Whether the halves of `op` are its backward: not where a subclass wrote `backward` anew."""
    kind: Any = type(op)
    return "backward" not in getattr(op, "__dict__", {}) and _class_has_halves(kind)


@functools.cache
def _class_has_halves(kind: Any) -> bool:
    for cls in kind.__mro__:
        if "backward" in vars(cls):
            return cls.__module__ == Op.__module__  # those of this file keep the two alike
        if any(half in vars(cls) for half in HALVES):
            return True
    return False
