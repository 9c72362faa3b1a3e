"""Dead units (NNDL 4.4): a ReLU below 0 on every row gets no gradient and never comes back.

f(z) = max(0, z) with z < 0 everywhere: f' = 0, so dL/dW = 0 and dL/db = 0 for the unit and all
below it. With every b = -8 all units are dead, the output is p = s(-8) on every row, and only the
last bias still learns: dL/db5 = mean(p - y) = s(-8) - 1/2 = -0.4997. LeakyReLU with slope a < 1
sends a fraction a back through each of the four layers instead of nothing.
"""

import argparse
from typing import TYPE_CHECKING, Any

from experiments import cli, flags
from experiments.rows import Outcome
from experiments.sources import Source

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BIAS = -8.0
SLOPES = (0.01, 0.1)  # torch's default and opnet's
LEAKY = ("2e-16", "2e-13", "2e-9", "1e-5", "0.07")  # the norms of dL/dW, fc1 to fc5, at 0.01
EPOCHS, LR = 100, 0.1
BIASES = [b / 2 for b in range(2, -17, -1)]  # 1, 0.5, ... -8
CLOSE = 1e-5  # in float32
BOOK = Source("NNDL 4.4.3")


def arguments() -> argparse.ArgumentParser:
    return flags.parser("dead_units", __doc__, fast={"EPOCHS": 1})


def main(settings: argparse.Namespace) -> Outcome:
    import functools

    from torch.nn import functional

    from experiments import five_layers as five
    from opnet import LeakyReLU, ReLU, plots

    dead = five.norms(settings, ReLU, BIAS)
    leaky = {a: five.norms(settings, functools.partial(LeakyReLU, a), BIAS) for a in SLOPES}
    model = five.network(ReLU, BIAS, settings.seed).to(settings.device)
    last_bias = abs(float(five.gradients(model, settings.seed)[-1]["b"]))
    leaking = five.network(functools.partial(LeakyReLU, 0.01), BIAS, settings.seed)
    error = five.error(leaking.to(settings.device), settings.seed, functional.leaky_relu)
    gain = float(five.middle(leaky[0.1] / leaky[0.01])[0])
    moved, loss = trained(model, settings.seed)
    rows = [
        BOOK.states("ReLU, b = -8, fc1 to fc5", "0", dead.max(), float(dead.max()) == 0),
        BOOK.printed("norm of dL/db of fc5", "0.4997", last_bias, "|s(-8) - mean y|"),
        *five.judged(BOOK, "LeakyReLU", LEAKY, leaky[0.01]),
        BOOK.states("fc1, slope 0.1 over slope 0.01", "more", gain, 9e3 < gain < 1.1e4, "10^4"),
        BOOK.states(f"what {EPOCHS} epochs move", "no weight", moved, moved == "fc5.b", loss),
        BOOK.states("LeakyReLU, largest relative error beside autograd", "0", error, error < CLOSE),
    ]
    if settings.no_figures:
        return Outcome(rows=rows)
    drawing, (left, right) = plots.figure(1, 2, width=10.4, height=4.0)
    five.draw(left, {"ReLU": dead} | {f"LeakyReLU, slope {a}": leaky[a] for a in SLOPES})
    left.set_yscale("symlog", linthresh=1e-18)  # a log axis that has a 0
    left.set_yticks([0, 1e-16, 1e-12, 1e-8, 1e-4, 1])
    draw_shares(right, settings.seed)
    return Outcome(rows=rows, figures={"dead_units": drawing})


def trained(model: Any, seed: int) -> tuple[str, str]:
    """The params that training has moved, by name, and what has become of the loss."""
    from experiments.five_layers import data
    from opnet import BatchGD, BinaryCrossEntropyLoss, accuracy
    from runners import RunnerV2_1

    before = {op.name: {key: p.clone() for key, p in op.params.items()} for op in model.layers}
    runner = RunnerV2_1(model, BatchGD(LR, model), accuracy, BinaryCrossEntropyLoss(model))
    rows = data(model, seed)
    runner.train(rows, rows, num_epochs=EPOCHS, log_epochs=0, keep="last")
    moved = [
        f"{op.name}.{key}"
        for op in model.layers
        for key, p in op.params.items()
        if not p.equal(before[op.name][key])
    ]
    loss = f"train loss {runner.train_loss[0]:.3f} to {runner.train_loss[-1]:.3f}"
    return " ".join(moved), loss


def draw_shares(axes: "Axes", first: int) -> None:
    """The share of hidden units that are 0 on every row, over the bias that all start with."""
    from experiments import five_layers as five

    seeds = range(first, first + five.SEEDS)
    for label, deviation in (("0.01²", 0.01), ("0.3²", 0.3), ("1", 1.0)):
        shares = [sum(dead_share(b, s, deviation) for s in seeds) / len(seeds) for b in BIASES]
        axes.plot(BIASES, shares, label=f"W from N(0, {label})")
    axes.set(xlabel="bias at the start", ylabel="share of dead units")
    axes.legend()


def dead_share(bias: float, seed: int, deviation: float) -> float:
    from experiments import five_layers as five
    from opnet import ReLU

    model = five.network(ReLU, bias, seed, deviation)
    model(five.data(model, seed)[0])
    hidden = [op.outputs for op in model.layers if isinstance(op, ReLU)]
    dead = [(a <= 0).all(dim=0) for a in hidden]
    return float(sum(d.sum() for d in dead)) / sum(map(len, dead))


if __name__ == "__main__":
    cli.run(arguments(), main)
