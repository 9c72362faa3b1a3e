"""Models, and whole training steps, as files of ONNX.

Both are traced: each kernel of torch that an op calls becomes a node by its rule, so that an op of
a learner's is written too. It is traced twice, on other rows and other numbers: what is not the
same both times would hold for those rows only.
"""

import contextlib
from collections.abc import Callable
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

import numpy
import torch
from torch import Tensor

from ..errors import check_path
from ..files import write_whole
from ..gradcheck.copies import copy_of
from ..gradcheck.subject import own_randomness
from ..op import forward_of
from ..optimizer import Optimizer
from ..step import training_step
from ..summary import columns_of
from ..walk import check_model, dict_of, every_part, named_ops, set_training, state
from .traced import Traced, traced
from .values import IR_VERSION, OPSET, Graph, Untraceable, Value, onnx_type

ROWS = (5, 8)  # of the two traces
CLOSE = 1e-7  # how near ONNX's own evaluation has to come to torch's, in float64

Dims = list[Any]  # of an input or output: sizes, a name where they are free


class Port(NamedTuple):
    """An input or output of a file: its name, its tensor while it is traced, its axes.

    A counter is whole in the file, and as exact as Python's numbers in the trace.
    """

    name: str
    tensor: Tensor
    dims: Dims
    counts: bool = False

    @property
    def dtype(self) -> torch.dtype:
        return torch.int64 if self.counts else self.tensor.dtype


class Trace(NamedTuple):
    """A graph with its inputs, the weights that it holds, its outputs, and what came and went."""

    graph: Graph
    inputs: list[Port]
    weights: list[Port]
    outputs: list[Port]
    fed: dict[str, Any]
    given: dict[str, Any]


def export_onnx(model: Any, path: str | Path) -> Path:
    """Write `outputs` = model(`inputs`) in eval mode as an ONNX file for any number of rows.

    inputs [N, I], outputs [N, O]; the weights are called as in a checkpoint, `fc1.W`. The file has
    passed ONNX's full check, and gave in ONNX's own evaluation what the model gives. It stands
    whole or not at all. ValueError that names the op, and the kernel, for what has no rule, reads
    values back, draws, or depends on the number of rows; TypeError for no model; ImportError
    without the package onnx: `pip install 'opnet[onnx]'`.
    Source: ONNX, opset 18.
    """
    check_model("export_onnx", model)
    path = check_path("export_onnx: path", path)
    return _written("export_onnx", path, lambda *how: _forward(model, *how))


def export_training_step(model: Any, loss_fn: Any, optimizer: Any, path: str | Path) -> Path:
    """Write forward, backward and update as one ONNX graph: what runs it, trains.

    Inputs: X [N, I], y, as the loss takes it, lr, each param (`fc1.W`) and buffer, and what the
    optimizer keeps (`fc1.W.mean`). Outputs: loss, and of each of these the value after the step,
    as `fc1.W.next`. What cannot be written is refused as by `export_onnx`, as are ops that draw.
    TypeError for an optimizer that is no opnet.Optimizer, ValueError for a loss or an optimizer of
    another model.
    Source: ONNX, opset 18.
    """
    check_model("export_training_step", model)
    path = check_path("export_training_step: path", path)
    if not isinstance(optimizer, Optimizer):
        came = type(optimizer).__name__
        raise TypeError(f"export_training_step: optimizer is a {came}, wanted an opnet.Optimizer")
    for part in (loss_fn, optimizer):
        if getattr(part, "model", None) is not model:
            raise ValueError(f"export_training_step: {type(part).__name__} is of another model")
    parts = model, loss_fn, optimizer
    return _written("export_training_step", path, lambda *how: _step(parts, *how))


def _forward(model: Any, rows: int, wide: bool) -> Trace:
    graph, model, columns = Graph(), copy_of(model, wide=wide), columns_of(model)
    set_training(every_part(model), False)
    inputs = Port("inputs", _drawn(model, rows, wide), ["rows", columns or "columns"])
    weights = _named_state(model)
    with traced(graph, model) as tracing:
        fed = _take(tracing, [inputs, *weights])
        outputs = forward_of(model)(inputs.tensor)
        dims = ["rows", *outputs.shape[1:]] if columns else ["rows", *[None] * (outputs.ndim - 1)]
        given = [Port("outputs", outputs, dims)]
        return Trace(graph, [inputs], weights, given, fed, _give(tracing, given))


def _step(parts: tuple[Any, Any, Any], rows: int, wide: bool) -> Trace:
    graph, (model, loss_fn, optimizer) = Graph(), copy_of(parts, wide=wide)
    set_training(every_part(model), True)
    X = _drawn(model, rows, wide)
    y = _labels(loss_fn, forward_of(model)(X))
    optimizer.lr = torch.tensor(0.1 / rows, dtype=torch.float64)
    inputs = [Port("X", X, ["rows", *X.shape[1:]]), Port("y", y, ["rows", *y.shape[1:]])]
    counters = _counters(optimizer, rows)
    inputs += [Port("lr", optimizer.lr, []), *_named_state(model), *_memory(optimizer, counters)]
    with traced(graph, model) as tracing:
        fed = _take(tracing, inputs)
        graph.scope = "step"
        _, loss = training_step(model, loss_fn, optimizer, X, y)
        after = [*_named_state(model), *_memory(optimizer, counters)]
        given = [Port("loss", loss, [])]
        given += [port._replace(name=f"{port.name}.next") for port in after]
        return Trace(graph, inputs, [], given, fed, _give(tracing, given))


def _drawn(model: Any, rows: int, wide: bool) -> Tensor:
    columns = columns_of(model) or rows + 1
    like = next((t for t in state(model) if t.is_floating_point()), torch.empty(0))
    X = torch.randn(rows, columns, generator=torch.Generator().manual_seed(rows))
    return X.to(torch.float64 if wide else like.dtype)


def _labels(loss_fn: Any, predicts: Tensor) -> Tensor:
    """The first labels that the loss takes: class indices, values, values with a weight each."""
    values = torch.zeros_like(predicts)
    values[..., 0] = 1  # a probability, a row of probabilities, a number
    weights = torch.ones_like(values[..., :1])
    indices = torch.arange(len(predicts)) % predicts.shape[-1]
    if not hasattr(loss_fn, "check"):
        return values
    for labels in (indices, values, torch.cat([values, weights], dim=-1)):
        with contextlib.suppress(ValueError, TypeError):
            return loss_fn.check(predicts.softmax(-1), labels)
    raise ValueError(f"export_training_step: {loss_fn} takes no labels that fit its model")


def _named_state(model: Any) -> list[Port]:
    """Params and buffers by the names that a checkpoint has for them, `fc1.W`."""
    return [
        Port(f"{name}.{key}" if hasattr(model, "layers") else key, tensor, [*tensor.shape])
        for name, op in named_ops(model).items()
        for kind in ("params", "buffers")
        for key, tensor in dict_of(op, kind).items()
    ]


def _counters(optimizer: Optimizer, rows: int) -> set[str]:
    """What it keeps as numbers of Python: from now on tensors, with which it goes on to count."""
    counters = [kept for kept in optimizer.kept() if not isinstance(kept[1][kept[2]], Tensor)]
    for _, memory, name in counters:
        memory[name] = torch.tensor(rows, dtype=torch.float64)
    return {place for place, *_ in counters}


def _memory(optimizer: Optimizer, counters: set[str]) -> list[Port]:
    return [
        Port(place, memory[name], [*memory[name].shape], counts=place in counters)
        for place, memory, name in optimizer.kept()
    ]


def _take(tracing: Traced, ports: list[Port]) -> dict[str, Any]:
    """Name the tensors; what they hold now, as the file would be fed with it."""
    for port in ports:
        onnx_type(port.dtype)  # refuses what ONNX has not
        value = Value(tracing.graph, port.name, port.dtype, port.tensor.ndim)
        tracing.bind(port.tensor, value.to(port.tensor.dtype))
    return {port.name: port.tensor.to(port.dtype).numpy().copy() for port in ports}


def _give(tracing: Traced, ports: list[Port]) -> dict[str, Any]:
    for port in ports:
        tracing.graph.give(tracing.value(port.tensor).to(port.dtype), port.name)
    return {port.name: port.tensor.to(port.dtype).numpy().copy() for port in ports}


def _written(who: str, path: Path, trace: Callable[[int, bool], Trace]) -> Path:
    try:
        import onnx
    except ImportError:
        raise ImportError(f"{who}: needs the package onnx: pip install 'opnet[onnx]'") from None
    try:
        with own_randomness():
            _check_alike(first := trace(ROWS[0], False), trace(ROWS[1], False))
            _check_values(trace(ROWS[1], True))
    except Untraceable as error:
        raise ValueError(f"{who}: {error}") from error
    model = _proto(first)
    onnx.checker.check_model(model, full_check=True)
    write_whole(path, model.SerializeToString())
    return path


def _check_values(trace: Trace) -> None:
    """Untraceable where ONNX computes something else: a rule that does not fit its kernel."""
    from onnx.reference import ReferenceEvaluator

    fed = {port.name: trace.fed[port.name] for port in trace.inputs}
    found = ReferenceEvaluator(_proto(trace)).run(None, fed)
    for port, value in zip(trace.outputs, found, strict=True):
        if not numpy.allclose(value, trace.given[port.name], CLOSE, CLOSE, equal_nan=True):
            raise Untraceable(f"{port.name}: ONNX computes other values")


def _check_alike(first: Trace, second: Trace) -> None:
    """Untraceable, with the op, where the graphs are not the same on other rows and numbers."""
    for node, other in zip_longest(first.graph.nodes, second.graph.nodes):
        constants = [
            [graph.constants.get(name) for name in getattr(node, "input", ())]
            for graph in (first.graph, second.graph)
        ]
        if node != other or any(not _same(*pair) for pair in zip(*constants, strict=True)):
            where = (node or other).name.rpartition("/")[0]
            raise Untraceable(f"{where}: depends on the number of rows, or reads values back")


def _same(a: Tensor | None, b: Tensor | None) -> bool:
    return a is b or (
        a is not None and b is not None and a.shape == b.shape and bool((a == b).all())
    )


def _proto(trace: Trace) -> Any:
    from onnx import helper, numpy_helper

    def info(port: Port) -> Any:
        return helper.make_tensor_value_info(port.name, onnx_type(port.dtype), port.dims)

    nodes, constants = trace.graph.needed([port.name for port in trace.outputs])
    held = constants | {port.name: torch.from_numpy(trace.fed[port.name]) for port in trace.weights}
    graph = helper.make_graph(
        nodes,
        "opnet",
        [info(port) for port in trace.inputs],
        [info(port) for port in trace.outputs],
        [numpy_helper.from_array(tensor.numpy(), name) for name, tensor in held.items()],
    )
    opset = [helper.make_opsetid("", OPSET)]
    return helper.make_model(
        graph, producer_name="opnet", ir_version=IR_VERSION, opset_imports=opset
    )
