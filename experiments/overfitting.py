"""Over-fitting (NNDL 7): few rows, a wide net; L2, early stopping and more rows against it.

A net with more weights than rows learns their noise too: the train loss goes on to 0 while the
loss on other rows rises. Against it:
  L2               g <- g + w p for each weight p, the gradient of L + w |p|^2 / 2: small weights
  early stopping   stop when the dev loss has not fallen for so many epochs, keep the best weights
  more rows        whose noise no longer fits into the weights
"""

import argparse
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

from experiments import cli, flags
from experiments.rows import Outcome, Row
from experiments.sources import Source

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SEEDS, NOISE, HIDDEN, LR, EPOCHS = 10, 0.4, 50, 1.0, 500
FEW, MORE, DEV, TEST = 40, 640, 160, 1000  # rows
DECAY, PATIENCE = 0.002, 30
CASES: dict[str, dict[str, Any]] = {
    f"{FEW} rows": {"count": FEW},
    f"{FEW} rows, L2": {"count": FEW, "decay": DECAY},
    f"{FEW} rows, early stopping": {"count": FEW, "patience": PATIENCE},
    f"{MORE} rows": {"count": MORE},
}


class Run(NamedTuple):
    """What a run leaves; the last three are those of the weights kept."""

    train_loss: list[float]
    dev_loss: list[float]
    epoch: int
    test_score: float
    test_loss: float


def arguments() -> argparse.ArgumentParser:
    return flags.parser("overfitting", __doc__, fast={"SEEDS": 1, "EPOCHS": 1})


def main(settings: argparse.Namespace) -> Outcome:
    cli.print_settings(settings)
    runs: dict[str, list[Run]] = {name: [] for name in CASES}
    seeds = range(settings.seed, settings.seed + SEEDS)
    for seed in cli.progress(seeds, settings, "seeds"):
        for name, case in CASES.items():
            runs[name].append(trained(seed, settings.device, **case))
    figures = {} if settings.no_figures else {"overfitting": drawn(runs)}
    return Outcome(rows=rows(runs), figures=figures)


def trained(seed: int, device: str, *, count: int, decay: float = 0.0, patience: int = 0) -> Run:
    import torch

    from opnet import BinaryCrossEntropyLoss, Model_MLP_L2, Momentum, accuracy, make_moons, split
    from runners import EarlyStopping, RunnerV2_1

    X, y = (t.to(device) for t in make_moons(MORE + DEV + TEST, noise=NOISE, seed=seed))
    (X_train, y_train), dev, test = split(X, y, (MORE, DEV, TEST), seed=seed)
    train = [X_train[:count], y_train[:count]]
    generator = torch.Generator().manual_seed(seed)
    model = Model_MLP_L2(2, HIDDEN, 1, generator=generator, device=device)
    optimizer = Momentum(LR, model, weight_decay=decay)
    runner = RunnerV2_1(model, optimizer, accuracy, BinaryCrossEntropyLoss(model))
    callbacks = [EarlyStopping(patience)] if patience else []
    keep = "best_loss" if patience else "last"
    runner.train(train, dev, num_epochs=EPOCHS, log_epochs=0, keep=keep, callbacks=callbacks)
    epoch = runner.kept_epoch or 0
    return Run(runner.train_loss, runner.dev_loss, epoch, *runner.evaluate(test))


def rows(runs: dict[str, list[Run]]) -> list[Row]:
    """The losses part after the lowest dev loss; each remedy lowers the test loss."""
    source, (plain, *remedies) = Source("NNDL 7, over-fitting"), runs
    parted = []
    for train, dev, *_ in runs[plain]:
        lowest = dev.index(min(dev))
        parted.append((train[lowest], train[-1], dev[lowest], dev[-1]))
    train_at, train_end, dev_at, dev_end = map(median, zip(*parted, strict=True))
    said = f"train {train_at:.3f} to {train_end:.3f}, dev {dev_at:.3f} to {dev_end:.3f}"
    holds, why = train_at > train_end and dev_at < dev_end, "medians, from the lowest dev loss on"
    found = [source.states(plain, "train and dev loss part", said, holds, why)]
    for name in remedies:
        pairs = [(x.test_loss, y.test_loss) for x, y in zip(runs[plain], runs[name], strict=True)]
        before, after = map(median, zip(*pairs, strict=True))
        why = f"medians; lower in {sum(y < x for x, y in pairs)} of {len(pairs)} seeds"
        said = f"{before:.3f} to {after:.3f}"
        found.append(source.states(f"{name}: test loss", "lower", said, after < before, why))
    return found


def drawn(runs: dict[str, list[Run]]) -> "Figure":
    """Train and dev loss of the first seed, a panel a case; a dot at the weights kept."""
    from opnet import plots

    figure, panels = plots.figure(2, 2, width=8.4, height=6.4)
    for axes, (name, (first, *_)) in zip(panels.flat, runs.items(), strict=True):
        axes.plot(first.train_loss, label="train")
        axes.plot(first.dev_loss, label="dev")
        axes.plot(first.epoch, first.dev_loss[first.epoch], "ko", label="kept", clip_on=False)
        axes.set(title=f"{name}: test loss {first.test_loss:.3f}", xlim=(0, EPOCHS), ylim=(0, 0.8))
        axes.label_outer()
    figure.supxlabel("epoch")
    figure.supylabel("cross-entropy")
    panels[0, 0].legend()
    return figure


if __name__ == "__main__":
    cli.run(arguments(), main)
