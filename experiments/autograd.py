"""Autograd beside rules by hand: 2 x.x, a gradient that was not zeroed, detach, a chain of three.

y = 2 x.x,              dy/dx = 4 x
y = sum(x),             dy/dx = 1
y = sum(u x),           dy/dx = u for u = x x held fixed (detached), 3 x^2 where it is not
y = mean(3 (x + 2)^2),  dy/dx = 1/n * 6 (x + 2) * 1, a factor for each of its three ops
"""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from experiments import cli, flags
from experiments.rows import Outcome, Row
from experiments.sources import Source

X = (0.0, 1.0, 2.0, 3.0)
NOTES = Source("derivatives and autograd")


@dataclass(eq=False)
class Rule:
    """y = f(x),  dL/dx = slope(x, g).    g = dL/dy."""

    f: Callable[[Any], Any]
    slope: Callable[[Any, Any], Any]

    def forward(self, x: Any) -> Any:
        self.inputs = x
        return self.f(x)

    def backward(self, grads: Any) -> Any:
        return self.slope(self.inputs, grads)


TWO_DOTS = Rule(lambda x: 2 * (x * x).sum(), lambda x, g: 4 * x * g)
SUM = Rule(lambda x: x.sum(), lambda x, g: g.expand_as(x))
PLUS_TWO = Rule(lambda x: x + 2, lambda x, g: g)
THREE_SQUARES = Rule(lambda x: 3 * x**2, lambda x, g: 6 * x * g)
MEAN = Rule(lambda x: x.mean(), lambda x, g: g.expand_as(x) / x.numel())


def weighted_sum(u: Any) -> Rule:
    return Rule(lambda x: (u * x).sum(), lambda x, g: u * g)


def arguments() -> argparse.ArgumentParser:
    return flags.parser("autograd", __doc__)


def main(settings: argparse.Namespace) -> Outcome:
    import torch

    x = torch.tensor(X, device=settings.device)
    rows = [*slopes(x), *detached(x)]
    return Outcome(rows, {} if settings.no_figures else {"detach": drawn()})


def by_hand(op: Any, x: Any) -> Any:
    """dy/dx of an op."""
    return op.backward(x.new_ones(op.forward(x).shape))


def by_autograd(op: Any, x: Any) -> Any:
    """The same from the forward rule alone."""
    x = x.clone().requires_grad_()
    op.forward(x).backward()
    return x.grad


def slopes(x: Any) -> Iterator[Row]:
    from opnet import Sequential

    chain, ones = Sequential(PLUS_TWO, THREE_SQUARES, MEAN), x.new_ones(2, 2)
    yield NOTES.printed("mean(3 (x + 2)^2) at x = 1", "27", chain(ones))
    for how in (by_hand, by_autograd):
        name, why = how.__name__, "2 x is the slope of x.x"
        yield NOTES.printed(f"its gradient, {name}", "4.5 4.5 4.5 4.5", how(chain, ones))
        yield NOTES.printed(f"d sum(x)/dx, {name}", "1 1 1 1", how(SUM, x))
        dots = how(TWO_DOTS, x)
        yield NOTES.wrong(f"d(2 x.x)/dx at 0, 1, 2, 3, {name}", "0 2 4 6", "0 4 8 12", dots, why)


def detached(x: Any) -> Iterator[Row]:
    """x.grad adds up: what one backward leaves there is still in it after the next."""
    what, false, u = "d sum(u x)/dx at 0, 1, 2, 3", "False False False False", x * x
    yield NOTES.printed(f"{what}, u = x x held fixed", "0 1 4 9", by_hand(weighted_sum(u), x))

    x = x.clone().requires_grad_()
    SUM.forward(x).backward()
    weighted_sum((x * x).detach()).forward(x).backward()
    same = " ".join(str(equal) for equal in (x.grad == u).tolist())
    why = f"the 1 of sum(x) is still in x.grad: {x.grad.tolist()}"
    yield NOTES.states(f"{what} == u, x.grad not zeroed", false, same, same == false, why)
    x.grad.zero_()
    weighted_sum((x * x).detach()).forward(x).backward()
    yield NOTES.wrong(f"{what} == u, u detached", false, "0 1 4 9", x.grad, "x.grad was not zeroed")


def drawn() -> Any:
    """The gradients of sum(u x) for u = x x: held fixed, not held, and on top of an old one."""
    from opnet import plots

    figure, axes = plots.figure()
    xs = [step / 30 for step in range(91)]
    gradients = {
        "u detached: u = x²": [x**2 for x in xs],
        "old gradient not zeroed: x² + 1": [x**2 + 1 for x in xs],
        "u not detached: 3 x²": [3 * x**2 for x in xs],
    }
    for label, gradient in gradients.items():
        axes.plot(xs, gradient, marker="o", markevery=30, label=label)
    axes.set(xlabel="x", ylabel="gradient of sum(u x) by x")
    axes.legend()
    return figure


if __name__ == "__main__":
    cli.run(arguments(), main)
