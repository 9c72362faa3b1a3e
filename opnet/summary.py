"""A model op by op: its formulas, shapes and sizes, and what it costs to run. Knows no class."""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .errors import check_count, plain
from .tables import as_html, as_text
from .walk import check_model, check_places, dict_of, leaf_ops, named_ops, state, untouched

HEADER = ("op", "in", "out", "params", "memory", "forward", "backward")
UNITS = ("kB", "MB", "GB", "TB")

Call = tuple[Tensor, Tensor]  # what went into an op, and what came out


@dataclass(frozen=True)
class Line:
    """One op: `memory` in bytes, `forward` and `backward` in multiply-adds, as `summary` counts."""

    name: str
    op: str
    formula: str
    shape_in: list[int]
    shape_out: list[int]
    params: int
    memory: int
    forward: int
    backward: int

    def cells(self) -> list[str]:
        shapes = [str(shape) for shape in (self.shape_in, self.shape_out)]
        costs = [f"{cost:,}" for cost in (self.forward, self.backward)]
        named = self.name if self.op in self.name else f"{self.name} ({self.op})"
        return [named, *shapes, f"{self.params:,}", _size(self.memory), *costs]


@dataclass(frozen=True)
class Summary:
    """A line for each op, and their sums; `str` is a table, notebooks show one in HTML."""

    model: str
    inputs: list[int]
    lines: list[Line]

    def total(self, what: str) -> int:
        """The sum over all ops of `params`, `memory`, `forward` or `backward`."""
        return sum(getattr(line, what) for line in self.lines)

    def __str__(self) -> str:
        cells = [*(line.cells() for line in self.lines), self._sums()]
        header, *rows, sums = as_text(HEADER, cells)
        rule = "-" * max(map(len, [header, *rows]))
        text = [header, rule]
        for row, line in zip(rows, self.lines, strict=True):
            text += [row, f"  {line.formula}"] if line.formula else [row]
        return "\n".join([*text, rule, sums, self._said()])

    def _repr_html_(self) -> str:
        rows = [[*line.cells(), line.formula] for line in self.lines]
        return as_html((*HEADER, "formula"), [*rows, [*self._sums(), ""]], self._said())

    def _sums(self) -> list[str]:
        params, memory, *costs = (self.total(what) for what in HEADER[3:])
        return [self.model, "", "", f"{params:,}", _size(memory), *(f"{cost:,}" for cost in costs)]

    def _said(self) -> str:
        return f"forward and backward in multiply-adds, for inputs {self.inputs}"


def summary(model: Any, inputs: int | Sequence[int] | None = None) -> Summary:
    """What each op of a model is, holds and costs, for inputs of a shape.

    `inputs` are the columns of one row, or a shape [..., N, I]; without it the columns are those of
    the first Linear. The formula is the first line of an op's docstring, as far as it is one. An op
    with weights [I, O] costs I O multiply-adds a row forward, and twice as many backward, dL/dW and
    dL/dx; every other op counts as one for each element of its outputs, and backward of its inputs.
    Memory is that of params, grads, buffers and outputs. The model runs once, on zeros, in eval
    mode, and keeps no trace. TypeError or ValueError for no model, for one that has an op in two
    places, and for inputs that it does not take.
    """
    check_model("summary", model)
    check_places(model)
    shape = _shape(model, inputs)
    calls = _calls(model, shape)
    lines = [_line(name, op, calls[id(op)]) for name, op in named_ops(model).items()]
    return Summary(type(model).__name__, shape, lines)


def formula_of(op: Any) -> str:
    """The first line of the docstring of its class without the shapes; empty if no formula."""
    first, *_ = (type(op).__doc__ or "").strip().splitlines() or [""]
    rule = re.split(r" {3,}", first)[0].rstrip(".")
    return rule if "=" in rule else ""


def _shape(model: Any, inputs: Any) -> list[int]:
    if inputs is None:
        if (columns := columns_of(model)) is None:
            said = f"summary: the inputs of {type(model).__name__} cannot be told from its ops"
            raise ValueError(f"{said}, wanted their columns or a shape: summary(2)")
        return [1, columns]
    if isinstance(inputs, Tensor):
        raise TypeError("summary: inputs is a Tensor, wanted its shape")
    if not isinstance(inputs, (list, tuple)):
        return [1, check_count("summary: inputs", inputs)]
    if len(inputs) < 2:
        raise ValueError(f"summary: inputs is {inputs!r}, wanted a shape [..., N, columns]")
    return [check_count("summary: inputs", size) for size in inputs]


def columns_of(model: Any) -> int | None:
    """How many columns the inputs of a model have, as the first op that knows its own tells it."""
    return next(filter(None, map(_columns, leaf_ops(model))), None)


def _columns(op: Any) -> int | None:
    """How many columns an op wants, where it says so or has a matrix of weights."""
    if isinstance(size := getattr(op, "input_size", getattr(op, "features", None)), int):
        return size
    W = dict_of(op, "params").get("W")
    return len(W) if isinstance(W, Tensor) and W.ndim == 2 and len(W) > 1 else None


def _calls(model: Any, shape: list[int]) -> dict[int, list[Call]]:
    """What went in and out of each op, by its id, when the model ran on zeros of that shape."""
    calls: dict[int, list[Call]] = {id(op): [] for op in leaf_ops(model)}
    like = next((t for t in state(model) if t.is_floating_point()), torch.empty(0))

    def watched(op: Any, forward: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def run(inputs: Tensor, *others: Any) -> Tensor:
            outputs = forward(inputs, *others)
            calls[id(op)].append((inputs, outputs))
            return outputs

        return run

    with untouched(model):  # which takes the watching away again
        try:
            for op in leaf_ops(model):
                op.forward = watched(op, op.forward)
            model.forward(like.new_zeros(shape))
        except (TypeError, ValueError, RuntimeError, AttributeError, IndexError) as error:
            said = f"{type(model).__name__} does not run on {shape}: {plain(error, most=200)}"
            raise ValueError(f"summary: {said}") from error
    return calls


def _line(name: str, op: Any, calls: list[Call]) -> Line:
    params, grads, buffers = (
        list(dict_of(op, kind).values()) for kind in ("params", "grads", "buffers")
    )
    kept = [*params, *grads, *buffers, *(outputs for _, outputs in calls)]
    costs = [_costs(params, *call) for call in calls]
    inputs, outputs = calls[0] if calls else (torch.empty(0), torch.empty(0))
    return Line(
        name,
        type(op).__name__,
        formula_of(op),
        list(inputs.shape),
        list(outputs.shape),
        params=sum(tensor.numel() for tensor in params),
        memory=sum(tensor.nbytes for tensor in kept),
        forward=sum(forward for forward, _ in costs),
        backward=sum(backward for _, backward in costs),
    )


def _costs(params: list[Tensor], inputs: Tensor, outputs: Tensor) -> tuple[int, int]:
    """Multiply-adds forward and backward."""
    product = [inputs.shape[-1], outputs.shape[-1]]
    if any(list(tensor.shape) == product for tensor in params):
        cost = inputs.numel() * product[1]
        return cost, 2 * cost
    return outputs.numel(), inputs.numel()


def _size(count: int) -> str:
    """`140 B`, `1.2 kB`."""
    if count < 1000:
        return f"{count:.0f} B"
    power = min(int(math.log10(count)) // 3, len(UNITS))
    return f"{count / 1000**power:.1f} {UNITS[power - 1]}"
