"""From a trace to a file of ONNX: refused where it would not hold, else written as a whole."""

from collections.abc import Callable
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

import numpy
import torch
from torch import Tensor

from ..errors import plain
from ..files import write_whole
from ..gradcheck import wide_by_default
from ..gradcheck.subject import own_randomness
from .values import IR_VERSION, OPSET, Graph, Untraceable, onnx_type

ROWS = (1009, 1013)  # of the two traces; no size of a net should be a multiple of them
WHY = "which asks how many rows there are, or reads what no input of the file holds"
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


Arrays = dict[str, Any]  # NumPy's, by the names of a file's inputs or outputs


class Trace(NamedTuple):
    """A graph with its inputs, the weights that it holds, its outputs, and what came and went.

    `again` runs what was traced once more, as it is now, on so many rows: what comes and goes then.
    """

    graph: Graph
    inputs: list[Port]
    weights: list[Port]
    outputs: list[Port]
    fed: Arrays
    given: Arrays
    again: Callable[[int], tuple[Arrays, Arrays]]


def arrays(ports: list[Port]) -> Arrays:
    """What the tensors hold now, as a file would be fed with it."""
    for port in ports:
        onnx_type(port.dtype)  # refuses what ONNX has not
    return {port.name: port.tensor.to(port.dtype).numpy().copy() for port in ports}


def written(who: str, path: Path, trace: Callable[[int, bool], Trace]) -> Path:
    """The path, once the file stands there; `trace` takes a number of rows, and if in float64."""
    try:
        import onnx
    except ImportError:
        raise ImportError(f"{who}: needs the package onnx: pip install 'opnet[onnx]'") from None
    try:
        with own_randomness():
            first = trace(ROWS[0], False)
            _check_alike(first, trace(ROWS[1], False))
            _check_values(trace)
        model = _proto(first)
        onnx.checker.check_model(model, full_check=True)
    except (
        Untraceable,
        onnx.checker.ValidationError,
        onnx.shape_inference.InferenceError,
    ) as error:
        raise ValueError(f"{who}: {plain(error, most=300)}") from error
    write_whole(path, model.SerializeToString())
    return path


def _check_alike(first: Trace, second: Trace) -> None:
    """Untraceable, with the op, where the graphs are not the same on other rows and numbers.

    So is one into which a number of these rows has come on its way through Python.
    """
    for node, other in zip_longest(first.graph.nodes, second.graph.nodes):
        constants = [
            [graph.constants.get(name) for name in getattr(node, "input", ())]
            for graph in (first.graph, second.graph)
        ]
        if node != other or not all(map(_same, *constants)):
            where = (node or other).name.rpartition("/")[0]
            raise Untraceable(f"{where}: depends on the number of rows")


def _same(a: Tensor | None, b: Tensor | None) -> bool:
    if a is None or b is None:
        return a is b
    return a.dtype == b.dtype and torch.equal(a, b)


def _check_values(traced_on: Callable[[int, bool], Trace]) -> None:
    """Untraceable where ONNX computes something else, also when what was traced runs again.

    So it does where a rule does not fit its kernel; where Python asks for the number of rows, as
    the second run has one; and where an op or an optimizer keeps what no file is fed with.
    """
    try:
        with wide_by_default():
            trace = traced_on(ROWS[1], True)
            runs = [("", trace.fed, trace.given)]
            for rows, when in ((1, "on 1 row"), (ROWS[0], f"on {ROWS[0]} rows")):
                runs.append((f" than a second run, {when}, {WHY}", *trace.again(rows)))
    except Untraceable:
        raise
    except (RuntimeError, ValueError) as error:
        said = f"does not run in float64, or on 1 row, to compare values: {plain(error)}"
        raise Untraceable(said) from error
    computes = _evaluator(_proto(trace))
    for when, fed, given in runs:
        _compare(computes, trace, fed, given, when)


def _compare(computes: Any, trace: Trace, fed: Arrays, given: Arrays, when: str) -> None:
    try:
        found = computes.run(None, {port.name: fed[port.name] for port in trace.inputs})
    except Exception as error:  # of any kind, as its nodes are NumPy
        raise Untraceable(f"ONNX does not compute it: {plain(error)}") from error
    for port, value in zip(trace.outputs, found, strict=True):
        if not numpy.allclose(value, given[port.name], CLOSE, CLOSE, equal_nan=True):
            raise Untraceable(f"{port.name}: ONNX computes other values{when}")


def _evaluator(model: Any) -> Any:
    from onnx.reference import ReferenceEvaluator
    from onnx.reference.op_run import OpRun

    class Erf(OpRun):
        """In the precision of x, which ONNX's own has not."""

        op_domain = ""

        def _run(self, x: Any) -> tuple[Any]:
            return (torch.from_numpy(numpy.asarray(x)).erf().numpy(),)

    return ReferenceEvaluator(model, new_ops=[Erf])


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
