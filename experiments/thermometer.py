"""Thermometer (DLWPT 5): a line through 11 readings by gradient descent, which first diverges.

    t_p = w x + b,                    L = mean((t_p - t_c)^2)
    dL/dw = mean(2 (t_p - t_c) x),    dL/db = mean(2 (t_p - t_c))

From w = 1, b = 0, on x = t_u or 0.1 t_u. The slopes are those of Linear and MeanSquaredErrorLoss;
beside them stand autograd and torch.optim.
"""

import argparse
from collections.abc import Callable
from typing import Any

from experiments import cli, flags
from experiments.rows import Outcome
from experiments.sources import Source

T_C = (0.5, 14.0, 15.0, 28.0, 11.0, 8.0, 3.0, -4.0, 6.0, 13.0, 21.0)
T_U = (35.7, 55.9, 58.2, 81.9, 56.3, 48.9, 33.9, 21.8, 48.4, 60.4, 68.4)
BY_HAND = {"SGD": "BatchGD", "Adam": "Adam"}  # of torch.optim: of opnet
LEAST = 2.92764548  # the loss of the best line, as experiments.thermometer_slopes finds it

FIRST, TO_2000, TO_5000 = (1, 2, 3, 10, 100), (500, 1000, 1500, 2000), tuple(range(500, 5001, 500))
DIVERGED = "1763.8847 5802484.5 19408029696 9.0901e34"
RAW = "1763.884644 323.090546 78.929634 29.105242 29.022669"
SCALED = "80.364342 37.574917 30.871077 29.030487 22.148710"
LONG = "7.860116 3.828538 3.092191 2.957697 2.933134 2.928648 2.927830 2.927680 2.927651 2.927648"
ADAM = "7.612903 3.086700 2.928578 2.927646"
FITS = (  # scale of t_u, rule, rate, epochs, what is printed: their losses, w and b after the last
    (1.0, "SGD", 1e-2, FIRST[:4], DIVERGED, "3.2144e17 5.6621e15"),
    (1.0, "SGD", 1e-2, (11,), "inf", ""),
    (1.0, "SGD", 1e-4, FIRST, RAW, "0.2327 -0.0438"),
    (0.1, "SGD", 1e-2, FIRST, SCALED, "2.7553 -2.5162"),
    (0.1, "SGD", 1e-2, TO_5000, LONG, "5.3671 -17.3012"),
    (1.0, "Adam", 0.1, TO_2000, ADAM, "0.5367 -17.3021"),
)


def arguments() -> argparse.ArgumentParser:
    return flags.parser("thermometer", __doc__, fast={"FITS": FITS[2:4]})


def main(settings: argparse.Namespace) -> Outcome:
    import torch

    t_u, t_c = (torch.tensor(t, device=settings.device)[:, None] for t in (T_U, T_C))
    dlwpt, rows, trails = Source("DLWPT 5"), [], {}
    for scale, rule, lr, epochs, losses, params in cli.progress(FITS, settings, "fits"):
        name = f"{'t_u' if scale == 1 else f'{scale} t_u'}, {rule}, lr {lr:g}"
        for fitted in (by_hand, by_autograd) if rule in BY_HAND else (by_autograd,):
            epoch = fitted(rule, lr, scale * t_u, t_c)
            trail = trails[name] = torch.stack([epoch() for _ in range(epochs[-1])])
            what, at = f"{name}, {fitted.__name__}", [epoch - 1 for epoch in epochs]
            counted = ", ".join(map(str, epochs))
            rows.append(dlwpt.printed(f"{what}: loss at epoch {counted}", losses, trail[at, 0]))
            if params:
                after = f"{what}: w, b after epoch {epochs[-1]}"
                rows.append(dlwpt.printed(after, params, trail[-1, 1:]))
    return Outcome(rows, {} if settings.no_figures else drawn(trails))


def by_hand(rule: str, lr: float, x: Any, t_c: Any) -> Callable[[], Any]:
    """A function that does an epoch: the loss before its step; w and b after it."""
    import torch

    import opnet
    from opnet.step import training_step

    line = opnet.Linear(1, 1, weight_init=torch.ones, device=x.device)
    loss_fn = opnet.MeanSquaredErrorLoss(line)
    optimizer = getattr(opnet, BY_HAND[rule])(lr, line)

    def epoch() -> Any:
        _, loss = training_step(line, loss_fn, optimizer, x, t_c)
        return torch.stack([loss, line.params["W"][0, 0], line.params["b"][0, 0]])

    return epoch


def by_autograd(rule: str, lr: float, x: Any, t_c: Any) -> Callable[[], Any]:
    """The same by autograd and torch.optim."""
    import torch

    w, b = (torch.tensor(start, device=x.device, requires_grad=True) for start in (1.0, 0.0))
    optimizer = getattr(torch.optim, rule)([w, b], lr=lr)

    def epoch() -> Any:
        loss = ((w * x + b - t_c) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return torch.stack([loss, w, b]).detach()

    return epoch


def drawn(trails: dict[str, Any]) -> dict[str, Any]:
    from opnet import plots

    *_, w, b = trails["0.1 t_u, SGD, lr 0.01"][-1].tolist()
    line, axes = plots.figure()
    ends = [min(T_U), max(T_U)]
    axes.plot(ends, [w * 0.1 * end + b for end in ends], label=f"{0.1 * w:.4f} t_u - {-b:.2f}")
    axes.plot(T_U, T_C, "o", color="black", label="readings")
    axes.set(xlabel="temperature (unknown unit)", ylabel="temperature (°C)")
    axes.legend()

    loss, axes = plots.figure()
    for name, trail in trails.items():
        axes.loglog(range(1, len(trail) + 1), trail[:, 0].cpu(), label=name)
    axes.axhline(LEAST, color="grey", linewidth=0.8, label="the best line")
    axes.set(xlabel="epoch", ylabel="mean squared error", ylim=(2, 5e4))
    axes.legend()
    return {"line": line, "loss": loss}


if __name__ == "__main__":
    cli.run(arguments(), main)
