"""Walks down a surface, as the points they pass: by a rule of opnet, by one of torch.optim."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

import opnet
from experiments.surfaces import Surface


def by_opnet(rule: str, surface: type[Surface], lr: float, steps: int, **options: Any) -> Tensor:
    """[steps + 1, 2]: the slope is the one that the surface has written by hand."""
    op = surface()
    optimizer = getattr(opnet, rule)(lr, op, **options)
    offset, one = torch.zeros(1, 2, dtype=torch.float64), torch.ones(1, 1, dtype=torch.float64)

    def step() -> None:
        op(offset)
        op.backward_params(one)  # dy/dy
        optimizer.step()

    return _points(op.params["p"], step, steps)


def by_torch(rule: str, surface: type[Surface], lr: float, steps: int, **options: Any) -> Tensor:
    """[steps + 1, 2]: the slope is that of torch.autograd."""
    p = torch.tensor([surface.start], dtype=torch.float64, requires_grad=True)
    optimizer = getattr(torch.optim, rule)([p], lr=lr, **options)

    def step() -> None:
        optimizer.zero_grad()
        surface.f(*p.T).backward()
        optimizer.step()

    return _points(p, step, steps)


def apart(ours: Tensor, theirs: Tensor) -> float:
    """max |p - q| / |q| over the points p of one walk and q of another."""
    return float(((ours - theirs).norm(dim=1) / theirs.norm(dim=1)).max())


def _points(p: Tensor, step: Callable[[], None], steps: int) -> Tensor:
    points = p.detach().repeat(steps + 1, 1)
    for i in range(steps):
        step()
        points[i + 1] = p.detach()
    return points
