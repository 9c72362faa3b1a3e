"""A line, y = 3 x + 0.8: raw tensors with the slopes written out, beside them opnet.

p = w x + b,                     L = mean((p - y)^2)
dL/dw = mean(2 (p - y) x),       dL/db = mean(2 (p - y))

50 rows without noise, x uniform in [0, 1], for 20 seeds at once: x, y [seeds, 50], w, b [seeds, 1].
"""

import argparse
from typing import Any

from experiments import cli, flags
from experiments.rows import Outcome
from experiments.sources import Source

W, B, ROWS, SEEDS = 3.0, 0.8, 50, 20
LR, STEPS, MORE_STEPS = 0.01, 3000, 30_000
CLOSE = 1e-6  # what the rounding of float32 may add up to
NAME = "y = 3x + 0.8"


def arguments() -> argparse.ArgumentParser:
    return flags.parser("line", __doc__, fast={"STEPS": 300, "MORE_STEPS": 300})


def main(settings: argparse.Namespace) -> Outcome:
    import torch

    x, w, b = draw(settings)
    y, steps = W * x + B, cli.progress(range(MORE_STEPS), settings, "raw tensors")
    trail = torch.stack(list(by_tensors(x, y, w, b, steps)))
    losses, weights = by_opnet(x[0], y[0], w[0], b[0])

    source, rows = Source(NAME, settings.seed), []
    bounds = {STEPS: ((2.880, 2.988), (0.806, 0.861)), MORE_STEPS: ((2.9998, 3), (0.7999, 0.8001))}
    printed = {STEPS: ("2.9280", "0.8372"), MORE_STEPS: ("2.9999", "0.8000")}
    for count in (STEPS, MORE_STEPS):
        for place, name in enumerate("wb"):
            what, found = f"{name} after {count} steps", trail[count - 1, 1 + place]
            rows.append(source.by_seed(what, printed[count][place], found, bounds[count][place]))
    apart = [float((losses - trail[:STEPS, 0, 0]).abs().max())]
    apart.append(float((weights - trail[STEPS - 1, 1:, 0]).abs().max()))
    what = f"opnet, {STEPS} steps: farthest loss, w or b from raw tensors"
    rows.append(source.states(what, "the same trajectory", apart, max(apart) < CLOSE))
    return Outcome(rows, {} if settings.no_figures else drawn(x[0].cpu(), trail[..., 0].cpu()))


def draw(settings: argparse.Namespace) -> Any:
    """x, and w and b to start from, all in [0, 1], in the order in which the source draws them."""
    import torch

    seeds = range(settings.seed, settings.seed + SEEDS)
    draws = [torch.rand(ROWS + 2, generator=torch.Generator().manual_seed(s)) for s in seeds]
    return torch.stack(draws).to(settings.device).split([ROWS, 1, 1], dim=1)


def by_tensors(x: Any, y: Any, w: Any, b: Any, steps: Any) -> Any:
    """The loss before every step, w and b after it: [3, seeds]."""
    import torch

    for _ in steps:
        error = w * x + b - y
        loss = (error**2).mean(dim=1, keepdim=True)
        w = w - LR * (2 * error * x).mean(dim=1, keepdim=True)
        b = b - LR * (2 * error).mean(dim=1, keepdim=True)
        yield torch.cat([loss, w, b], dim=1).T


def by_opnet(x: Any, y: Any, w: Any, b: Any) -> tuple[Any, Any]:
    """The losses before every step, w and b after the last, for one seed."""
    import torch

    from opnet import BatchGD, Linear, MeanSquaredErrorLoss, Sequential
    from runners import RunnerV2_1

    model = Sequential(Linear(1, 1, "line", weight_init=w.reshape, bias_init=b.reshape))
    loss_fn, rows = MeanSquaredErrorLoss(model), [x[:, None], y[:, None]]
    runner = RunnerV2_1(model, BatchGD(LR, model), minus_largest_error, loss_fn)
    runner.train(rows, rows, num_epochs=STEPS, log_epochs=0, keep="last")
    weights = torch.cat(list(model.layers[0].params.values())).flatten()
    return torch.tensor(runner.train_loss, device=x.device), weights


def minus_largest_error(predicts: Any, labels: Any) -> Any:
    """-max |p - y|: a score, which rises as the line gets better."""
    return -(predicts - labels).abs().max()


def drawn(x: Any, trail: Any) -> dict[str, Any]:
    """One seed: its rows and lines; its loss."""
    from opnet import plots

    line, axes = plots.figure()
    for step in (1, 30, 300, STEPS):
        w, b = trail[step - 1, 1:].tolist()
        axes.plot([0, 1], [b, w + b], label=f"step {step}: {w:.2f} x + {b:.2f}")
    axes.plot(x, W * x + B, "o", color="black", markersize=4, label=f"rows of {W:g} x + {B:g}")
    axes.set(xlabel="x", ylabel="y")
    axes.legend()

    loss, axes = plots.figure()
    axes.loglog(range(1, MORE_STEPS + 1), trail[:, 0])
    where = {"ha": "right", "va": "center"}
    axes.text(5e3, trail[-1, 0], "lr dL/dw is lost in the rounding of w", **where)
    axes.set(xlabel="step", ylabel="mean squared error")
    return {"line": line, "loss": loss}


if __name__ == "__main__":
    cli.run(arguments(), main)
