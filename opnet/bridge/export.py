"""Models, and whole training steps, as files of ONNX.

Both are traced: each kernel of torch that an op calls becomes a node by its rule, so that an op of
a learner's is written too. It is traced twice, on other rows and other numbers: what is not the
same both times would hold for those rows only.
"""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import check_path, plain
from ..gradcheck.copies import copy_of
from ..op import forward_of
from ..optimizer import Optimizer
from ..step import training_step
from ..summary import columns_of
from ..walk import check_model, dict_of, every_part, named_ops, set_training, state
from .file import Arrays, Port, Trace, arrays, written
from .traced import traced
from .values import Graph, Untraceable, Value

Comes = Callable[[int], list[Port]]  # rows -> inputs
Goes = Callable[[list[Port]], list[Port]]  # inputs -> outputs


def export_onnx(model: Any, path: str | Path) -> Path:
    """Write `outputs` = model(`inputs`) in eval mode as an ONNX file for any number of rows.

    inputs [N, I], outputs [N, O]; the weights are called as in a checkpoint, `fc1.W`. I is what the
    first op says that knows its own, by a W or an `input_size`. The file has passed ONNX's full
    check, and gave in ONNX's own evaluation what the model gives, on many rows and on one. It
    stands whole or not at all. ValueError that names the op, and the kernel, for what has no rule,
    reads values back, draws, or depends on the number of rows, and for a model that does not run on
    I columns; TypeError for no model; ImportError without the package onnx:
    `pip install 'opnet[onnx]'`.
    Source: ONNX, opset 18.
    """
    check_model("export_onnx", model)
    path = check_path("export_onnx: path", path)
    return written("export_onnx", path, lambda *how: _forward(model, *how))


def export_training_step(model: Any, loss_fn: Any, optimizer: Any, path: str | Path) -> Path:
    """Write forward, backward and update as one ONNX graph: what runs it, trains.

    Inputs: X [N, I], y, as the loss takes it, lr, each param (`fc1.W`) and buffer, and what the
    optimizer keeps (`fc1.W.mean`). Outputs: loss, and of each of these the value after the step,
    as `fc1.W.next`. What cannot be written is refused as by `export_onnx`, as are ops that draw,
    and ops and optimizers that keep from step to step what is none of these.
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
    return written("export_training_step", path, lambda *how: _step(parts, *how))


def _forward(model: Any, rows: int, wide: bool) -> Trace:
    graph, model, columns = Graph(rows), copy_of(model, wide=wide), columns_of(model)
    set_training(every_part(model), False)
    width = columns or _few(rows)

    def comes(rows: int) -> list[Port]:
        X, _ = _tried(model, [rows, width], wide)
        return [Port("inputs", X, ["rows", columns or "columns"])]

    def goes(inputs: list[Port]) -> list[Port]:
        outputs = forward_of(model)(inputs[0].tensor)
        free = outputs.shape[1:] if columns else [None] * (outputs.ndim - 1)
        return [Port("outputs", outputs, ["rows", *free])]

    return _traced(graph, model, _named_state(model), comes, goes)


def _step(parts: tuple[Any, Any, Any], rows: int, wide: bool) -> Trace:
    graph, (model, loss_fn, optimizer) = Graph(rows), copy_of(parts, wide=wide)
    set_training(every_part(model), True)
    optimizer.lr = torch.tensor(0.1 / _few(rows), dtype=torch.float64)
    counters = _counters(optimizer, _few(rows))
    width = columns_of(model) or _few(rows)

    def kept() -> list[Port]:
        return [*_named_state(model), *_memory(optimizer, counters)]

    def comes(rows: int) -> list[Port]:
        X, predicts = _tried(model, [rows, width], wide)
        y = _labels(loss_fn, predicts)
        given = [Port("X", X, ["rows", *X.shape[1:]]), Port("y", y, ["rows", *y.shape[1:]])]
        return [*given, Port("lr", optimizer.lr, []), *kept()]

    def goes(inputs: list[Port]) -> list[Port]:
        graph.scope = "step"
        X, y, *_ = inputs
        _, loss = training_step(model, loss_fn, optimizer, X.tensor, y.tensor)
        after = [port._replace(name=f"{port.name}.next") for port in kept()]
        return [Port("loss", loss, []), *after]

    return _traced(graph, model, [], comes, goes)


def _traced(graph: Graph, model: Any, weights: list[Port], comes: Comes, goes: Goes) -> Trace:
    inputs = comes(graph.rows)
    fed = arrays([*inputs, *weights])
    with traced(graph, model) as tracing:
        for port in (*inputs, *weights):
            value = Value(graph, port.name, port.dtype, port.tensor.ndim)
            tracing.bind(port.tensor, value.to(port.tensor.dtype))
        outputs = goes(inputs)
        tracing.check_used()
        for port in outputs:
            graph.give(tracing.value(port.tensor).to(port.dtype), port.name)

    @torch.no_grad()
    def again(rows: int) -> tuple[Arrays, Arrays]:
        inputs = comes(rows)
        fed = arrays(inputs)
        return fed, arrays(goes(inputs))

    return Trace(graph, inputs, weights, outputs, fed, arrays(outputs), again)


def _few(rows: int) -> int:
    """A small number, another one in each trace."""
    return rows % 100


def _tried(model: Any, shape: list[int], wide: bool) -> tuple[Tensor, Tensor]:
    """Rows that the model runs on, and its outputs."""
    like = next((t for t in state(model) if t.is_floating_point()), torch.empty(0))
    X = torch.randn(shape, generator=torch.Generator().manual_seed(shape[0]))
    X = X.to(torch.float64 if wide else like.dtype)
    try:
        return X, forward_of(model)(X)
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        if wide:
            raise
        said = (
            f"{type(model).__name__} does not run on {shape[1]} columns: {plain(error, most=120)}"
        )
        raise Untraceable(f"{said}; an op tells its own by input_size") from error


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


def _counters(optimizer: Optimizer, start: int) -> set[str]:
    """What it keeps as numbers of Python: from now on tensors, with which it goes on to count."""
    counters = [kept for kept in optimizer.kept() if not isinstance(kept[1][kept[2]], Tensor)]
    for _, memory, name in counters:
        memory[name] = torch.tensor(start, dtype=torch.float64)
    return {place for place, *_ in counters}


def _memory(optimizer: Optimizer, counters: set[str]) -> list[Port]:
    return [
        Port(place, memory[name], [*memory[name].shape], counts=place in counters)
        for place, memory, name in optimizer.kept()
    ]
