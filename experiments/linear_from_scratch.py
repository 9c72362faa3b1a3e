"""Linear regression from scratch (D2L 3): opnet in mini-batches of 10, beside the source's loop.

    p = X w + b,    L = mean((p - y)^2 / 2),    dL/dw = X^T (p - y) / n,    dL/db = mean(p - y)

y = X [2, -3.4] + 4.2 + N(0, 0.01^2), 1000 rows, a step for each batch of n rows.
"""

import argparse
from typing import Any, NamedTuple

from experiments import cli, flags
from experiments.rows import Outcome
from experiments.sources import Source

W, B, NOISE, SPREAD = (2.0, -3.4), 4.2, 0.01, 0.01  # SPREAD of w at the start, where b is 0
ROWS, BATCH, EPOCHS, LR, SEEDS = 1000, 10, 3, 0.03, 20
EPOCH = ROWS // BATCH  # steps
PRINTED = ("0.042790", "0.000162", "0.000051")  # the loss after each epoch
BOUNDS = ((0.024, 0.053), (8.9e-5, 2.6e-4), (4.6e-5, 5.4e-5))
OF_FIVE = ("0.026 to 0.043", "1.0e-4 to 1.7e-4", "4.6e-5 to 5.4e-5")  # over the first five seeds
CLOSE = 1e-4  # what the rounding of float32 leaves of a loss, relative


class Draw(NamedTuple):
    """The rows, w to start from, and which rows are in which batch: [10] for each step."""

    X: Any
    y: Any
    w: Any
    batches: Any


def arguments() -> argparse.ArgumentParser:
    return flags.parser("linear_from_scratch", __doc__, fast={"SEEDS": 1})


def main(settings: argparse.Namespace) -> Outcome:
    import torch

    from opnet import HalfSquaredErrorLoss

    seeds = cli.progress(range(settings.seed, settings.seed + SEEDS), settings, "seeds")
    draws = [draw(seed, settings.device) for seed in seeds]
    trails = torch.stack([by_opnet(drawn_at, HalfSquaredErrorLoss, LR) for drawn_at in draws])

    source, rows = Source("D2L 3", settings.seed), []
    for epoch, losses in enumerate(trails[:, EPOCH - 1 :: EPOCH].T):
        what, why = f"loss after epoch {epoch + 1}", f"{OF_FIVE[epoch]} over the first five seeds"
        rows.append(source.by_seed(what, PRINTED[epoch], losses, BOUNDS[epoch], why))
    apart = float((by_autograd(draws[0]) / trails[0] - 1).abs().max())
    what = "losses of the source's loop and of opnet: farthest apart, relative"
    rows.append(source.states(what, "the same trajectory", apart, apart < CLOSE))
    return Outcome(rows, {} if settings.no_figures else drawn(draws[0], trails[0]))


def draw(seed: int, device: str) -> Draw:
    import torch

    generator = torch.Generator().manual_seed(seed)
    X, noise, w = (torch.randn(n, generator=generator) for n in ((ROWS, 2), (ROWS, 1), (2, 1)))
    y = X @ torch.tensor(W)[:, None] + B + NOISE * noise
    orders = torch.cat([torch.randperm(ROWS, generator=generator) for _ in range(EPOCHS)])
    return Draw(X.to(device), y.to(device), SPREAD * w.to(device), orders.to(device).split(BATCH))


def loss_on_all(rows: Draw, w: Any, b: Any) -> Any:
    return ((rows.X @ w + b - rows.y) ** 2 / 2).mean()


def by_opnet(rows: Draw, loss: Any, lr: float) -> Any:
    """The loss on all rows after every step: [steps]."""
    import torch

    from opnet import BatchGD, Linear
    from opnet.step import training_step

    line = Linear(2, 1, weight_init=rows.w.reshape, device=rows.w.device)
    loss_fn, optimizer, losses = loss(line), BatchGD(lr, line), []
    for batch in rows.batches:
        training_step(line, loss_fn, optimizer, rows.X[batch], rows.y[batch])
        losses.append(loss_on_all(rows, *line.params.values()))
    return torch.stack(losses)


def by_autograd(rows: Draw) -> Any:
    """The source's loop: autograd of the sum, which the step divides by the batch size."""
    import torch

    w, b, losses = rows.w.clone().requires_grad_(), rows.w.new_zeros(1).requires_grad_(), []
    for batch in rows.batches:
        ((rows.X[batch] @ w + b - rows.y[batch]) ** 2 / 2).sum().backward()
        with torch.no_grad():
            for param in (w, b):
                param -= LR * param.grad / BATCH
                param.grad.zero_()
            losses.append(loss_on_all(rows, w, b))
    return torch.stack(losses)


def drawn(rows: Draw, losses: Any) -> dict[str, Any]:
    """One seed: y over each feature; the loss on all rows."""
    from opnet import plots

    data, both = plots.figure(1, 2, width=8.0)
    for feature, axes in enumerate(both):
        axes.plot(rows.X[:, feature].cpu(), rows.y.cpu(), "o", markersize=1.5)
        axes.set(xlabel=f"x{feature + 1}", ylabel="y")
    loss, axes = plots.figure()
    axes.semilogy([step / EPOCH for step in range(1, len(losses) + 1)], losses.cpu())
    axes.axhline(NOISE**2 / 2, color="grey", linewidth=0.8, linestyle="-")
    axes.text(0, NOISE**2 / 2, "the noise", color="grey", va="bottom")
    axes.set(xlabel="epoch", ylabel="half squared error, all rows")
    return {"data": data, "loss": loss}


if __name__ == "__main__":
    cli.run(arguments(), main)
