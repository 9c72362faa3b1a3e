"""The sum of a batch is not its mean (D2L 3): dividing by the batch size does make a difference.

    mean:  L = sum((p - y)^2 / 2) / n,    dL/dp = (p - y) / n
    sum:   L = sum((p - y)^2 / 2),        dL/dp = p - y

A step along the sum of n rows is n times one along their mean: undivided, its rate is n times as
large. The rows and batches are those of linear_from_scratch.
"""

import argparse
from typing import Any

from experiments import cli, flags
from experiments.linear_from_scratch import BATCH, CLOSE, EPOCH, LR, NOISE, by_opnet, draw
from experiments.rows import Outcome
from experiments.sources import Source

LARGE_LR = 0.3
LEARNT = NOISE**2  # twice the loss of the true w and b


class SumOfHalfSquares:
    """L = sum((p - y)^2 / 2),  dL/dp = p - y."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def forward(self, predicts: Any, labels: Any) -> Any:
        self.error = predicts - labels
        return (self.error**2 / 2).sum()

    def backward(self) -> Any:
        return self.model.backward(self.error)


def arguments() -> argparse.ArgumentParser:
    return flags.parser("batch_sum", __doc__)


def main(settings: argparse.Namespace) -> Outcome:
    from opnet import HalfSquaredErrorLoss as MeanOfHalfSquares

    rows_of, source = draw(settings.seed, settings.device), Source("D2L 3", settings.seed)
    mean = by_opnet(rows_of, MeanOfHalfSquares, LR)
    divided = by_opnet(rows_of, SumOfHalfSquares, LR / BATCH)
    apart = float((divided / mean - 1).abs().max())
    what = f"losses of sum / {BATCH} and of mean at lr {LR}: farthest apart, relative"
    rows = [source.states(what, "the same trajectory", apart, apart < CLOSE)]

    said = "dividing by batch_size or not makes no difference"
    large, undivided = (
        by_opnet(rows_of, loss, LARGE_LR) for loss in (MeanOfHalfSquares, SumOfHalfSquares)
    )
    what, ends = f"at lr {LARGE_LR}: losses after each epoch", slice(EPOCH - 1, None, EPOCH)
    learnt = bool((large[ends] < LEARNT).all())
    rows.append(
        source.states(f"mean {what}", said, large[ends], learnt, "the mean divides already")
    )
    why = f"undivided, a step of the sum is one of the mean at lr {LARGE_LR * BATCH:g}"
    rows.append(source.wrong(f"sum {what}", said, "inf nan nan", undivided[ends], why))
    if settings.no_figures:
        return Outcome(rows)
    trails = {
        f"mean, lr {LR}": mean,
        f"sum / {BATCH}, lr {LR}": divided,
        f"mean, lr {LARGE_LR}": large,
        f"sum, lr {LARGE_LR}": undivided,
    }
    return Outcome(rows, {"loss": drawn(trails)})


def drawn(trails: dict[str, Any]) -> Any:
    """The loss on all rows after every step."""
    from opnet import plots

    figure, axes = plots.figure()
    for label, losses in trails.items():
        axes.semilogy(range(1, len(losses) + 1), losses.cpu(), label=label)
    axes.axhline(NOISE**2 / 2, color="grey", linewidth=0.8, linestyle="-", label="the noise")
    axes.set(xlabel="step", ylabel="half squared error, all rows", ylim=(1e-5, 1e4))
    axes.legend()
    return figure


if __name__ == "__main__":
    cli.run(arguments(), main)
