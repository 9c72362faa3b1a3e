"""Ops for torch: a function that autograd walks back by the op's own rule, a module around it."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..losses import Loss
from ..op import Op, forward_of, has_halves
from ..walk import (
    Box,
    boxes_of,
    dict_of,
    every_op,
    every_part,
    leaf_ops,
    named_layers,
    refill,
    set_training,
)

Held = list[tuple[Box, Box]]  # where a part of an op keeps things, and what stood there


def as_function(op: Any) -> Callable[..., Tensor]:
    """y = f(x): the op's forward, and its own backward when autograd walks back through it.

    Of an op or a model x is [..., N, I]; of a loss without a model L = f(p, labels). A param of the
    op that requires a gradient gets it in `.grad`, as a parameter of torch does. Each call keeps
    what its backward reads: f may be called again before it. A second derivative is refused
    (RuntimeError), for an op has its first only. TypeError for what is no op.
    Source: torch.autograd.Function.
    """
    _check("as_function", op)
    return partial(_by_hand, op)


def as_module(op: Any) -> "OpModule":
    """An nn.Module that computes what `op` does, by its rule and its derivative.

    Its parameters are `op.params`, which become nn.Parameters in the same memory: what torch.optim
    or opnet writes into one is in both. They are called as in a checkpoint, `fc1.W`; buffers too.
    `train()`, `eval()`, `to()`, copies and `load_state_dict` go through to the op. TypeError for
    what is no op, ValueError for a name that no module can have.
    """
    _check("as_module", op)
    return OpModule(op)


class OpModule(nn.Module):
    """What `as_module` makes: a module for each op, those of its layers inside that of a model."""

    def __init__(self, op: Any) -> None:
        super().__init__()
        self.op, self.training = op, getattr(op, "training", True)
        try:
            if hasattr(op, "layers"):
                for name, layer in named_layers(op):
                    self.add_module(name, OpModule(layer))
            else:
                self._hold(dict_of(op, "params"), dict_of(op, "buffers"))
        except KeyError as error:
            raise ValueError(f"as_module: {op}: {error.args[0]}") from error

    def _hold(self, params: dict[str, Tensor], buffers: dict[str, Tensor]) -> None:
        for key, param in params.items():
            if not isinstance(param, nn.Parameter):
                params[key] = nn.Parameter(param.detach())
            self.register_parameter(key, params[key])  # type: ignore[arg-type]
        for key, buffer in buffers.items():
            self.register_buffer(key, buffer)

    def forward(self, *inputs: Tensor) -> Tensor:
        parts = [module for module in self.modules() if isinstance(module, OpModule)]
        for part in parts:
            part._check_shared()
        outputs = _by_hand(self.op, *inputs)
        for part in parts:
            part._buffers.update(dict_of(part.op, "buffers"))  # an op may keep new ones
        return outputs

    def _check_shared(self) -> None:
        if hasattr(self.op, "layers"):
            return
        held = dict_of(self.op, "params") | dict_of(self.op, "buffers")
        ours = self._parameters | self._buffers
        for key in held | ours:
            if held.get(key) is not ours.get(key):
                raise RuntimeError(f"{self.op}: {key} was replaced since as_module made a module")

    def train(self, mode: bool = True) -> "OpModule":
        set_training(every_part(self.op), mode)
        return super().train(mode)

    def _apply(self, *args: Any, **kwargs: Any) -> "OpModule":
        """What `to` and `double` call: it keeps the objects of the parameters, not the buffers'."""
        super()._apply(*args, **kwargs)
        dict_of(self.op, "buffers").update(self.named_buffers(recurse=False))
        return self

    def extra_repr(self) -> str:
        return "" if hasattr(self.op, "layers") else f"{self.op}"


def _by_hand(op: Any, *inputs: Any) -> Tensor:
    wanted = 2 if isinstance(op, Loss) else 1
    if len(inputs) != wanted:
        who = op if isinstance(op, Op) else type(op).__name__
        raise TypeError(f"{who}: came {len(inputs)} inputs, torch's walk back wants {wanted}")
    return _ByHand.apply(op, len(inputs), *inputs, *(slot.param for slot in _slots(op)))


class _ByHand(torch.autograd.Function):
    """forward(op, count, *inputs, *params), of which the first `count` are inputs."""

    @staticmethod
    def forward(ctx: Any, op: Any, count: int, *tensors: Any) -> Tensor:
        inputs = [x.detach() if isinstance(x, Tensor) else x for x in tensors[:count]]
        outputs = op(*inputs) if isinstance(op, Op) else forward_of(op)(*inputs)
        ctx.op, ctx.count = op, count
        ctx.held = [(box, copy.copy(box)) for part in every_part(op) for box in _kept_in(part)]
        kept = [*tensors, *(value for _, held in ctx.held for value in _values(held))]
        ctx.save_for_backward(*(value for value in kept if isinstance(value, Tensor)))
        return outputs.detach()

    @staticmethod
    def backward(ctx: Any, grads: Tensor) -> Any:
        if torch.is_grad_enabled():  # torch's once_differentiable would not tell in each case
            raise RuntimeError(f"{ctx.op}: create_graph=True, but an op has no second derivative")
        ctx.saved_tensors  # noqa: B018  torch refuses here if one of them was written to since
        op, wanted = ctx.op, ctx.needs_input_grad[2:]
        of_inputs, of_params = any(wanted[: ctx.count]), any(wanted[ctx.count :])
        with _put_back(ctx.held):
            if isinstance(op, Loss):
                return None, None, op.backward_inputs() * grads, None
            sent_back = _walked_back(op, grads, of_inputs, of_params)
            given = [slot.grad() if of_params else None for slot in _slots(op)]
        return None, None, sent_back, *given


def _walked_back(op: Any, grads: Tensor, of_inputs: bool, of_params: bool) -> Tensor | None:
    """dL/d inputs; every `grads` of the op. Only one of both where the op can tell them apart."""
    if has_halves(op) and not of_inputs:
        op.backward_params(grads)
        return None
    if has_halves(op) and not of_params:
        return op.backward_inputs(grads)
    return op.backward(grads)


@contextmanager
def _put_back(held: Held) -> Iterator[None]:
    """Inside, the parts of an op hold what a forward has left, whatever they have done since.

    Where they have done nothing, what a backward does stays: it may take from what it keeps.
    """
    latest = [(box, copy.copy(box)) for box, then in held if not _same(box, then)]
    try:
        for box, then in held:
            refill(box, then)
        yield
    finally:
        for box, content in latest:
            refill(box, content)


def _kept_in(part: Any) -> list[Box]:
    state = [dict_of(part, kind) for kind in ("params", "grads", "buffers")]
    return [box for box in boxes_of(part) if not any(box is known for known in state)]


def _values(box: Box) -> list[Any]:
    return list(box.values()) if isinstance(box, dict) else box


def _same(box: Box, then: Box) -> bool:
    """Whether the very same objects stand in both, in one order, under the same keys."""
    alike = [*map(id, _values(box))] == [*map(id, _values(then))]
    return alike and (not isinstance(box, dict) or [*box] == [*then])


class _Slot(NamedTuple):
    """Where a param of an op stands, and its gradient."""

    op: Any
    key: str

    @property
    def param(self) -> Tensor:
        return dict_of(self.op, "params")[self.key]

    def grad(self) -> Tensor | None:
        """In memory of its own: the next backward overwrites `grads`. The book's [O] as [1, O]."""
        grad = dict_of(self.op, "grads").get(self.key)
        return None if grad is None else grad.expand_as(self.param).clone()


def _slots(op: Any) -> list[_Slot]:
    return [_Slot(leaf, key) for leaf in leaf_ops(op) for key in dict_of(leaf, "params")]


def _check(who: str, op: Any) -> None:
    came = f"the class {op.__name__}" if isinstance(op, type) else f"a {type(op).__name__}"
    if isinstance(op, type) or not hasattr(op, "backward"):
        raise TypeError(f"{who}: came {came}, wanted an op")
    if getattr(op, "model", None) is not None:
        raise TypeError(f"{who}: {op} has a model, wanted a loss without one: torch walks back")
    for leaf in every_op(op):
        for key, param in dict_of(leaf, "params").items():
            if not isinstance(param, Tensor):
                came = type(param).__name__
                raise TypeError(f"{who}: {leaf}: param {key!r} is a {came}, wanted a Tensor")
