"""Very large inputs, and inputs at kinks."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from .examine import Batch, Examination, Walk
from .numeric import CLOSE, STEP, Slopes, slopes
from .witness import autograd_of, outside

POINTS = (0.0, 1.0, -1.0, 0.5, -0.5, 2.0, -2.0, 3.0, -3.0, 2.5, -2.5, 6.0, -6.0, 1.5, -1.5, 4.0)
SATURATING = (1000.0, -1000.0, 40.0, -40.0, 17.0, -17.0)
FAR = "far out, at inputs such as +-1000, +-40 and +-17"


def saturation(exam: Examination) -> None:
    """Very large inputs: what is finite in the limit must be finite."""
    if not exam.x.is_floating_point():
        return
    try:
        if exam.subject(warm=False).forward(exam.with_points((1.5, -1.5, 2.5))).isnan().any():
            return  # outside of the domain of such a function
    except Exception:
        return
    for x in _far_out(exam):
        if not exam.report.findings:
            _saturated(exam, x)


def _far_out(exam: Examination) -> Iterator[Tensor]:
    """x with large points in several places: a loss has labels, a model weights, to meet them."""
    yield exam.with_points(SATURATING)
    if exam.labels is not None or hasattr(exam.op, "layers"):
        for salt in range(1, 4):
            yield exam.with_points(tuple(10.0 * point for point in SATURATING), salt)


def _saturated(exam: Examination, x: Tensor) -> None:
    try:
        walk = exam.walk(exam.subject(warm=False), x)
    except Exception:
        return
    if not walk.outputs.isfinite().all():
        if not infinite_by_right(exam, x):
            exam.report.add("not-finite", "outputs", FAR)
        return
    for where, hand in walk.grads.items():
        if isinstance(hand, Tensor) and not hand.isfinite().all():
            exam.report.add("not-finite", where, FAR)
    if exam.report.findings or _is_loss_alone(exam):
        return
    if found := _wrong(exam, walk, x):
        said = f"{int(found[0].sum())} elements are wrong {FAR}"
        exam.report.add("wrong-elements", "inputs", said)


def infinite_by_right(exam: Examination, x: Tensor) -> bool:
    """Whether outputs are inf at x as those of 1 / x are at 0, or those of exp at 1000.

    A pole is a point: beside it they are finite. An overflow comes after very large values; where
    it does not, as in log(1 + exp(z)), something in between has overflowed.
    """

    def outputs(scale: float) -> Tensor:
        return exam.subject(warm=False).forward(x * scale)

    if not outputs(2.0**-20).isfinite().all() or outputs(1 + 2.0**-10).isfinite().all():
        return True
    if outputs(1.0).isnan().any():
        return False
    finite, infinite, largest = 0.0, 1.0, 0.0
    for _ in range(50):
        middle = (finite + infinite) / 2
        if (found := outputs(middle)).isfinite().all():
            finite, largest = middle, found.abs().max().item()
        else:
            infinite = middle
    return largest > torch.finfo(torch.float64).max ** 0.5


def kinks(exam: Examination) -> None:
    """At 0, +-1, +-2, ...: the hand value lies between the slopes on both sides."""
    if not exam.x.is_floating_point():
        return
    for x, labels in _likely_kinks(exam):
        with exam.otherwise(labels=labels):
            _at_a_kink(exam, x)
        if exam.report.findings:
            return


def _at_a_kink(exam: Examination, x: Tensor) -> None:
    try:
        walk = exam.walk(exam.subject(warm=False), x)
        found = _wrong(exam, walk, x)
    except Exception:
        return
    if found and (bad := found[0] & ~_right_nearby(exam, walk, x)).any():
        along = found[1].along(walk.upstream)
        _report_kink(exam, walk.grads["inputs"], along, x, bad)


def _likely_kinks(exam: Examination) -> Iterator[Batch]:
    """x with the points strewn over it and a row of norm 0; predictions at and beside labels."""
    x, labels = exam.x, exam.labels
    if not _is_loss_alone(exam):
        for start in range(0, len(POINTS), max(x.numel(), 1)):
            yield exam.with_points(POINTS[start : start + x.numel()]), labels
        if x.ndim > 1:
            yield x.index_fill(-2, torch.tensor([0]), 0.0), labels
    elif _ends_at_0_and_1(exam):
        _note_the_ends(exam)
    else:
        for point in POINTS:
            yield torch.full_like(x, point), labels
            if labels is not None and labels.shape == x.shape:
                yield labels + point, labels
                yield point / labels, labels  # where a product with the label is that point
    if _takes_any_label(exam) and not _is_loss_alone(exam):
        predicts = exam.subject(warm=False).predicts(x.clone())
        if labels is not None and predicts.shape == labels.shape:
            yield from ((x, predicts - point) for point in (0.0, 1.0, -1.0))


def _takes_any_label(exam: Examination) -> bool:
    """Whether labels are no probabilities: those cannot be moved to where the predictions are."""
    labels = exam.labels
    return labels is not None and bool(((labels < 0) | (labels > 1)).any())


def _is_loss_alone(exam: Examination) -> bool:
    return exam.labels is not None and getattr(exam.op, "model", None) is None


def _ends_at_0_and_1(exam: Examination) -> bool:
    """Whether a loss takes probabilities only: elsewhere it raises, is nan, or does not change."""
    for beyond in (-1.5, 2.5):
        try:
            x = torch.full_like(exam.x, beyond)
            slope = exam.slopes_of(exam.subject(warm=False), "inputs", x).slope
        except Exception:
            return True
        if slope.isfinite().all() and slope.any():
            return False
    return True


def _note_the_ends(exam: Examination) -> None:
    """Whether a loss of probabilities survives those that have rounded to 0 or 1."""
    if exam.labels is not None and exam.labels.shape == exam.x.shape:
        ends = exam.labels.round().to(exam.x)
        with exam.otherwise(labels=ends):
            if not exam.subject(warm=False).forward(ends).isfinite().all():
                said = "where predictions have rounded to 0 or 1 the loss is not finite"
                exam.report.notes.append(f"{said}, though the labels are the same")


def _right_nearby(exam: Examination, walk: Walk, x: Tensor) -> Tensor:
    """Where the hand value is right for smaller steps, or is inf and the slopes grow like it."""
    hand, forward = walk.grads["inputs"], exam.subject(warm=False).forward
    far, near, nearest = (slopes(forward, x, STEP / 2.0**k) for k in (0, 10, 20))
    fits = ~outside(hand, near, walk.upstream) | ~outside(hand, nearest, walk.upstream)
    steep, steeper = (s.along(walk.upstream).slope.abs() for s in (far, nearest))
    return fits | (hand.reshape(-1)[far.which].isinf() & (steeper > 2 * steep))


def _report_kink(exam: Examination, hand: Tensor, along: Slopes, x: Tensor, bad: Tensor) -> None:
    i = int(bad.nonzero()[0])
    at, h = (t.reshape(-1)[along.which[i]].item() for t in (x, hand))
    low, high = along.low[i].item(), along.high[i].item()
    is_kink = high - low > 1e-3 * max(abs(low), abs(high))
    kind = "illegal-subgradient" if is_kink else "wrong-elements"
    said = f"at an input of {at:g} the hand value is {h:.6g}, the slopes beside it {low:.6g} "
    kind = kind if math.isfinite(h) else "not-finite"
    exam.report.add(kind, "inputs", f"{said}to {high:.6g}")


def magnitudes(exam: Examination) -> None:
    """Inputs of every size from 0.01 to 1000: a mask may be wrong where none was drawn."""
    if exam.labels is not None or not exam.x.is_floating_point():
        return
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
            walk = exam.walk(exam.subject(warm=False), x)
            if walk.outputs.isnan().any() or not walk.grads["inputs"].isfinite().all():
                return  # outside of the domain, or an overflow that saturation has judged
            found = _wrong(exam, walk, x)
        except Exception:
            return
        if found:
            bad, numeric = found
            i = int(bad.nonzero()[0])
            at = x.reshape(-1)[numeric.which[i]].item()
            hand = walk.grads["inputs"].reshape(-1)[numeric.which[i]].item()
            truth = numeric.along(walk.upstream).slope[i].item()
            said = f"at an input of {at:.6g}: hand {hand:.6g}, numeric {truth:.6g}"
            exam.report.add("wrong-elements", "inputs", said)


def _wrong(exam: Examination, walk: Walk, x: Tensor) -> tuple[Tensor, Slopes] | None:
    """The elements of dL/dx that neither autograd nor the slopes on both sides confirm, if any.

    A steep slope outruns the differences, not autograd, and where that agrees they are not taken.
    """
    hand = walk.grads["inputs"]
    if not isinstance(hand, Tensor):
        return None
    by_autograd = autograd_of(exam.subject(warm=False), x, walk.upstream)
    witness = by_autograd.get("inputs", torch.full_like(x, torch.nan))
    alike = (hand - witness).abs() <= CLOSE * witness.abs()
    if alike.all():
        return None
    numeric = exam.slopes_of(exam.subject(warm=False), "inputs", x)
    bad = outside(hand, numeric, walk.upstream) & ~alike.reshape(-1)[numeric.which]
    return (bad, numeric) if bad.any() else None
