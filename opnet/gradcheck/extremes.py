"""Very large inputs, and inputs at kinks."""

import torch
from torch import Tensor

from .diagnose import CLOSE
from .examine import Examination, Walk, outside
from .numeric import MOST_ELEMENTS
from .values import second_witness

POINTS = (0.0, 1.0, -1.0, 0.5, -0.5, 2.0, -2.0, 3.0, -3.0, 2.5, -2.5, 6.0, -6.0, 1.5, -1.5, 4.0)
SATURATING = (1000.0, -1000.0, 40.0, -40.0, 17.0, -17.0)


def saturation(exam: Examination) -> None:
    """Very large inputs: what is finite in the limit must be finite."""
    x = exam.with_points(SATURATING)
    try:
        if exam.subject(warm=False).forward(exam.with_points((1.5, -1.5, 2.5))).isnan().any():
            return  # outside of the domain of such a function
        walk = exam.walk(exam.subject(), x)
    except Exception:
        return
    dx = walk.grads["inputs"]
    if walk.outputs.isnan().any() or (walk.outputs.isinf().any() and dx.isfinite().all()):
        exam.report.add("not-finite", "outputs", "at inputs of +-1000, +-40 or +-17")
        return
    if walk.outputs.isinf().any():
        return  # as of exp: it overflows by right
    for where, hand in walk.grads.items():
        if not hand.isfinite().all():
            exam.report.add("not-finite", where, "at inputs of +-1000, +-40 or +-17")
    if not exam.report.findings:
        numeric = exam.slopes_of(exam.subject(), "inputs", x)
        bad = outside(dx, numeric, walk.upstream) & ~_like_autograd(exam, walk, x)
        if bad.any():
            said = f"{int(bad.sum())} elements are wrong at inputs of +-1000, +-40 or +-17"
            exam.report.add("wrong-elements", "inputs", said)


def kinks(exam: Examination) -> None:
    """At 0, +-1, +-2, ...: the hand value lies between the slopes on both sides."""
    for start in range(0, len(POINTS), max(exam.x.numel(), 1)):
        points = POINTS[start : start + exam.x.numel()]
        x = exam.with_points(points)
        try:
            subject = exam.subject()
            walk = exam.walk(subject, x)
            numeric = exam.slopes_of(subject, "inputs", x)
        except Exception:
            return
        hand = walk.grads["inputs"]
        bad = outside(hand, numeric, walk.upstream) & ~_like_autograd(exam, walk, x)
        if not bad.any():
            continue
        along = numeric.along(walk.upstream)
        i = int(bad.nonzero()[0])
        at, h = x.reshape(-1)[numeric.which[i]].item(), hand.reshape(-1)[numeric.which[i]].item()
        low, high = along.low[i].item(), along.high[i].item()
        said = f"at an input of {at:g} the hand value is {h:.6g}, the slopes beside it {low:.6g} "
        kind = "illegal-subgradient" if high - low > 1e-3 * max(abs(low), abs(high)) else None
        if not torch.isfinite(torch.tensor(h)):
            kind = "not-finite"
        exam.report.add(kind or "wrong-elements", "inputs", f"{said}to {high:.6g}")
        return


def magnitudes(exam: Examination) -> None:
    """Inputs of every size from 0.01 to 1000: a mask may be wrong where none was drawn."""
    for salt in (1, 2):
        if exam.report.findings:
            return
        spread = exam.random(*exam.x.shape, salt=900 + salt)
        exponents = torch.linspace(-2, 3, max(spread.numel(), 2))[: spread.numel()]
        order = spread.reshape(-1).argsort()
        x = torch.empty_like(exam.x).reshape(-1)
        x[order] = 10.0**exponents
        x = x.reshape(exam.x.shape) * exam.random(*exam.x.shape, salt=950 + salt).sign()
        try:
            walk = exam.walk(exam.subject(), x)
            if walk.outputs.isnan().any() or not walk.grads["inputs"].isfinite().all():
                return  # outside of the domain, or an overflow that saturation has judged
            numeric = exam.slopes_of(exam.subject(), "inputs", x)
        except Exception:
            return
        bad = outside(walk.grads["inputs"], numeric, walk.upstream)
        bad &= ~_like_autograd(exam, walk, x)
        if bad.any():
            i = int(bad.nonzero()[0])
            at = x.reshape(-1)[numeric.which[i]].item()
            hand = walk.grads["inputs"].reshape(-1)[numeric.which[i]].item()
            truth = numeric.along(walk.upstream).slope[i].item()
            said = f"at an input of {at:.6g}: hand {hand:.6g}, numeric {truth:.6g}"
            exam.report.add("wrong-elements", "inputs", said)


def _like_autograd(exam: Examination, walk: Walk, x: Tensor) -> Tensor:
    """Where the hand value is autograd's too: a steep slope outruns the differences, not that."""
    hand = walk.grads["inputs"].reshape(-1)
    witness = second_witness(exam, exam.subject(), walk, x).get("inputs")
    if witness is None or len(hand) > MOST_ELEMENTS:
        return torch.zeros(min(len(hand), MOST_ELEMENTS), dtype=torch.bool)
    wanted = witness.reshape(-1)
    return (hand - wanted).abs() <= CLOSE * wanted.abs() + 1e-12
