"""Derivatives by differences: f = 5 x^2 - 4 x at x = 1, and why a smaller h is not always better.

    f(x) = 5 x^2 - 4 x,    df/dx = 10 x - 4 = 6 at x = 1
    forward   (f(x + h) - f(x)) / h         = f' + h f''/2 + ...      and eps f / h of rounding
    central   (f(x + h) - f(x - h)) / 2h    = f' + h^2 f'''/6 + ...   and eps f / h of rounding
    complex   Im f(x + i h) / h             = f' - h^2 f'''/6 + ...   subtracts nothing

f''' = 0 for a parabola; beside it the figure shows exp, for which it is not.
"""

import argparse
import cmath
import math
from collections.abc import Callable, Iterator
from typing import Any

from experiments import cli, flags
from experiments.rows import Outcome, Row
from experiments.sources import Source

X = 1.0
FORWARD = (
    "6.5000000000000036 6.050000000000021 6.004999999999148 6.00050000000074 6.000050000043442"
)
BEST_H, BEST = 1e-8, "5.999999963535174"
TOO_SMALL = 1e-16  # X + h == X
CENTRAL_H, CENTRAL = 1e-5, "6.000000000017102"
POWERS = range(1, 17)  # h = 10^-1 ... 10^-16
FLOOR = 1e-16  # the figure shows errors down to it: a logarithm has no 0
NOTES = Source("derivatives and autograd")


class Parabola:
    """y = 5 x^2 - 4 x,  dy/dx = 10 x - 4."""

    def forward(self, inputs: Any) -> Any:
        self.inputs = inputs
        return 5 * inputs**2 - 4 * inputs

    def backward(self, grads: Any) -> Any:
        return (10 * self.inputs - 4) * grads


def forward(f: Callable[[Any], Any], x: float, h: float) -> float:
    return (f(x + h) - f(x)) / h


def central(f: Callable[[Any], Any], x: float, h: float) -> float:
    return (f(x + h) - f(x - h)) / (2 * h)


def complex_step(f: Callable[[Any], Any], x: float, h: float) -> float:
    return f(complex(x, h)).imag / h


def arguments() -> argparse.ArgumentParser:
    return flags.parser("derivatives", __doc__)


def main(settings: argparse.Namespace) -> Outcome:
    rows = [*exact(), *differences(Parabola().forward)]
    return Outcome(rows, {} if settings.no_figures else {"error": drawn()})


def exact() -> Iterator[Row]:
    """df/dx by hand, proven, and by autograd."""
    import torch

    from opnet import check

    op, x = Parabola(), torch.tensor(X, dtype=torch.float64)
    op.forward(x)
    yield NOTES.printed("df/dx by hand", "6", op.backward(1.0))
    passed = check(op).passed
    yield NOTES.states("opnet.check of that", "passes", "passes" if passed else "fails", passed)
    x.requires_grad_()
    yield NOTES.printed("df/dx by autograd", "6", torch.autograd.grad(op.forward(x), x))


def differences(f: Callable[[Any], Any]) -> Iterator[Row]:
    """What the source prints, to the last bit: Python's floats round in one way only."""

    def same(what: str, published: str, *obtained: float, why: str = "") -> Row:
        shown = " ".join(map(repr, obtained))
        return NOTES.states(what, published, shown, shown == published, why)

    h, steps = 0.1, []
    for _ in FORWARD.split():
        steps.append(h)
        h *= 0.1
    yield same("forward, h = 0.1, then 0.1 times that", FORWARD, *(forward(f, X, h) for h in steps))
    best = min((10.0**-k for k in POWERS), key=lambda h: abs(forward(f, X, h) - 6))
    yield same("forward, best of h = 10^-1 ... 10^-16", f"{BEST_H}", best)
    yield same(f"forward, h = {BEST_H}", BEST, forward(f, X, BEST_H), why="5 h and eps / h balance")
    why = "1 + h rounds to 1"
    yield same(f"forward, h = {TOO_SMALL}", "0.0", forward(f, X, TOO_SMALL), why=why)
    yield same(f"central, h = {CENTRAL_H}", CENTRAL, central(f, X, CENTRAL_H))


def drawn() -> Any:
    """Error against h, for the parabola and for exp."""
    from opnet import plots

    figure, both = plots.figure(1, 2, width=9.6)
    steps = [10.0 ** (-k / 4) for k in range(4, 4 * POWERS[-1] + 1)]
    panels = (("5 x² - 4 x", Parabola().forward, 6.0), ("exp(x)", cmath.exp, math.exp(X)))
    for axes, (name, f, slope) in zip(both, panels, strict=True):
        for rule in (forward, central, complex_step):
            errors = [max(abs(rule(f, X, h) - slope), FLOOR) for h in steps]
            axes.loglog(steps, errors, label=rule.__name__.replace("_", " "))
        axes.set(xlabel="h", title=f"{name} at x = {X:g}")
    both[0].set_ylabel(f"error of the derivative, at least {FLOOR:g}")
    both[0].legend()
    return figure


if __name__ == "__main__":
    cli.run(arguments(), main)
