"""Thermometer (DLWPT 5): the slopes of its loss in three ways, and where they are 0.

L = mean((w x + b - t_c)^2),    dL/dw = mean(2 (w x + b - t_c) x),    dL/db = mean(2 (...))
central difference: dL/dw = (L(w + d, b) - L(w - d, b)) / 2d, exact for a parabola
minimum: with A = [x, 1], p = [w, b], dL/dp = 2/n A^T (A p - t_c) = 0 at A^T A p = A^T t_c
"""

import argparse
from collections.abc import Iterator
from typing import Any

from experiments import cli, flags
from experiments.rows import Outcome, Row
from experiments.sources import Source
from experiments.thermometer import LEAST, T_C, T_U, by_hand

DELTA, LR = 0.1, 1e-2  # of the central differences; of the step along them
SCALE, EPOCHS, DOT = 0.1, 5000, 100  # the figure: x = 0.1 t_u, the path of the descent
W, B = (-1, 8), (-25, 8)  # its limits
DLWPT = Source("DLWPT 5")


def arguments() -> argparse.ArgumentParser:
    return flags.parser("thermometer_slopes", __doc__)


def main(settings: argparse.Namespace) -> Outcome:
    import torch

    t_u, t_c = (torch.tensor(t)[:, None].to(settings.device) for t in (T_U, T_C))
    rows = [*slopes(t_u, t_c), *differences(t_u.cpu(), t_c.cpu())]  # the source's own rounding
    best = minimum()
    rows.append(DLWPT.printed("0.1 t_u: w, b in closed form", "5.36771909 -17.30478540", best))
    w, b = best
    least = loss_at(w, b, SCALE * torch.tensor(T_U).double(), torch.tensor(T_C).double())
    rows.append(DLWPT.printed("0.1 t_u: the loss there", f"{LEAST}", least))
    return Outcome(rows, {} if settings.no_figures else {"surface": drawn(t_u, t_c, best)})


def loss_at(w: Any, b: Any, x: Any, t_c: Any) -> Any:
    return ((w * x + b - t_c) ** 2).mean(0)


def slopes(t_u: Any, t_c: Any) -> Iterator[Row]:
    """L, dL/dw and dL/db at w = 1, b = 0, by hand and by autograd."""
    import torch

    from opnet import Linear, MeanSquaredErrorLoss

    line = Linear(1, 1, weight_init=torch.ones, device=t_u.device)
    loss_fn = MeanSquaredErrorLoss(line)
    loss = loss_fn(line(t_u), t_c)
    loss_fn.backward()
    found = {"by_hand": [loss, *line.grads.values()]}

    w, b = (torch.tensor([at], device=t_u.device, requires_grad=True) for at in (1.0, 0.0))
    loss = loss_at(w, b, t_u, t_c)
    found["by_autograd"] = [loss.detach(), *torch.autograd.grad(loss, [w, b])]
    for how, (loss, *grads) in found.items():
        yield DLWPT.printed(f"t_u: first loss, {how}", "1763.8846", loss)
        yield DLWPT.printed(f"t_u: gradient at w = 1, b = 0, {how}", "4517.2969 82.6000", grads)


def differences(x: Any, t_c: Any) -> Iterator[Row]:
    """dL/dw and dL/db by central differences, both at w = 1, b = 0; then with a step between."""
    d = DELTA
    dw = (loss_at(1 + d, 0, x, t_c) - loss_at(1 - d, 0, x, t_c)) / (2 * d)
    db = (loss_at(1, d, x, t_c) - loss_at(1, -d, x, t_c)) / (2 * d)
    why = "82.6 but for the rounding of float32"
    yield DLWPT.printed(f"t_u: central difference, delta {d}", "4517.29736 82.59949", [dw, db], why)

    w = 1 - LR * dw  # the source has moved w when it differentiates by b
    late = (loss_at(w, d, x, t_c) - loss_at(w, -d, x, t_c)) / (2 * d)
    why = f"moves w before it differentiates by b, and so goes to b = {float(-LR * late):+.2f}"
    yield DLWPT.wrong(f"t_u: b after that step, lr {LR:g}", "46", "-0.826", -LR * db, why)


def minimum() -> Any:
    """p = [w, b] at A^T A p = A^T t_c, in float64."""
    import torch

    x, t_c = (torch.tensor(t, dtype=torch.float64) for t in (T_U, T_C))
    A = torch.stack([SCALE * x, torch.ones_like(x)], dim=1)
    return torch.linalg.solve(A.T @ A, A.T @ t_c)


def drawn(t_u: Any, t_c: Any, best: Any) -> Any:
    """Contours of the loss over w and b, with the path of the descent to its minimum."""
    import torch

    from opnet import plots

    figure, axes = plots.figure()
    w, b = torch.linspace(*W, 200), torch.linspace(*B, 200)
    x, y = SCALE * t_u, t_c
    loss = loss_at(w, b[:, None], x.cpu()[..., None], y.cpu()[..., None])
    levels = LEAST * torch.logspace(0.1, 2.8, 10)
    lines = axes.contour(w, b, loss, levels=levels, colors="grey", linestyles="-", linewidths=0.8)
    axes.clabel(lines, levels[1:], fmt="%.0f", fontsize=8)
    epoch = by_hand("SGD", LR, x, y)
    path = torch.stack([epoch() for _ in range(EPOCHS)])[:, 1:].T.cpu()
    label = f"descent at lr {LR:g}, a dot every {DOT} epochs"
    axes.plot([1, *path[0]], [0, *path[1]], marker=".", markevery=DOT, label=label)
    axes.plot(1, 0, "o", color="black", label="start")
    axes.plot(*best, "*", color="black", markersize=11, label="minimum")
    axes.set(xlabel="w", ylabel="b (°C)", title="mean squared error of t_c = w 0.1 t_u + b")
    axes.legend(loc="lower left", frameon=True, framealpha=1, edgecolor="white")
    return figure


if __name__ == "__main__":
    cli.run(arguments(), main)
