"""The kernels of a rule on a tape, to be called again on the same memory, without its Python."""

import logging
from collections.abc import Callable
from functools import cache, partial
from types import BuiltinFunctionType, MethodDescriptorType
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from .kernels import Kernels

_log = logging.getLogger(__name__)

Call = Callable[[], Any]
Rule = Callable[[], list[Tensor]]

MOST_HELD = 2**26  # bytes: what a rule gives back at once, its tape holds
EXACT = {torch.float32, torch.float64}  # dtypes in which kernels compute as they are
DECIDED_BY_VALUES = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape}


class Tape(Kernels):
    """Records rules on the CPU, as `recorded.Graph` does on a GPU.

    Each kernel that the rule has called is called again in its order. What a kernel has made is
    written into the same memory again, so that a view is right as it stands and needs no call. A
    rule goes on as usual where it makes more than MOST_HELD of its own, and where it reads values
    back into Python, or makes as much of a tensor as they say.
    """

    warm_up_epochs = 1  # in which ops and optimizer make what they keep

    def __init__(self, device: torch.device, generators: Any) -> None:
        super().__init__()
        self.calls: list[Call] = []
        self.held, self.why_not = 0, ""
        self.bindings: dict[Any, Any] = {}

    def warm_up(self, rule: Rule) -> list[Tensor]:
        return rule()

    def record(self, rule: Rule) -> tuple[Rule, list[Tensor]]:
        """What does the work of `rule` from now on, and what it left while it was recorded."""
        self.calls, self.held, self.why_not = [], 0, ""
        with self:
            left = rule()
        if not self.why_not:
            return partial(_replay, torch.inference_mode(), tuple(self.calls), left), left
        _log.info("train: not recorded, which is slower: %s", self.why_not)
        return rule, left

    def meet(self, kernel: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        kind = _kind(kernel)
        outputs = kernel(*args, **kwargs)
        if kind.decides and not (kind.name == "index" and _by_places(args[1])):
            self.why_not = f"{kind.name} reads values back"
        if not (kind.in_place or kernel.is_view):
            self.held += sum(t.nbytes for t in tree_leaves(outputs) if isinstance(t, Tensor))
        if self.held > MOST_HELD:
            self.why_not = f"it makes more than {MOST_HELD >> 20} MB at each call"
        if self.why_not:
            self.calls.clear()
        elif not kind.leaves_alone:
            self.calls.append(self._again(kernel, args, kwargs, outputs))
        return outputs

    def _again(self, kernel: Any, args: Any, kwargs: Any, outputs: Any) -> Call:
        """What calls the kernel once more, with its outputs in the memory where they are now."""
        kind = _kind(kernel)
        if kind.in_place:
            return self._quick(kernel, args, kwargs, outputs)
        if kind.into is None or not isinstance(outputs, Tensor):
            return partial(_copied, tree_leaves(outputs), partial(kernel, *args, **kwargs))
        return self._quick(kind.into, args, kwargs | {kind.out: outputs}, outputs)

    def _quick(self, kernel: Any, args: Any, kwargs: Any, outputs: Any) -> Call:
        """The call by torch's own binding, where it leads to this very kernel: that saves a third.

        Whether it does is asked once for each kernel and each kind of arguments.
        """
        args = _with_tensors(kernel, args, outputs)
        form = kernel, *map(type, args), *((key, type(value)) for key, value in kwargs.items())
        if form not in self.bindings:
            self.bindings[form] = _binding(kernel, args, kwargs, outputs) or kernel
        return partial(self.bindings[form], *args, **kwargs)


def _replay(mode: Any, calls: tuple[Call, ...], left: list[Tensor]) -> list[Tensor]:
    with mode:  # nothing new is made: all is written into tensors of before
        for call in calls:
            call()
    return left


def _with_tensors(kernel: Any, args: tuple[Any, ...], outputs: Any) -> tuple[Any, ...]:
    """`args`, where a number stands for a tensor with that: torch would make it at each call."""
    kinds = {t.dtype for t in tree_leaves((args, outputs)) if isinstance(t, Tensor)}
    if len(kinds) > 1 or not kinds <= EXACT:
        return args
    return tuple(
        torch.tensor(value, dtype=outputs.dtype)
        if isinstance(value, int | float) and str(wanted.type) == "Tensor"
        else value
        for value, wanted in zip(args, kernel._schema.arguments, strict=False)
    )


def _copied(static: list[Any], kernel: Call) -> None:
    for tensor, value in zip(static, tree_leaves(kernel()), strict=True):
        if isinstance(tensor, Tensor):
            tensor.copy_(value)


class _Kind(NamedTuple):
    """What a kernel does: `into` is its variant that writes into given memory, called `out`."""

    name: str
    leaves_alone: bool  # gives a view, or memory in which nothing stands yet
    decides: bool  # values tell Python a number, or the shape of the outputs
    in_place: bool  # and it gives nothing else
    into: Any
    out: str


@cache
def _kind(kernel: Any) -> _Kind:
    name = str(kernel._schema.name).removeprefix("aten::")
    decides = not DECIDED_BY_VALUES.isdisjoint(kernel.tags)
    into = _writing(kernel)
    out = into._schema.arguments[-1].name if into else ""
    leaves_alone = kernel.is_view or "empty" in name
    returned = kernel._schema.returns
    in_place = kernel._schema.is_mutable and all(value.alias_info for value in returned)
    return _Kind(name, leaves_alone, decides, in_place, into, out)


def _writing(kernel: Any) -> Any:
    """The variant of a kernel that writes its output into given memory; None where none is."""
    wanted = [(a.name, str(a.type)) for a in kernel._schema.arguments]
    packet = kernel._overloadpacket
    for variant in (getattr(packet, name) for name in packet.overloads()):
        *others, last = variant._schema.arguments
        if last.is_out and [(a.name, str(a.type)) for a in others] == wanted:
            return variant
    return None


def _by_places(indices: Any) -> bool:
    """Whether they are numbers of rows, not a mask."""
    return all(index is None or index.dtype != torch.bool for index in indices)


def _binding(kernel: Any, args: Any, kwargs: Any, outputs: Any) -> Any:
    """Torch's function or method of this name, if with these arguments it calls the kernel."""
    name = _kind(kernel).name
    binding = getattr(torch, name, None) or getattr(Tensor, name, None)
    if not isinstance(binding, BuiltinFunctionType | MethodDescriptorType):
        return None
    call = partial(binding, *args, **kwargs)
    return binding if _Asked(outputs).by(call) == (kernel, _tensors(args, kwargs)) else None


class _Asked(Kernels):
    """Which kernel a call asks for, and with which tensors; nothing is computed."""

    def __init__(self, outputs: Any) -> None:
        super().__init__()
        self.outputs = outputs
        self.found: Any = None

    def by(self, call: Call) -> Any:
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
