"""One forward and backward walk of copies: what each op met, and what is to be said of it."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..gradcheck.copies import copy_of
from ..gradcheck.subject import own_randomness
from ..op import has_halves
from ..summary import formula_of
from ..tensors import as_matrix, as_tensor
from ..walk import (
    attributes,
    check_model,
    check_places,
    dict_of,
    every_part,
    leaf_ops,
    named_ops,
    set_training,
    state,
)
from .rules import inputs_rule, outputs_rule, param_rule, source_of
from .table import MOST_COLUMNS, MOST_ROWS, MOST_UNITS, Line, Shown, Trace
from .units import (
    dead_by_gradient,
    dead_by_slopes,
    gradient_by_unit,
    saturated_by_unit,
    slopes_of,
)

Tensors = dict[str, Tensor]


def trace(model: Any, loss_fn: Any, X: Any, y: Any, optimizer: Any = None) -> Trace:
    """What each op does with the rows X, y in one step of training, which is not made.

    X [N, I] and y are what the model and the loss take. Of each op: mean and spread of its outputs
    and of dL/d outputs over all rows and columns, and two shares. Saturated are the elements of an
    activation whose slope is below a twentieth of its largest. Dead are the units of an activation
    whose slope is 0 on every row, and of an op with params the units whose params, biases too, have
    no gradient. With an `optimizer`, also |update| / |params| of the step that it would take. The
    walk is one of copies, in training mode: model, loss, optimizer and random numbers stay as they
    are. TypeError or ValueError for what the model, the loss or the optimizer do not take.
    """
    _check(model, loss_fn, optimizer)
    with own_randomness(), torch.no_grad():
        model, loss_fn, optimizer = copy_of((model, loss_fn, optimizer), wide=False)
        set_training(every_part(model), True)
        return _traced(model, loss_fn, _rows(model, X), y, optimizer)


def _check(model: Any, loss_fn: Any, optimizer: Any) -> None:
    check_model("trace", model)
    check_places(model)
    if isinstance(loss_fn, type) or not (callable(loss_fn) and hasattr(loss_fn, "backward")):
        raise TypeError(f"trace: loss_fn is {loss_fn!r:.80}, wanted a loss, with a backward")
    if optimizer is None:
        return
    if isinstance(optimizer, type) or not hasattr(optimizer, "step"):
        raise TypeError(f"trace: optimizer is {optimizer!r:.80}, wanted one, with a step")
    if isinstance(optimizer, torch.optim.Optimizer):
        came = f"{type(optimizer).__name__} of torch, which reads no grads of ops"
        raise TypeError(f"trace: optimizer is {came}, wanted one of opnet.optimizers' kind")
    if getattr(optimizer, "model", model) is not model:
        raise ValueError(f"trace: {type(optimizer).__name__} is of another model")


@dataclass
class _Met:
    """What an op has met in a walk: params before the step and, if there is one, after it."""

    inputs: Tensor
    outputs: Tensor
    upstream: Tensor | None = None
    sent_back: Tensor | None = None
    params: Tensors = field(default_factory=dict)
    grads: Tensors = field(default_factory=dict)
    moved: Tensors = field(default_factory=dict)


def _traced(model: Any, loss_fn: Any, X: Tensor, y: Any, optimizer: Any) -> Trace:
    ops = named_ops(model)
    alone = {name: copy_of(op, wide=False) for name, op in ops.items() if not dict_of(op, "params")}
    met: dict[str, _Met] = {}
    for name, op in ops.items():
        _watch(name, op, met)
    predicts = model(X) if callable(model) else model.forward(X)
    loss = loss_fn(predicts, y)
    of_predicts = loss_fn.backward_inputs() if has_halves(loss_fn) else None
    loss_fn.backward() if of_predicts is None else _walk_of(model)(of_predicts)
    for name, seen in met.items():
        seen.params, seen.grads = _held(ops[name], "params"), _held(ops[name], "grads")
    if optimizer is not None:
        optimizer.step()
        for name, seen in met.items():
            seen.moved = _held(ops[name], "params")
    names = [*met]
    sent_back = [(f"dL/d inputs of {name}", met[name].sent_back) for name in names[1:]]
    lines = [
        _line(name, ops[name], met[name], _source_of_g(met[name], *above), alone.get(name))
        for name, above in zip(names, [*sent_back, ("dL/d predictions", of_predicts)], strict=True)
    ]
    lines.append(_of_loss(loss_fn, predicts, getattr(loss_fn, "labels", None), loss, of_predicts))
    return Trace(type(model).__name__, float(loss), lines)


def _walk_of(model: Any) -> Any:
    """The model's backward; a first op without halves need not give dL/d inputs, as in a step."""
    whole = has_halves(model) and not has_halves(next(leaf_ops(model)))
    return model.backward_params if whole else model.backward


def _source_of_g(met: _Met, name: str, sent_back: Tensor | None) -> str:
    """`g = dL/d inputs of act_fn1`, where that is what came: in a chain, but not beside a sum."""
    g = met.upstream
    if g is None or sent_back is None or g.shape != sent_back.shape:
        return "g = dL/d outputs"
    alike = torch.allclose(g, sent_back, rtol=0, atol=0, equal_nan=True)
    return f"g = {name}" if alike else "g = dL/d outputs"


def _rows(model: Any, X: Any) -> Tensor:
    like = next((t for t in state(model) if t.is_floating_point()), torch.empty(0))
    return as_tensor("trace: X", X, like).to(like)


def _watch(name: str, op: Any, met: dict[str, _Met]) -> None:
    """From now on what the op meets in its last call is noted."""
    half = "backward_inputs" if has_halves(op) else "backward"
    forward, backward = op.forward, getattr(op, half)

    def seen_forward(inputs: Tensor) -> Tensor:
        outputs = forward(inputs)
        met[name] = _Met(inputs.clone(), outputs.clone())
        return outputs

    def seen_backward(grads: Tensor) -> Tensor | None:
        sent_back = backward(grads)
        met[name].upstream = grads.clone()
        met[name].sent_back = None if sent_back is None else sent_back.clone()
        return sent_back

    attributes(op).update({"forward": seen_forward, half: seen_backward})


def _held(op: Any, kind: str) -> Tensors:
    return {key: t.clone() for key, t in dict_of(op, kind).items() if isinstance(t, Tensor)}


def _line(name: str, op: Any, met: _Met, g: str, alone: Any) -> Line:
    params, grads = met.params, {key: met.grads[key] for key in met.params if key in met.grads}
    forward = [_shown("inputs", met.inputs)]
    forward += [_shown(key, param) for key, param in params.items()]
    forward += [_shown("outputs", met.outputs, outputs_rule(op))]
    backward = []
    if met.upstream is not None:
        backward += [_shown("dL/d outputs", met.upstream, g)]
        backward += [_shown(f"dL/d{key}", g, param_rule(op, key)) for key, g in grads.items()]
    if met.sent_back is not None:
        backward += [_shown("dL/d inputs", met.sent_back, inputs_rule(op, params))]
    steps = {key: after - params[key] for key, after in met.moved.items()}
    backward += [_shown(f"step of {key}", step, "by the optimizer") for key, step in steps.items()]
    return Line(
        name,
        type(op).__name__,
        formula_of(op),
        source_of(op),
        forward,
        backward,
        **_of_units(met, grads, alone),
        gradient=_norm(grads) if grads else None,
        update=_norm(steps) / size if steps and (size := _norm(params)) else None,
    )


def _of_units(met: _Met, grads: Tensors, alone: Any) -> dict[str, Any]:
    """`saturated`, `dead` and `units` of a line, as far as its op has them."""
    if alone is not None and (slopes := slopes_of(alone, met.inputs)) is not None:
        flat = saturated_by_unit(slopes)
        shown = _shown("saturated", flat, "share of rows, unit by unit", MOST_UNITS)
        return {"saturated": float(flat.mean()), "dead": dead_by_slopes(slopes), "units": [shown]}
    norms = gradient_by_unit(grads, met.outputs.shape[-1])
    if norms is None:
        return {"units": []}
    shown = _shown("|dL/d params|", norms, "unit by unit, its bias too", MOST_UNITS)
    return {"dead": dead_by_gradient(norms), "units": [shown]}


def _of_loss(loss_fn: Any, predicts: Tensor, y: Any, loss: Any, sent_back: Any) -> Line:
    forward = [_shown("predictions", predicts)]
    forward += [_shown("labels", y)] if isinstance(y, Tensor) else []
    forward += [_shown("loss", torch.as_tensor(loss), outputs_rule(loss_fn))]
    backward = []
    if sent_back is not None:
        backward = [_shown("dL/d predictions", sent_back, inputs_rule(loss_fn, ()))]
    kind = type(loss_fn).__name__
    return Line(kind, kind, formula_of(loss_fn), source_of(loss_fn), forward, backward, [])


def _shown(name: str, tensor: Tensor, rule: str = "", most: int = MOST_COLUMNS) -> Shown:
    shape, values = list(tensor.shape), tensor.double()
    matrix = as_matrix(torch.atleast_2d(values))[:MOST_ROWS, :most]
    mean, spread = float(values.mean()), float(values.std(correction=0))
    return Shown(name, rule, shape, mean, spread, matrix.tolist())


def _norm(tensors: Tensors) -> float:
    return sum(float(t.double().square().sum()) for t in tensors.values()) ** 0.5
