"""Two witnesses of a gradient, differences and autograd of the forward, and what they say of it."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from .numeric import CLOSE, STEP, Slopes
from .subject import Subject


class Compared(NamedTuple):
    """One gradient beside its witnesses.

    Of the elements moved, `bad` [K] are wrong and `far` [K] are not what autograd says, which is
    kept in `by_autograd` where the differences do not contradict it.
    """

    hand: Tensor
    numeric: Slopes
    bad: Tensor
    far: Tensor
    by_autograd: Tensor | None = None

    @property
    def moved(self) -> Tensor:
        """The hand values [K] of the elements that were moved."""
        return self.hand.reshape(-1)[self.numeric.which]


def compare(hand: Tensor, numeric: Slopes, upstream: Tensor, by_autograd: Any) -> Compared:
    """Between the slopes on both sides, and as near to autograd as rounding lets two formulas be.

    At a kink either witness will do: of several tied elements autograd too chooses one.
    """
    bad = outside(hand, numeric, upstream)
    if not isinstance(by_autograd, Tensor) or by_autograd.shape != hand.shape:
        return Compared(hand, numeric, bad, torch.ones_like(bad))
    along = numeric.along(upstream)
    value, wanted = (t.reshape(-1)[numeric.which] for t in (hand, by_autograd))
    rounding = STEP * (along.high - along.low)  # what is left of terms that cancel
    known = wanted.isfinite() & rounding.isfinite()
    scale = wanted[known].abs().max() if known.any() else 0
    far = known & ~((value - wanted).abs() <= CLOSE * scale + rounding)
    bad = bad & (far | ~known | ~along.kink)
    if (outside(by_autograd, numeric, upstream) & ~along.kink).any():
        return Compared(hand, numeric, bad, far | ~known)
    return Compared(hand, numeric, bad | (far & ~along.kink), far | ~known, by_autograd)


def outside(hand: Tensor, numeric: Slopes, upstream: Tensor) -> Tensor:
    """Which of the elements that were moved are not between the slopes on both sides."""
    along = numeric.along(upstream)
    h = hand.reshape(-1)[numeric.which]
    unknown = ~(along.low.isfinite() & along.high.isfinite())
    return ~(((h >= along.low) & (h <= along.high)) | unknown)


def autograd_of(subject: Subject, x: Tensor, upstream: Tensor) -> dict[str, Tensor]:
    """The gradients by autograd of the forward; empty where it does not apply."""
    x = x.clone()
    leaves = {"inputs": x, **subject.params}
    leaves = {where: leaf for where, leaf in leaves.items() if leaf.is_floating_point()}
    try:
        for leaf in leaves.values():
            leaf.requires_grad_()
        with torch.enable_grad():
            subject.rewind()
            outputs = subject.plain_forward(x)
            found = torch.autograd.grad(outputs, list(leaves.values()), upstream, allow_unused=True)
    except Exception:
        return {}
    finally:
        for leaf in leaves.values():
            leaf.requires_grad_(False)
        subject.forward(x.detach().clone())  # what it remembers has no graph again
    return {where: g for where, g in zip(leaves, found, strict=True) if g is not None}
