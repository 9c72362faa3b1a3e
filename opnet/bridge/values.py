"""An ONNX graph that grows as it is computed with: its values add, multiply and reduce by name."""

import functools
from typing import Any

import torch
from torch import Tensor

OPSET, IR_VERSION = 18, 8


class Untraceable(ValueError):
    """What has no rule in ONNX, or reads what ONNX cannot know."""


class Graph:
    """Nodes in their order, and the constants that they read; `scope` begins the names of both.

    It is made while a model runs on so many `rows`, which are free in the graph.
    """

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.nodes: list[Any] = []
        self.constants: dict[str, Tensor] = {}
        self.scope = ""

    def node(self, kind: str, *inputs: "Value | str", like: "Value", **attributes: Any) -> "Value":
        """The output of a new node, of the dtype and the number of axes of `like`."""
        import onnx

        name = f"{self.scope}/{kind}_{len(self.nodes)}"
        names = [value if isinstance(value, str) else value.name for value in inputs]
        self.nodes.append(onnx.helper.make_node(kind, names, [name], name, **attributes))
        return Value(self, name, like.dtype, like.ndim)

    def constant(self, tensor: Tensor) -> "Value":
        """A tensor as it is now; equal ones are one."""
        tensor = tensor.detach().clone()
        for name, other in self.constants.items():
            if other.dtype == tensor.dtype and torch.equal(other, tensor):
                return Value(self, name, tensor.dtype, tensor.ndim)
        name = f"constant_{len(self.constants)}"
        self.constants[name] = tensor
        return Value(self, name, tensor.dtype, tensor.ndim)

    def whole(self, *numbers: int) -> "Value":
        """Whole numbers as nodes take them: axes, shapes, places."""
        return self.constant(torch.tensor(numbers, dtype=torch.int64))

    def give(self, value: "Value", name: str) -> None:
        """The value goes out of the graph under this name."""
        import onnx

        self.nodes.append(onnx.helper.make_node("Identity", [value.name], [name], f"/{name}"))

    def needed(self, outputs: list[str]) -> tuple[list[Any], dict[str, Tensor]]:
        """The nodes and the constants on which the outputs depend."""
        wanted, nodes = set(outputs), []
        for node in reversed(self.nodes):
            if wanted & {*node.output}:
                wanted |= {*node.input}
                nodes.append(node)
        return nodes[::-1], {name: t for name, t in self.constants.items() if name in wanted}


class Value:
    """A tensor of the graph, by its name. Numbers beside it are constants of its dtype.

    Of two dtypes that of the one with axes counts, as in torch.
    """

    def __init__(self, graph: Graph, name: str, dtype: torch.dtype, ndim: int) -> None:
        self.graph, self.name, self.dtype, self.ndim = graph, name, dtype, ndim

    def to(self, dtype: torch.dtype) -> "Value":
        if dtype == self.dtype:
            return self
        return self.graph.node("Cast", self, like=self.typed(dtype), to=onnx_type(dtype))

    def by(self, kind: str, *others: Any, **attributes: Any) -> "Value":
        """An elementwise node of this value and the others, all of one dtype."""
        values = self._alike(others)
        like = max(values, key=lambda value: value.ndim)
        return self.graph.node(kind, *values, like=like, **attributes)

    def compared(self, kind: str, other: Any) -> "Value":
        made = self.by(kind, other)
        return Value(self.graph, made.name, torch.bool, made.ndim)

    def where(self, yes: Any, no: Any) -> "Value":
        """`yes` where this value is true, else `no`, one of which is a value."""
        of, other = (yes, no) if isinstance(yes, Value) else (no, yes)
        values = of._alike([other])
        like = max(self, *values, key=lambda value: value.ndim).typed(values[0].dtype)
        return self.graph.node("Where", self, *(values if of is yes else values[::-1]), like=like)

    def typed(self, dtype: torch.dtype) -> "Value":
        """What is like this value but for the dtype."""
        return Value(self.graph, self.name, dtype, self.ndim)

    def reduced(self, kind: str, axes: Any = None, keepdim: bool = False) -> "Value":
        axes = [axes] if isinstance(axes, int) else list(axes or range(self.ndim))
        if not axes:
            return self  # of no axes
        like = Value(self.graph, "", self.dtype, self.ndim if keepdim else self.ndim - len(axes))
        return self.graph.node(
            kind, self, self.graph.whole(*axes), like=like, keepdims=int(keepdim)
        )

    def sum(self, axes: Any = None, keepdim: bool = False) -> "Value":
        return self.reduced("ReduceSum", axes, keepdim)

    def mean(self, axes: Any = None, keepdim: bool = False) -> "Value":
        return self.reduced("ReduceMean", axes, keepdim)

    def filled(self, number: Any) -> "Value":
        """The number at each place."""
        shape = self.graph.node("Shape", self, like=Value(self.graph, "", torch.int64, 1))
        return self.graph.node("Expand", self._beside(number, self.dtype), shape, like=self)

    def number(self, number: Any) -> "Value":
        """A constant of its dtype."""
        return self.graph.constant(torch.tensor(number, dtype=self.dtype))

    def _beside(self, other: Any, dtype: torch.dtype) -> "Value":
        if isinstance(other, Value):
            return other.to(dtype)
        return self.graph.constant(torch.tensor(other, dtype=dtype))

    def _alike(self, others: Any) -> list["Value"]:
        every = [self, *others]
        values = [other for other in every if isinstance(other, Value)]
        dtypes = [value.dtype for value in values if value.ndim] or [
            value.dtype for value in values
        ]
        dtype = functools.reduce(torch.promote_types, dtypes)
        if any(isinstance(other, float) for other in every) and not dtype.is_floating_point:
            dtype = torch.get_default_dtype()
        return [self._beside(other, dtype) for other in every]

    def __add__(self, other: Any) -> "Value":
        return self.by("Add", other)

    def __mul__(self, other: Any) -> "Value":
        return self.by("Mul", other)

    __radd__, __rmul__ = __add__, __mul__

    def __sub__(self, other: Any) -> "Value":
        return self.by("Sub", other)

    def __rsub__(self, other: Any) -> "Value":
        return self.number(other) - self

    def __truediv__(self, other: Any) -> "Value":
        return self.by("Div", other)

    def __neg__(self) -> "Value":
        return self.by("Neg")

    def __matmul__(self, other: "Value") -> "Value":
        return self.by("MatMul", other)

    def __and__(self, other: "Value") -> "Value":
        return self.by("And", other)

    def __invert__(self) -> "Value":
        return self.by("Not")

    def __gt__(self, other: Any) -> "Value":
        return self.compared("Greater", other)

    def __ge__(self, other: Any) -> "Value":
        return self.compared("GreaterOrEqual", other)

    def __lt__(self, other: Any) -> "Value":
        return self.compared("Less", other)

    def __le__(self, other: Any) -> "Value":
        return self.compared("LessOrEqual", other)

    def exp(self) -> "Value":
        return self.by("Exp")


def onnx_type(dtype: torch.dtype) -> int:
    """ONNX's number for a dtype."""
    import onnx

    names = {torch.float16: "FLOAT16", torch.float32: "FLOAT", torch.float64: "DOUBLE"}
    names |= {torch.bool: "BOOL", torch.int32: "INT32", torch.int64: "INT64"}
    if dtype not in names:
        raise Untraceable(f"came {dtype}, wanted one of {', '.join(map(str, names))}")
    return onnx.TensorProto.DataType.Value(names[dtype])
