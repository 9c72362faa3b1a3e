"""The cross-entropy of NNDL 4.2 turns NaN in ordinary good training; opnet's does not.

On two moons that are well apart a good network is soon sure of its rows: p rounds to its label, and
the book's dL/dp = -(y / p - (1 - y) / (1 - p)) / n becomes 0 / 0. opnet takes the loss from the
logits, and its Logistic multiplies by what the loss divides by: dL/dz = (p - y) / n at any z.
One data set, networks from eight seeds at each rate, all side by side.
"""

import argparse
from typing import TYPE_CHECKING, Any

from experiments import cli, flags
from experiments.rows import Outcome
from experiments.sources import Source

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import Tensor

NOISE, HIDDEN, SEEDS = 0.2, 5, 8
EPOCHS, LOOK_EVERY = 10_000, 100
BOOKS_RATES, RATES = (1.0, 5.0), (20.0,)
MOONS = Source("two moons")


def arguments() -> argparse.ArgumentParser:
    return flags.parser("moons_nan", __doc__, fast={"SEEDS": 1, "LOOK_EVERY": 1, "EPOCHS": 1})


def main(settings: argparse.Namespace) -> Outcome:
    from experiments.books_loss import BooksLogistic, BooksLoss
    from opnet import BinaryCrossEntropyLoss, Logistic

    book, scores = trained(settings, BOOKS_RATES, BooksLogistic, BooksLoss)
    ours, our_scores = trained(settings, RATES, Logistic, BinaryCrossEntropyLoss)
    nan, lost = ~book[-1], int((~ours[-1]).sum())
    slow, fast = nan.reshape(-1, SEEDS).sum(dim=1).tolist()
    read = scores[nan].tolist()
    silent = all(abs(score - 0.47) < 0.05 for score in read)
    best = f"their test accuracy: median {our_scores.median():.3f}"
    rows = [
        MOONS.by_seed("networks of 8 that turn NaN at lr 1", "2", [slow], (1, 7), "0 to 7 by draw"),
        MOONS.by_seed("networks of 8 that turn NaN at lr 5", "6", [fast], (5, 8), "2 to 8 by draw"),
        MOONS.states(
            "the test accuracy that these read", "about 0.47", read[:1], silent, "all class 0"
        ),
        MOONS.states("opnet, of 8 at lr 20", "never", lost, lost == 0, best),
    ]
    if settings.no_figures:
        return Outcome(rows=rows)
    split = zip(BOOKS_RATES, book.split(SEEDS, dim=1), strict=True)
    lines = {f"the book's loss, lr {rate:g}": finite for rate, finite in split}
    return Outcome(rows=rows, figures={"moons_nan": drawn(lines | {"opnet's loss, lr 20": ours})})


def trained(
    settings: argparse.Namespace, rates: tuple[float, ...], act: Any, loss_class: Any
) -> "tuple[Tensor, Tensor]":
    """Which networks are finite at each look, [looks, networks]; their test accuracy at the end."""
    import torch

    from experiments.side_by_side import descend, judge, networks, stacked
    from experiments.two_moons import book_moons
    from opnet import Model_MLP_L2
    from opnet.walk import state

    sets = book_moons(NOISE, torch.Generator().manual_seed(settings.seed))
    seeds = [*range(settings.seed, settings.seed + SEEDS)] * len(rates)
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    model = networks([Model_MLP_L2(2, HIDDEN, 1, generator=g) for g in generators], act)
    train_rows, _, test_rows = [
        [t.to(settings.device) for t in rows] for rows in stacked([sets] * len(seeds))
    ]
    model.to(settings.device)
    each = [rate for rate in rates for _ in range(SEEDS)]
    bar = cli.progress(range(EPOCHS), settings, loss_class.__name__)
    looks = []
    for epoch in descend(model, loss_class(model), train_rows, each, bar):
        if epoch % LOOK_EVERY == LOOK_EVERY - 1:
            finite = [weights.isfinite().all(dim=2).all(dim=1) for weights in state(model)]
            looks.append(torch.stack(finite).all(dim=0))
    return torch.stack(looks).cpu(), judge(model, test_rows)[0].cpu()


def drawn(lines: "dict[str, Tensor]") -> "Figure":
    """The share of networks whose weights are still numbers."""
    from opnet import plots

    drawing, axes = plots.figure()
    for label, alive in lines.items():
        shares = [1.0, *alive.float().mean(dim=1).tolist()]
        axes.plot(range(0, EPOCHS + 1, LOOK_EVERY), shares, label=label, drawstyle="steps-post")
    axes.set(xlabel="epoch", ylabel="share of networks that are not NaN", ylim=(-0.03, 1.05))
    axes.legend()
    return drawing


if __name__ == "__main__":
    cli.run(arguments(), main)
