"""Thermometer (DLWPT 5): the curvature of its loss, and the rates at which the descent diverges.

    L = |A p - t_c|^2 / n,    dL/dp = 2/n A^T (A p - t_c),    d2L/dp2 = H = 2/n A^T A

p = [w, b], a row [x, 1] of A for each reading. A step along -lr dL/dp multiplies the distance to
the minimum, in the direction of an eigenvalue lambda of H, by 1 - lr lambda: it grows above
lr = 2 / lambda_max, and below it shrinks the slower, the larger the condition number
lambda_max / lambda_min is. x = 0.1 t_u instead of t_u mends most of it.
"""

import argparse
from collections.abc import Iterator
from typing import Any

from experiments import cli, flags
from experiments.rows import Outcome, Row
from experiments.sources import Source
from experiments.thermometer import LEAST, T_C, T_U

INPUTS = {"t_u": (1.0, "3.3994e-4", "33598.9"), "0.1 t_u": (0.1, "0.032978", "357.0")}  # as printed
EPOCHS = 100
EDGES = (0.99, 1.01)  # just below and just above the largest stable rate
RATES = (-6.0, -1.0, 501)  # of the figure: from 10^-6 to 10^-1
DLWPT = Source("DLWPT 5")


def arguments() -> argparse.ArgumentParser:
    return flags.parser("thermometer_rates", __doc__)


def main(settings: argparse.Namespace) -> Outcome:
    import torch

    t_u, t_c = (torch.tensor(t, dtype=torch.float64)[:, None] for t in (T_U, T_C))
    lr = torch.logspace(*RATES, dtype=torch.float64)
    rows, curves = [], {}
    for name, (scale, stable, condition) in INPUTS.items():
        A = torch.cat([scale * t_u, torch.ones_like(t_u)], dim=1)
        rate = 2 / largest_and_smallest(hessian_by_hand(A, t_c))[0]
        rows += [*curvature(name, stable, condition, A, t_c), edge(name, rate, A, t_c)]
        curves[name] = float(rate), lr, loss_after(lr, A, t_c)
    return Outcome(rows, {} if settings.no_figures else {"rates": drawn(curves)})


def hessian_by_hand(A: Any, t_c: Any) -> Any:
    return 2 / len(A) * A.T @ A


def hessian_by_autograd(A: Any, t_c: Any) -> Any:
    import torch

    def loss(p: Any) -> Any:
        return ((A @ p - t_c) ** 2).mean()

    return torch.autograd.functional.hessian(loss, A.new_zeros(2, 1)).reshape(2, 2)


def largest_and_smallest(H: Any) -> tuple[Any, Any]:
    """The eigenvalues of H."""
    import torch

    smallest, largest = torch.linalg.eigvalsh(H)
    return largest, smallest


def curvature(name: str, rate: str, condition: str, A: Any, t_c: Any) -> Iterator[Row]:
    """2 / lambda_max and lambda_max / lambda_min."""
    for hessian in (hessian_by_hand, hessian_by_autograd):
        largest, smallest = largest_and_smallest(hessian(A, t_c))
        what = f"x = {name}, {hessian.__name__}"
        yield DLWPT.printed(f"{what}: largest stable rate", rate, 2 / largest)
        yield DLWPT.printed(f"{what}: condition number", condition, largest / smallest)


def edge(name: str, rate: Any, A: Any, t_c: Any) -> Row:
    """What happens just below and just above the largest stable rate."""
    start, below, above = loss_after(rate * A.new_tensor([0, *EDGES]), A, t_c)
    what = f"x = {name}: loss after {EPOCHS} epochs at 0, {EDGES[0]}, {EDGES[1]} times that rate"
    holds = bool(below < start < above)
    return DLWPT.states(what, "diverges above it only", [start, below, above], holds)


def loss_after(lr: Any, A: Any, t_c: Any) -> Any:
    """The loss after EPOCHS epochs from w = 1, b = 0, for each rate of `lr`: a column of p each."""
    p = A.new_tensor([[1.0], [0.0]]).repeat(1, len(lr))
    for _ in range(EPOCHS):
        p -= lr * (2 / len(A) * A.T @ (A @ p - t_c))
    return ((A @ p - t_c) ** 2).mean(dim=0)


def drawn(curves: dict[str, Any]) -> Any:
    """The loss against the rate, for both scales."""
    from opnet import plots

    figure, axes = plots.figure()
    for name, (rate, lr, loss) in curves.items():
        shown = loss < 1e30  # the rest has left the figure
        (line,) = axes.loglog(lr[shown], loss[shown], label=f"x = {name}")
        axes.axvline(rate, color=line.get_color(), linewidth=0.8, linestyle=":")
        axes.text(rate, 4e4, f"2/λ = {rate:.3g} ", color=line.get_color(), ha="right")
    axes.axhline(LEAST, color="grey", linewidth=0.8, linestyle="-")
    axes.text(lr[0], LEAST * 1.1, " the best line", color="grey")
    axes.set(xlabel="learning rate", ylabel=f"loss after {EPOCHS} epochs", ylim=(2, 1e5))
    axes.legend(loc="upper left")
    return figure


if __name__ == "__main__":
    cli.run(arguments(), main)
