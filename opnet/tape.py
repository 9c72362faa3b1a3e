"""The kernels of a rule on a tape, to be called again on the same memory, without its Python."""

from collections.abc import Callable
from functools import cache, partial
from types import BuiltinFunctionType, MethodDescriptorType
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from .kernels import Kernels

Rule = Callable[[], list[Tensor]]

MOST_HELD = 2**26  # bytes: what a rule gives back at once, its tape holds
DECIDED_BY_VALUES = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape}


class Tape(Kernels):
    """Records rules on the CPU, as `captured.Graph` does on a GPU.

    Each kernel that the rule has called is called again in its order. What a kernel has made is
    written into the same memory again, so that a view is right as it stands and needs no call. A
    rule that makes more than MOST_HELD of its own is not recorded: it goes on as usual.
    RuntimeError for a rule that reads a tensor back.
    """

    def __init__(self, device: torch.device, generators: Any) -> None:
        super().__init__()
        self.calls: list[Callable[[], Any]] = []
        self.held = 0

    def warm_up(self, rule: Rule) -> list[Tensor]:
        return rule()

    def record(self, rule: Rule) -> tuple[Rule, list[Tensor]]:
        """What does the work of `rule` from now on, and what it left while it was recorded."""
        self.calls, self.held = [], 0
        with self:
            left = rule()
        replay = partial(_replay, tuple(self.calls), left)
        return replay if self.held <= MOST_HELD else rule, left

    def meet(self, kernel: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if _reads_back(kernel, args):
            raise RuntimeError(f"{_name(kernel)} while recording")
        outputs = kernel(*args, **kwargs)
        if not (kernel.is_view or "empty" in _name(kernel)):
            self._keep(kernel, args, kwargs, outputs)
        return outputs

    def _keep(self, kernel: Any, args: Any, kwargs: Any, outputs: Any) -> None:
        if not kernel._schema.is_mutable:
            self.held += sum(tensor.nbytes for tensor in tree_leaves(outputs))
        if self.held > MOST_HELD:
            self.calls.clear()
        else:
            self.calls.append(_again(kernel, args, kwargs, outputs))


def _reads_back(kernel: Any, args: Any) -> bool:
    """Whether values tell Python a number, or the shape of the outputs."""
    if _name(kernel) == "index":
        return any(index is not None and index.dtype == torch.bool for index in args[1])
    return not DECIDED_BY_VALUES.isdisjoint(kernel.tags)


def _replay(calls: tuple[Callable[[], Any], ...], left: list[Tensor]) -> list[Tensor]:
    with torch.inference_mode():  # nothing new is made: all is written into tensors of before
        for call in calls:
            call()
    return left


def _again(kernel: Any, args: Any, kwargs: Any, outputs: Any) -> Callable[[], Any]:
    """What calls the kernel once more, with its outputs in the memory where they are now."""
    if kernel._schema.is_mutable:
        return _quick(kernel, args, kwargs, outputs)
    into = _writing(kernel)
    if into is None or not isinstance(outputs, Tensor):
        return partial(_copied, tree_leaves(outputs), partial(kernel, *args, **kwargs))
    out = into._schema.arguments[-1].name
    return _quick(into, args, kwargs | {out: outputs}, outputs)


def _copied(static: list[Any], kernel: Callable[[], Any]) -> None:
    for tensor, value in zip(static, tree_leaves(kernel()), strict=True):
        tensor.copy_(value)


@cache
def _writing(kernel: Any) -> Any:
    """The variant of a kernel that writes its output into given memory; None where none is."""
    wanted = [(a.name, str(a.type)) for a in kernel._schema.arguments]
    packet = kernel._overloadpacket
    for variant in (getattr(packet, name) for name in packet.overloads()):
        *others, last = variant._schema.arguments
        if last.is_out and [(a.name, str(a.type)) for a in others] == wanted:
            return variant
    return None


def _quick(kernel: Any, args: Any, kwargs: Any, outputs: Any) -> Callable[[], Any]:
    """The call by torch's own binding, where it leads to this very kernel: that saves a third."""
    name = _name(kernel)
    binding = getattr(torch, name, None) or getattr(Tensor, name, None)
    if isinstance(binding, BuiltinFunctionType | MethodDescriptorType):
        call = partial(binding, *args, **kwargs)
        if _Asked(outputs).by(call) == (kernel, _tensors(args, kwargs)):
            return call
    return partial(kernel, *args, **kwargs)


class _Asked(Kernels):
    """Which kernel a call asks for, and with which tensors; nothing is computed."""

    def __init__(self, outputs: Any) -> None:
        super().__init__()
        self.outputs = outputs
        self.found: Any = None

    def by(self, call: Callable[[], Any]) -> Any:
        try:
            with self:
                call()
        except TypeError:  # the binding wants other arguments
            return None
        return self.found

    def meet(self, kernel: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self.found = None if self.found else (kernel, _tensors(args, kwargs))
        return self.outputs


def _tensors(args: Any, kwargs: Any) -> list[int]:
    return [id(value) for value in tree_leaves((args, kwargs)) if isinstance(value, Tensor)]


def _name(kernel: Any) -> str:
    return str(kernel._schema.name).removeprefix("aten::")
