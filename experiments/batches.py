"""Full batch, mini-batch, single sample (NNDL 7): gradient descent on the moons, side by side.

One step takes the mean gradient of B of the N rows, p <- p - lr (1 / B) sum_b g_b, and an epoch is
N / B of them: many rough steps for the price of one exact one.
"""

import argparse
import math
from statistics import median
from typing import TYPE_CHECKING

from experiments import cli, flags
from experiments.rows import Outcome, Row
from experiments.sources import Source

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SEEDS, ROWS, NOISE, HIDDEN, LR, EPOCHS = 3, (640, 160), 0.2, 5, 0.5, 12
BATCHES = {"full batch": None, "mini-batch of 32": 32, "single sample": 1}
Losses = dict[str, list[list[float]]]  # of a batch size: the dev losses of each seed


def arguments() -> argparse.ArgumentParser:
    return flags.parser("batches", __doc__, fast={"SEEDS": 1, "EPOCHS": 1})


def main(settings: argparse.Namespace) -> Outcome:
    cli.print_settings(settings)
    seeds = range(settings.seed, settings.seed + SEEDS)
    losses: Losses = {name: [] for name in BATCHES}
    for seed in cli.progress(seeds, settings, "seeds"):
        for name, size in BATCHES.items():
            losses[name].append(dev_losses(size, seed, settings.device))
    figures = {} if settings.no_figures else {"batches": drawn(losses)}
    return Outcome(rows=[smaller_goes_further(losses)], figures=figures)


def dev_losses(size: int | None, seed: int, device: str) -> list[float]:
    """The dev loss after each epoch, from the same start."""
    import torch

    from opnet import BatchGD, BinaryCrossEntropyLoss, Model_MLP_L2, accuracy, make_moons, split
    from runners import RunnerV2_1

    X, y = make_moons(sum(ROWS), noise=NOISE, seed=seed)
    train, dev = split(X.to(device), y.to(device), ROWS, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    model = Model_MLP_L2(2, HIDDEN, 1, generator=generator, device=device)
    runner = RunnerV2_1(model, BatchGD(LR, model), accuracy, BinaryCrossEntropyLoss(model))
    runner.train(train, dev, num_epochs=EPOCHS, log_epochs=0, batch_size=size, generator=generator)
    return runner.dev_loss


def smaller_goes_further(losses: Losses) -> Row:
    last = {name: median(run[-1] for run in runs) for name, runs in losses.items()}
    said = ", ".join(f"{name} {loss:.3f}" for name, loss in last.items())
    full, mini, single = last.values()
    why = f"median dev loss of {SEEDS} seeds after {EPOCHS} epochs, all at rate {LR}"
    source = Source("NNDL 7, mini-batches")
    return source.states(
        "epoch for epoch", "small batches go further", said, full > mini > single, why
    )


def drawn(losses: Losses) -> "Figure":
    """The dev losses of the first seed against epochs, and against steps."""
    from opnet import plots

    figure, (by_epoch, by_step) = plots.figure(1, 2, width=9.6, height=4.2)
    for (name, (first, *_)), size in zip(losses.items(), BATCHES.values(), strict=True):
        epochs = range(1, EPOCHS + 1)
        steps_an_epoch = math.ceil(ROWS[0] / (size or ROWS[0]))
        by_epoch.plot(epochs, first, label=name)
        by_step.plot([steps_an_epoch * epoch for epoch in epochs], first, marker=".")
    by_epoch.set(xlabel="epoch", ylabel="dev loss", ylim=(0, None))
    by_step.set(xlabel="step", xscale="log", ylim=(0, None))
    by_epoch.legend()
    return figure


if __name__ == "__main__":
    cli.run(arguments(), main)
