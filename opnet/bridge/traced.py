"""Kernels of torch met while they compute, each written into an ONNX graph by its rule."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

from ..kernels import Kernels
from ..op import has_halves
from ..tensors import same_tensor
from ..walk import attributes, named_ops
from .rules import RULES
from .values import Graph, Untraceable, Value

READS = {Tensor.item, Tensor.tolist, Tensor.numpy, Tensor.__float__, Tensor.__int__}
READS |= {Tensor.__index__, Tensor.__array__}  # into Python, where nothing is traced
ANONYMOUS = ("new_empty", "empty", "empty_like", "empty_strided")  # give memory, and nothing in it


class Traced(Kernels):
    """Inside, what is computed from named tensors goes into `graph`; any other is a constant.

    Tensors are known by their identity; one written in place has a new value from then on, and what
    views its memory in another shape cannot be read any more. A number that is read back may go
    into the next kernel, as a rate does, and nowhere else: Python would decide by it.
    """

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.graph = graph
        self.values: dict[int, Value | None] = {}
        self.kept: list[Tensor] = []  # their identities stay theirs
        self.numbers: dict[float, Value] = {}  # read back, and not used yet
        self.of_sizes: set[int] = set()  # tensors that depend on numbers of elements only

    def bind(self, tensor: Tensor, value: Value) -> None:
        """The tensor has this value."""
        if id(tensor) not in self.values:
            self.kept.append(tensor)
        self.values[id(tensor)] = value

    def write(self, tensor: Tensor, value: Value) -> None:
        """The memory of the tensor has this value from now on."""
        for other in self.kept:
            if other.untyped_storage().data_ptr() == tensor.untyped_storage().data_ptr():
                self.values[id(other)] = value if same_tensor(other, tensor) else None
        self.bind(tensor, value)

    def value(self, tensor: Tensor) -> Value:
        """What the tensor is in the graph; of one that nothing was computed for, its content."""
        if id(tensor) not in self.values:
            return self.graph.constant(tensor)
        if (found := self.values[id(tensor)]) is None:
            raise Untraceable("reads a view of what was written in place")
        return found

    def meet(self, kernel: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        known = [t for t in tree_leaves((args, kwargs)) if id(t) in self.values]
        if known:
            self._before(kernel, args)
        outputs = kernel(*args, **kwargs)
        if torch.Tag.nondeterministic_seeded in kernel.tags:
            raise Untraceable(f"draws at random, by torch's {kernel._schema.name}")
        name = str(kernel._schema.name).removeprefix("aten::")
        if not known or name in ANONYMOUS:
            return outputs  # is as it is
        if name == "_local_scalar_dense":
            return self._read(args[0], outputs)
        put = self.write if kernel._schema.is_mutable else self.bind
        made = self._by_rule(name, args, {key: kwargs[key] for key in kwargs if key != "out"})
        for tensor, value in zip(tree_leaves(outputs), tree_leaves(made), strict=True):
            put(tensor, value.to(tensor.dtype))
            if self.of_sizes.issuperset(id(t) for t in known):
                self.of_sizes.add(id(tensor))
        return outputs

    def _before(self, kernel: Any, args: tuple[Any, ...]) -> None:
        """What the kernel is going to write into is a constant until then."""
        for tensor, spec in zip(args, kernel._schema.arguments, strict=False):
            if spec.alias_info and spec.alias_info.is_write and id(tensor) not in self.values:
                self.bind(tensor, self.graph.constant(tensor))

    def _read(self, tensor: Tensor, number: Any) -> Any:
        if isinstance(number, float):
            self.numbers[number] = self.value(tensor)
        elif id(tensor) not in self.of_sizes:
            raise Untraceable("reads values back")
        return number

    def holds_data(self, tensor: Any) -> bool:
        """Whether it is named, and depends on more than numbers of elements."""
        return id(tensor) in self.values and id(tensor) not in self.of_sizes

    def check_used(self) -> None:
        if self.numbers:
            raise Untraceable("reads values back")

    def _by_rule(self, name: str, args: Any, kwargs: Any) -> Any:
        rule = RULES.get(name) or RULES.get(name.removesuffix("_"))
        if rule is None:
            raise Untraceable(f"no rule in ONNX for torch's {name}")
        args, kwargs = tree_map(self._argument, (args, kwargs))
        self.check_used()
        try:
            return rule(*args, **kwargs)
        except (NotImplementedError, TypeError) as error:
            raise Untraceable(f"no rule in ONNX for such a {name}: {error}") from error

    def _argument(self, argument: Any) -> Any:
        if isinstance(argument, Tensor):
            return self.value(argument)
        return self.numbers.pop(argument, argument) if isinstance(argument, float) else argument

    def size(self, tensor: Tensor) -> Tensor:
        """How many elements a named tensor has, as a number of the graph."""
        number = torch.tensor(float(Tensor.numel(tensor)), dtype=torch.float64)
        like = Value(self.graph, "", torch.int64, 0)
        count = self.graph.node("Size", self.value(tensor), like=like)
        self.bind(number, count.to(torch.float64))
        self.of_sizes.add(id(number))
        return number


class Read(TorchFunctionMode):
    """Inside, `numel` of a named tensor is no number, which would hold for these rows only.

    Nor is what it holds: Untraceable where Python asks for it.
    """

    def __init__(self, traced: Traced) -> None:
        super().__init__()
        self.traced = traced

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if function is Tensor.numel and id(args[0]) in self.traced.values:
            return self.traced.size(args[0])
        if function in READS and self.traced.holds_data(args[0]):
            raise Untraceable("reads values back")
        return function(*args, **(kwargs or {}))


@contextmanager
def traced(graph: Graph, model: Any) -> Iterator[Traced]:
    """Kernels inside go into the graph, those of an op under its name. ValueError that names it."""
    tracing = Traced(graph)
    for name, op in named_ops(model).items():
        rules = ("backward_inputs", "backward_params") if has_halves(op) else ("backward",)
        for rule in ("forward", *rules):
            scope = name if rule == "forward" else f"{name}.backward"
            if hasattr(op, rule):
                attributes(op)[rule] = _scoped(graph, scope, getattr(op, rule))
    with ExitStack() as inside, torch.no_grad():
        inside.enter_context(Read(tracing))
        inside.enter_context(tracing)
        try:
            yield tracing
        except Untraceable as error:
            where = f"{graph.scope}: " if graph.scope else ""
            raise Untraceable(f"{where}{error}") from error


def _scoped(graph: Graph, scope: str, rule: Callable[..., Any]) -> Callable[..., Any]:
    def scoped(*inputs: Any) -> Any:
        outside, graph.scope = graph.scope, scope
        outputs = rule(*inputs)
        graph.scope = outside  # after an error it stays: the error is there
        return outputs

    return scoped
