"""Which weights of a run to keep (NNDL 4.2): best dev score, lowest dev loss, or the last.

A run leaves scores s_0, s_1, ... and losses l_0, l_1, ... on the dev set. The epoch kept is
  book         the first e of the highest s_e: "strictly better dev accuracy", from 0 on
  best_score   of those with the highest s_e the one with the lowest l_e
  best_loss    the e of the lowest l_e
  last         the last one
The runner has the last three: train(keep=...). At noise 0.5 the score comes to a stand while the
loss still falls, so that the book's rule keeps weights of a network that has hardly learnt.
"""

import argparse
from collections.abc import Callable
from statistics import fmean
from types import SimpleNamespace
from typing import TYPE_CHECKING, NamedTuple

from experiments import cli, flags
from experiments.moons import BOOK
from experiments.rows import Outcome, Row
from experiments.sources import Source

if TYPE_CHECKING:
    from matplotlib.figure import Figure

YLABELS = ("test accuracy", "test cross-entropy")
SEEDS, ROWS, EPOCHS = 20, 1000, int(BOOK["epochs"])
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


class Kept(NamedTuple):
    """The epoch that a policy chose, and what its weights come to on the test set."""

    epoch: int
    score: float
    loss: float


def arguments() -> argparse.ArgumentParser:
    return flags.parser("selection", __doc__)


def main(settings: argparse.Namespace) -> Outcome:
    cli.print_settings(settings)
    seeds = range(settings.seed, settings.seed + SEEDS)
    runs = [of_one_run(s, settings.device) for s in cli.progress(seeds, settings, "seeds")]
    kept = {policy: [run[policy] for run in runs] for policy in POLICIES}
    figures = {} if settings.no_figures else {"policies": drawn(kept)}
    return Outcome(rows=rows(kept), figures=figures)


def of_one_run(seed: int, device: str) -> dict[str, Kept]:
    """What each policy keeps of one and the same run with the book's numbers."""
    import torch

    from opnet import BatchGD, BinaryCrossEntropyLoss, Model_MLP_L2, accuracy, make_moons, split
    from opnet.walk import state
    from runners import RunnerV2_1

    X, y = make_moons(ROWS, noise=BOOK["noise"], seed=seed)
    train, dev, test = split(X.to(device), y.to(device), seed=seed)
    generator = torch.Generator().manual_seed(seed)
    model = Model_MLP_L2(2, int(BOOK["hidden"]), 1, generator=generator, device=device)
    runner = RunnerV2_1(model, BatchGD(BOOK["lr"], model), accuracy, BinaryCrossEntropyLoss(model))
    weights: list[list[torch.Tensor]] = []
    keeper = SimpleNamespace(
        on_epoch_end=lambda *_: weights.append([tensor.clone() for tensor in state(model)])
    )
    runner.train(train, dev, num_epochs=EPOCHS, log_epochs=0, callbacks=[keeper])
    kept = {}
    for policy, choose in POLICIES.items():
        epoch = choose(runner.dev_scores, runner.dev_loss)
        for tensor, value in zip(state(model), weights[epoch], strict=True):
            tensor.copy_(value)
        kept[policy] = Kept(epoch, *runner.evaluate(test))
    return kept


def rows(kept: dict[str, list[Kept]]) -> list[Row]:
    source, found = Source("NNDL 4.2, best-model rule"), []
    for policy, published in MEASURED.items():
        epochs, *numbers = zip(*kept[policy], strict=True)
        why = f"other draws; epoch {fmean(epochs):.0f} in the mean"
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
