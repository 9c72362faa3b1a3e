"""A line, y = 3 x + 0.8, by torch.nn: not found in 300 steps, where the GPU example stops.

p = w x + b,  L = mean((p - y)^2),  q = [w, b];  L is a parabola over q with the minimum q* and
H = d2L/dq2 = 2 mean([x, 1]^T [x, 1]):
one step   q - lr dL/dq = q* + (1 - lr H) (q - q*)
k steps                   q* + (1 - lr H)^k (q - q*)

The Module, autograd and SGD make the first steps; one power of 1 - lr H, the rest in one leap.
"""

import argparse
from collections.abc import Iterator
from typing import Any

from experiments import cli, flags
from experiments.line import NAME, ROWS, B, W, draw
from experiments.rows import Outcome, Row
from experiments.sources import Source

LR, GPU_STEPS, STEPS, FULL = 1e-3, 300, 3000, 30_000  # STEPS with autograd, FULL in a leap
TRAINED = 0.01  # a loss that may be called trained
CLOSE = 1e-5  # what the rounding of float32 adds up to in STEPS


def arguments() -> argparse.ArgumentParser:
    return flags.parser("line_steps", __doc__, fast={"STEPS": 301, "FULL": 301})


def main(settings: argparse.Namespace) -> Outcome:
    import torch

    x, w, b = draw(settings)
    w, b = 2 * w - 1, 2 * b - 1  # torch.nn.Linear(1, 1) starts from [-1, 1]
    steps = cli.progress(range(STEPS), settings, "torch.nn")
    trail = torch.stack(list(by_nn(x, W * x + B, w, b, steps))).cpu()
    x, w, b = (t.cpu().double() for t in (x, w, b))
    rows = list(judged(Source(NAME, settings.seed), settings.device, trail, x, w, b))
    return Outcome(rows, {} if settings.no_figures else {"steps": drawn(x, w, b)})


def by_nn(x: Any, y: Any, w: Any, b: Any, steps: Any) -> Iterator[Any]:
    """The loss before every step, w and b after it: [3, seeds]."""
    import torch

    line = torch.nn.ParameterDict({"w": w.clone(), "b": b.clone()})
    optimizer = torch.optim.SGD(line.parameters(), lr=LR)
    for _ in steps:
        loss = ((line["w"] * x + line["b"] - y) ** 2).mean(dim=1, keepdim=True)
        optimizer.zero_grad()
        loss.sum().backward()
        optimizer.step()
        yield torch.cat([loss, line["w"], line["b"]], dim=1).detach().T


def leap(x: Any, w: Any, b: Any, steps: int) -> Any:
    """q after that many steps: w and b [seeds]. In float64."""
    import torch

    A = torch.stack([x, torch.ones_like(x)], dim=-1)  # [seeds, ROWS, 2]
    H, best = 2 / ROWS * A.mT @ A, A.new_tensor([[W], [B]])
    power = torch.linalg.matrix_power(torch.eye(2).to(A) - LR * H, steps)
    return (best + power @ (torch.stack([w, b], dim=1) - best)).squeeze(-1).T


def loss_at(q: Any, x: Any) -> Any:
    """L [seeds]."""
    w, b = q[..., None]
    return ((w * x + b - (W * x + B)) ** 2).mean(dim=1)


def judged(source: Source, device: str, trail: Any, x: Any, w: Any, b: Any) -> Iterator[Row]:
    apart = float((leap(x, w, b, STEPS) - trail[-1, 1:]).abs().max())
    what = f"{STEPS} steps in a leap: farthest w or b from torch.nn"
    yield source.states(what, "the same", apart, apart < CLOSE)

    stopped, full = trail[GPU_STEPS], leap(x, w, b, FULL)
    why = "no seed is printed" + ("" if "cuda" in device else "; no GPU here")
    what = f"torch.nn, {GPU_STEPS} steps on {device}"
    yield source.by_seed(f"{what}: loss", "about 0.5", stopped[0], (0.39, 3.4), why)
    yield source.by_seed(f"torch.nn, {FULL} steps: w", "about 2.96", full[0], (2.87, 2.99))
    yield source.by_seed(f"torch.nn, {FULL} steps: b", "about 0.82", full[1], (0.80, 0.87))
    counts = [int((loss < TRAINED).sum()) for loss in (stopped[0], loss_at(full, x))]
    what = f"seeds with a loss below {TRAINED} after {GPU_STEPS} and {FULL} steps"
    why = f"{GPU_STEPS} steps at {LR} are too few"
    yield source.wrong(what, f"trained after {GPU_STEPS}", f"0 {len(x)}", counts, why)


def drawn(x: Any, w: Any, b: Any) -> Any:
    """The line of one seed after some steps, beside its rows."""
    from opnet import plots

    figure, axes = plots.figure()
    for steps in (0, GPU_STEPS, STEPS, FULL):
        slope, height = leap(x, w, b, steps)[:, 0].tolist()
        label = f"after {steps} steps: {slope:.2f} x + {height:.2f}"
        axes.plot([0, 1], [height, slope + height], label=label)
    axes.plot(x[0], W * x[0] + B, "o", color="black", markersize=4, label=f"{W:g} x + {B:g}")
    axes.set(xlabel="x", ylabel="y")
    axes.legend()
    return figure


if __name__ == "__main__":
    cli.run(arguments(), main)
