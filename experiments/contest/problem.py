"""The rows, the start weights and the order of rows that all competitors are given."""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

from experiments.contest.cases import Case


class Unfit(Exception):
    """Why a competitor cannot do a case."""


class Histories(NamedTuple):
    """One number an epoch: of the weights before its update on the train set, after it on dev."""

    train_loss: list[float]
    train_score: list[float]
    dev_loss: list[float]
    dev_score: list[float]


@dataclass
class Problem:
    """A case with its data: float32 NumPy arrays, `weights` a pair W [I, O], b [1, O] a layer.

    `orders` holds the order of the rows in each epoch, where there are mini-batches.
    """

    case: Case
    X: Any
    y: Any
    X_dev: Any
    y_dev: Any
    weights: list[tuple[Any, Any]]
    orders: list[Any]
    seed: int
    device: str = "cpu"

    def sets(self) -> tuple[list[Any], list[Any]]:
        """The train set and the dev set as tensors on the device."""
        import torch

        pairs = (self.X, self.y), (self.X_dev, self.y_dev)
        train, dev = ([torch.from_numpy(part).to(self.device) for part in pair] for pair in pairs)
        return train, dev


def problem_of(case: Case, seed: int, device: str = "cpu") -> Problem:
    """The same for the same case and seed."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    X, y = _rows(case, seed, generator)
    weights = [
        ((torch.randn(i, o, generator=generator) / math.sqrt(i)).numpy(), torch.zeros(1, o).numpy())
        for i, o in zip(case.widths, case.widths[1:], strict=False)
    ]
    train, dev = slice(case.rows), slice(case.rows, None)
    rows = X[train], y[train], X[dev], y[dev]
    return Problem(case, *rows, weights, _orders(case, seed), seed, device)


def _rows(case: Case, seed: int, generator: Any) -> tuple[Any, Any]:
    """A grid to predict on, two moons, or in more dimensions a curved boundary; [N, I], [N, 1]."""
    import torch

    from opnet import make_moons

    if not case.epochs:
        ticks = torch.linspace(-math.pi, math.pi, math.isqrt(case.rows))
        return torch.cartesian_prod(ticks, ticks).numpy(), torch.zeros(len(ticks) ** 2, 1).numpy()
    count, inputs = case.rows + case.dev_rows, case.widths[0]
    if inputs == 2:
        X, y = make_moons(count, noise=0.2, seed=seed)
        return X.numpy(), y.numpy()
    X = torch.randn(count, inputs, generator=generator)
    return X.numpy(), (X[:, :1] + X[:, 1:2].square() > 1).float().numpy()


def _orders(case: Case, seed: int) -> list[Any]:
    """Those that `opnet.data.mini_batches` draws from a generator of the same seed."""
    import torch

    if case.batch_size is None:
        return []
    generator = torch.Generator().manual_seed(seed)
    return [torch.randperm(case.rows, generator=generator).numpy() for _ in range(case.epochs)]
