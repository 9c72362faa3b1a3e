"""What becomes of single units: whether an activation still has a slope, a param a gradient."""

from typing import Any

import torch
from torch import Tensor

from ..op import has_halves
from ..tensors import as_matrix
from ..walk import dict_of

REACH, STEPS = 8.0, 801  # where the largest slope of an activation is looked for
FLAT = 1 / 20  # of the largest slope: below, an element is saturated


def slopes_of(op: Any, inputs: Tensor) -> Tensor | None:
    """|dy/dx| at each element over its largest value; None where y depends on more than one x.

    The op runs again, so it has to be a copy.
    """
    if dict_of(op, "params") or inputs.ndim < 2 or not _by_element(op, inputs):
        return None
    grid = torch.linspace(-REACH, REACH, STEPS).to(inputs)[:, None].expand(-1, inputs.shape[-1])
    largest = _slopes(op, grid.contiguous()).max()
    return _slopes(op, inputs) / largest if largest > 0 else None


def saturated_by_unit(slopes: Tensor) -> Tensor:
    """The share of rows [1, O] on which each unit is saturated."""
    return (as_matrix(slopes) < FLAT).double().mean(dim=0, keepdim=True)


def dead_by_slopes(slopes: Tensor) -> float:
    """The share of units whose slope is 0 on every row."""
    return _share((as_matrix(slopes) == 0).all(dim=0))


def gradient_by_unit(grads: dict[str, Tensor], units: int) -> Tensor | None:
    """|dL/d params| of each unit [1, O], its biases too; None where params are not by units."""
    fit = [grad for grad in grads.values() if grad.ndim and grad.shape[-1] == units]
    if not fit or len(fit) < len(grads):
        return None
    return torch.cat([g.double().reshape(-1, units) for g in fit]).norm(dim=0, keepdim=True)


def dead_by_gradient(norms: Tensor) -> float:
    """The share of units that have no gradient at all."""
    return _share(norms == 0)


def _by_element(op: Any, inputs: Tensor) -> bool:
    """Whether each y depends on the x at its place only, as far as moving one of them tells."""
    outputs = op.forward(inputs.clone()).clone()
    if outputs.shape != inputs.shape:
        return False
    moved = inputs.clone()
    moved.reshape(-1)[0] += 1
    changed = op.forward(moved) != outputs
    changed.view(-1)[0] = False
    return not changed.any()


def _slopes(op: Any, inputs: Tensor) -> Tensor:
    ones = torch.ones_like(op.forward(inputs))
    return (op.backward_inputs if has_halves(op) else op.backward)(ones).abs()


def _share(found: Tensor) -> float:
    return float(found.double().mean())
