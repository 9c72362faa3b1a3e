"""Vanishing gradients (NNDL 4.4): what of the gradient reaches the first of five layers.

Each layer that a gradient passes multiplies it by W and by f', which is at most 1/4 for the
Logistic and 1 for ReLU (five_layers has the formula). Weights from N(0, 0.01^2) make the product
tiny for either; weights from N(0, 2/I) for I inputs (He et al. 2015) do not. The start decides,
not only the activation.
"""

import argparse

from experiments import cli, flags
from experiments.rows import Outcome, Row
from experiments.sources import Source

BIAS = 1.0
PRINTED = {  # the norms of dL/dW, fc1 to fc5
    "Logistic": ("7e-11", "2e-8", "5e-6", "1.5e-3", "0.29"),
    "ReLU": ("5e-8", "3e-6", "2e-4", "1e-2", "0.40"),
}
CLOSE = 1e-5  # in float32
BOOK = Source("NNDL 4.4.2")


def arguments() -> argparse.ArgumentParser:
    return flags.parser("vanishing", __doc__)


def main(settings: argparse.Namespace) -> Outcome:
    import torch

    from experiments import five_layers as five
    from opnet import Logistic, ReLU, plots

    rows: list[Row] = []
    lines: dict[str, torch.Tensor] = {}
    for name, act, f in (("Logistic", Logistic, torch.sigmoid), ("ReLU", ReLU, torch.relu)):
        tiny, he = (five.norms(settings, act, BIAS, d) for d in (five.DEVIATION, None))
        lines |= {f"{name}, W from N(0, 0.01²)": tiny, f"{name}, W from N(0, 2/I)": he}
        rows += five.judged(BOOK, name, PRINTED[name], tiny)
        error = five.error(
            five.network(act, BIAS, settings.seed).to(settings.device), settings.seed, f
        )
        what = f"{name}, largest relative error beside autograd"
        rows.append(BOOK.states(what, "0", error, error < CLOSE))
    fall = [float(m[4] / m[0]) for m in map(five.middle, (tiny, he))]
    what = "ReLU, fc5 over fc1, from N(0, 0.01²) and from N(0, 2/I)"
    holds = fall[0] > 1e6 and fall[1] < 100
    rows.append(BOOK.states(what, "ReLU mends it", fall, holds, "only from the second start"))
    if settings.no_figures:
        return Outcome(rows=rows)
    drawing, axes = plots.figure()
    five.draw(axes, lines)
    return Outcome(rows=rows, figures={"vanishing": drawing})


if __name__ == "__main__":
    cli.run(arguments(), main)
