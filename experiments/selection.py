"""Which weights of a run to keep (NNDL 4.2): best dev score, lowest dev loss, or the last.

A run leaves scores s_0, s_1, ... and losses l_0, l_1, ... on the dev set. The epoch kept is
  book         the first e of the highest s_e: "strictly better dev accuracy", from 0 on
  best_score   of those with the highest s_e the one with the lowest l_e
  best_loss    the e of the lowest l_e
  last         the last one
RunnerV2_1 has the last three: train(keep=...). At noise 0.5 the score comes to a stand while the
loss still falls, so that the book's rule keeps weights of a network that has hardly learnt.
"""

import argparse
from collections.abc import Callable
from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple

from experiments import cli, flags
from experiments.rows import Outcome, Row
from experiments.sources import Source

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import Tensor

SEEDS, NOISE, HIDDEN, LR, EPOCHS = 20, 0.5, 5, 0.2, 1000
MEASURED = {  # mean test score and loss over 20 seeds
    "book": ("0.7935", "0.489"),
    "best_loss": ("0.8058", "0.433"),
    "last": ("0.8063", "0.431"),
}
POLICIES: dict[str, Callable[[list[float], list[float]], int]] = {  # scores, losses -> epoch
    "book": lambda s, loss: s.index(max(s)),
    "best_score": lambda s, loss: max(range(len(s)), key=lambda e: (s[e], -loss[e])),
    "best_loss": lambda s, loss: loss.index(min(loss)),
    "last": lambda s, loss: len(s) - 1,
}
YLABELS = ("test accuracy", "test cross-entropy")


class Kept(NamedTuple):
    """The epoch that a policy chose, and what its weights come to on the test set."""

    epoch: int
    score: float
    loss: float


def arguments() -> argparse.ArgumentParser:
    return flags.parser("selection", __doc__, fast={"SEEDS": 2, "EPOCHS": 1})


def main(settings: argparse.Namespace) -> Outcome:
    cli.print_settings(settings)
    dev, test = (history.tolist() for history in trained(settings))
    kept: dict[str, list[Kept]] = {
        policy: [
            Kept(epoch := choose(scores, losses), tested[0][epoch], tested[1][epoch])
            for (scores, losses), tested in zip(dev, test, strict=True)
        ]
        for policy, choose in POLICIES.items()
    }
    figures = {} if settings.no_figures else {"policies": drawn(kept)}
    return Outcome(rows=rows(kept, settings.seed), figures=figures)


def trained(settings: argparse.Namespace) -> "tuple[Tensor, Tensor]":
    """[seeds, 2, epochs]: score and loss after each epoch, on the dev rows and on the test rows."""
    import torch

    from experiments import side_by_side, two_moons
    from opnet import BinaryCrossEntropyLoss, Model_MLP_L2

    seeds = range(settings.seed, settings.seed + SEEDS)
    draws = [torch.Generator().manual_seed(seed) for seed in seeds]  # of the rows, then the weights
    sets = side_by_side.stacked([two_moons.book_moons(NOISE, generator) for generator in draws])
    train, *judged = [[t.to(settings.device) for t in rows] for rows in sets]
    model = side_by_side.networks([Model_MLP_L2(2, HIDDEN, 1, generator=g) for g in draws])
    loss_fn, epochs = BinaryCrossEntropyLoss(model.to(settings.device)), range(EPOCHS)
    histories: tuple[list[Tensor], list[Tensor]] = ([], [])
    bar = cli.progress(epochs, settings, "epochs")
    for _ in side_by_side.descend(model, loss_fn, train, [LR] * SEEDS, bar):
        for history, rows in zip(histories, judged, strict=True):
            history.append(torch.stack(side_by_side.judge(model, rows), dim=1))
    dev, test = (torch.stack(history, dim=2) for history in histories)
    return dev, test


def rows(kept: dict[str, list[Kept]], seed: int) -> list[Row]:
    source, found = Source("NNDL 4.2, best-model rule", seed), []
    for policy, published in MEASURED.items():
        epochs, *numbers = zip(*kept[policy], strict=True)
        why = f"seeds {seed} on, drawn as the port draws; mean epoch {fmean(epochs):.0f}"
        for what, printed, obtained in zip(("accuracy", "loss"), published, numbers, strict=True):
            found.append(source.mean(f"{policy}: test {what}", printed, obtained, why))
    pairs = zip(kept["book"], kept["last"], strict=True)
    apart = [(book.score - last.score, book.loss - last.loss) for book, last in pairs]
    score, loss = map(fmean, zip(*apart, strict=True))
    said = f"accuracy {score:+.4f}, loss {loss:+.4f}"
    why = f"mean differences; the loss is higher in {sum(d[1] > 0 for d in apart)} of {len(apart)}"
    worse = source.states("the book's rule against the last", "worse", said, score < 0 < loss, why)
    return [*found, worse]


def drawn(kept: dict[str, list[Kept]]) -> "Figure":
    """A thin line a seed, from policy to policy, and their mean."""
    from opnet import plots

    figure, panels = plots.figure(1, 2, width=9.6, height=4.2)
    for axes, what, ylabel in zip(panels, ("score", "loss"), YLABELS, strict=True):
        numbers = [[getattr(k, what) for k in chosen] for chosen in kept.values()]
        axes.plot(list(kept), numbers, color="0.72", linestyle="-", linewidth=0.8)
        means = list(map(fmean, numbers))
        axes.plot(list(kept), means, marker="o", label=f"mean of {len(numbers[0])} seeds, in grey")
        axes.set(xlabel="weights kept", ylabel=ylabel)
        axes.legend()
    return figure


if __name__ == "__main__":
    cli.run(arguments(), main)
