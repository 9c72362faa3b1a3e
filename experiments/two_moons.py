"""What the experiments on two moons share: the book's draw, the best that can be reached, a run."""

import math
from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from experiments import side_by_side
from opnet import BinaryCrossEntropyLoss, Linear, Logistic, Model_MLP_L2, Sequential
from opnet.data import Rows

SIZES = (640, 160, 200)  # rows of train, dev, test
POINTS = 200  # of the grid on each axis, and of each half circle
REACH = 6.0  # standard deviations around the moons: beyond it lie 4e-9 of the rows
NO_OVERLAP = 0.02  # from here down the moons, 0.5 apart, do not meet


def book_moons(noise: float, generator: torch.Generator) -> list[Rows]:
    """Train, dev and test rows as the torch port of NNDL 4.2 draws them: shuffled, then noise."""
    t = torch.linspace(0, math.pi, sum(SIZES) // 2)
    x1 = torch.cat([torch.cos(t), 1 - torch.cos(t)])
    x2 = torch.cat([torch.sin(t), 0.5 - torch.sin(t)])
    y = torch.cat([torch.zeros_like(t), torch.ones_like(t)]).unsqueeze(1)
    order = torch.randperm(sum(SIZES), generator=generator)
    X = torch.stack([x1, x2], dim=1)[order]
    X += noise * torch.randn(X.shape, generator=generator)
    return [[*rows] for rows in zip(X.split(SIZES), y[order].split(SIZES), strict=True)]


def bayes_limit(noise: float) -> tuple[float, float]:
    """(accuracy, cross-entropy) of the best classifier, which knows the densities p0 and p1.

    accuracy = 1/2 int max(p0, p1),  cross-entropy = -int p0 log(p0 / (p0 + p1)): class 1 gives the
    same, for p1(x) = p0((1, 1/2) - x). Both on a grid that has this symmetry.
    """
    noise = max(noise, NO_OVERLAP)
    x1, dx1 = _axis(-1, 2, noise)
    x2, dx2 = _axis(-0.5, 1, noise)
    p0 = half_circle(x1, x2, noise)
    p1 = p0.flip(0, 1)
    accuracy = torch.maximum(p0, p1).sum() / 2
    entropy = torch.xlogy(p0, p0 + p1) - torch.xlogy(p0, p0)
    return float(accuracy * dx1 * dx2), float(entropy.sum() * dx1 * dx2)


def half_circle(x1: Tensor, x2: Tensor, noise: float) -> Tensor:
    """p0(x1, x2) = 1/pi int_0^pi N(x1; cos t, noise^2) N(x2; sin t, noise^2) dt, on a grid.

    The integrand is a product of one factor for each axis: the sum over t is a matrix product.
    """
    t = (torch.arange(POINTS, dtype=torch.float64) + 0.5) * math.pi / POINTS
    return _normal(x1, torch.cos(t), noise) @ _normal(x2, torch.sin(t), noise).T / POINTS


def _normal(x: Tensor, mean: Tensor, deviation: float) -> Tensor:
    """The normal density [len(x), len(mean)]."""
    z = (x[:, None] - mean) / deviation
    return torch.exp(-z.square() / 2) / (deviation * math.sqrt(2 * math.pi))


def _axis(low: float, high: float, noise: float) -> tuple[Tensor, Tensor]:
    """The grid's points on one axis, and their distance."""
    x = torch.linspace(low - REACH * noise, high + REACH * noise, POINTS, dtype=torch.float64)
    return x, x[1] - x[0]


class Result(NamedTuple):
    """A number for each seed; scores and test loss are those of the weights that were kept."""

    first_loss: list[float]
    last_loss: list[float]
    dev_score: list[float]
    test_score: list[float]
    test_loss: list[float]


def train(
    noise: float, seeds: range, device: str, epochs: Iterable[int], *, hidden: int, lr: float
) -> Result:
    """2-hidden-1 networks, for hidden=0 logistic regressions, from each of the seeds side by side.

    A seed draws its rows, then its weights; the weights of the best dev score are kept.
    """
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    sets = side_by_side.stacked([book_moons(noise, generator) for generator in generators])
    train_rows, dev_rows, test_rows = [[t.to(device) for t in rows] for rows in sets]
    model = side_by_side.networks([_network(hidden, generator) for generator in generators])
    model.to(device)
    _, first_loss = side_by_side.judge(model, train_rows)
    best = side_by_side.Best(model, dev_rows)
    loss_fn, rates = BinaryCrossEntropyLoss(model), [lr] * len(seeds)
    for _ in side_by_side.descend(model, loss_fn, train_rows, rates, epochs):
        best.offer()
    _, last_loss = side_by_side.judge(model, train_rows)
    best.restore()
    numbers = (first_loss, last_loss, best.score, *side_by_side.judge(model, test_rows))
    return Result(*(number.tolist() for number in numbers))


def _network(hidden: int, generator: torch.Generator) -> Sequential:
    if hidden:
        return Model_MLP_L2(2, hidden, 1, generator=generator)
    return Sequential(Linear(2, 1, generator=generator), Logistic())
