"""Learning rates, "large first, then small" (NNDL 7): schedules on the moons, in mini-batches.

The gradient of a mini-batch is that of all rows, and noise: a large rate comes down fast and then
jumps about the minimum, a small one settles but is long on the way. r_e is the rate of epoch e of
E, R the large one:
  constant     r_e = R                          exponential  r_e = R q^e
  step         r_e = R q^floor(3 e / E)         cosine       r_e = R (1 + cos(pi e / E)) / 2
  warm-up      the cosine times min(1, (e + 1) / w)
  plateau      r <- q r where the dev loss has not fallen for more than p epochs
"""

import argparse
from statistics import fmean, median
from typing import TYPE_CHECKING, Any

from experiments import cli, flags
from experiments.rows import Outcome, Row
from experiments.sources import Source

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SEEDS, ROWS, NOISE, HIDDEN, BATCH, EPOCHS = 20, 1000, 0.2, 20, 80, 30
LARGE, SMALL, LAST = 4.0, 0.2, 6  # rates; epochs that a loss is the mean of
WARM_UP, PATIENCE = 5, 3  # epochs
STEP, PLATEAU, LEFT = 0.2, 0.3, 0.03  # the q of a step, of a cut; q^E of the exponential
CONSTANTS = {"constant, large": "-", "constant, small": ":"}  # drawn in grey
Losses = dict[str, list[list[float]]]  # of a schedule: the dev losses of each seed


def arguments() -> argparse.ArgumentParser:
    return flags.parser("learning_rates", __doc__, fast={"SEEDS": 1, "EPOCHS": 6})


def main(settings: argparse.Namespace) -> Outcome:
    cli.print_settings(settings)
    rates, seeds = schedules(), range(settings.seed, settings.seed + SEEDS)
    losses: Losses = {name: [] for name in rates}
    for seed in cli.progress(seeds, settings, "seeds"):
        for name, rate in rates.items():
            losses[name].append(dev_losses(rate, seed, settings.device))
    figures = {} if settings.no_figures else {"schedules": drawn(rates, losses)}
    return Outcome(rows=rows(losses), figures=figures)


def schedules() -> dict[str, Any]:
    from opnet import Constant, Cosine, Exponential, ReduceOnPlateau, StepDecay, WarmUp

    return {
        "constant, large": Constant(LARGE),
        "constant, small": Constant(SMALL),
        "step": StepDecay(LARGE, max(1, EPOCHS // 3), gamma=STEP),
        "exponential": Exponential(LARGE, gamma=LEFT ** (1 / EPOCHS)),
        "cosine": Cosine(LARGE, EPOCHS),
        "warm-up, cosine": WarmUp(Cosine(LARGE, EPOCHS), WARM_UP),
        "plateau": ReduceOnPlateau(LARGE, factor=PLATEAU, patience=PATIENCE),
    }


def dev_losses(rate: Any, seed: int, device: str) -> list[float]:
    """The dev loss after each epoch: the same rows, start and batches for every schedule."""
    import torch

    from opnet import BinaryCrossEntropyLoss, Model_MLP_L2, Momentum, accuracy, make_moons, split
    from runners import RunnerV2_1

    X, y = make_moons(ROWS, noise=NOISE, seed=seed)
    train, dev, _ = split(X.to(device), y.to(device), seed=seed)
    generator = torch.Generator().manual_seed(seed)
    model = Model_MLP_L2(2, HIDDEN, 1, generator=generator, device=device)
    runner = RunnerV2_1(model, Momentum(LARGE, model), accuracy, BinaryCrossEntropyLoss(model))
    runner.train(
        train,
        dev,
        num_epochs=EPOCHS,
        log_epochs=0,
        schedule=rate,
        batch_size=BATCH,
        generator=generator,
    )
    return runner.dev_loss


def rows(losses: Losses) -> list[Row]:
    """Every schedule ends lower than either of the rates that stay as they are."""
    source = Source("NNDL 7, learning rates")
    last = {name: median(fmean(run[-LAST:]) for run in runs) for name, runs in losses.items()}
    lowered = {name: loss for name, loss in last.items() if name not in CONSTANTS}
    said = ", ".join(f"{name} {loss:.3f}" for name, loss in lowered.items())
    return [
        source.states(
            f"dev loss: schedules, {name}",
            "large first, then small",
            f"{said}; constant {last[name]:.3f}",
            max(lowered.values()) < last[name],
            f"means of the last {LAST} of {EPOCHS} epochs, medians of {SEEDS} seeds",
        )
        for name in CONSTANTS
    ]


def drawn(rates: dict[str, Any], losses: Losses) -> "Figure":
    """The rates, that of the plateau for the first seed; the median dev losses of all seeds."""
    from opnet import plots

    figure, (above, below) = plots.figure(2, 1, width=7.2, height=7.4)
    for name, rate in rates.items():
        grey = {"color": "0.5", "linestyle": CONSTANTS[name]} if name in CONSTANTS else {}
        simulated = rate.simulate(losses[name][0] if hasattr(rate, "observe") else EPOCHS)
        above.step(range(EPOCHS + 1), [*simulated, simulated[-1]], where="post", label=name, **grey)
        below.plot([median(epoch) for epoch in zip(*losses[name], strict=True)], **grey)
    above.set(ylabel="learning rate", yscale="log", xlim=(0, EPOCHS))
    below.set(xlabel="epoch", xlim=(0, EPOCHS), ylim=(0.08, 0.35))
    below.set_ylabel(f"dev loss, median of {SEEDS} seeds")
    figure.legend(*above.get_legend_handles_labels(), loc="outside upper center", ncols=4)
    return figure


if __name__ == "__main__":
    cli.run(arguments(), main)
