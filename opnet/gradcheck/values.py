"""Every gradient against finite differences and against autograd of the forward."""

import torch
from torch import Tensor

from .blame import blame, culprits, is_coarse
from .examine import Examination, Walk
from .numeric import CLOSE, ROUNDING, STEP
from .report import Row
from .witness import Compared

NUDGE = 2.0**-36  # beside the inputs: float64 sees it, float32 rounds 4,000 times as much


def values(exam: Examination) -> None:
    """Every gradient against finite differences, and against autograd where that runs."""
    subject = exam.subject()
    walk = exam.walk(subject, exam.x)
    compared = exam.compared(subject, walk, exam.x)
    exam.report.rows = [_row(w, c, walk) for w, c in compared.items() if len(c.bad)]
    if exam.report.blames("accumulates", "mutates-inputs", "mutates-upstream", "not-deterministic"):
        return
    wrong = {where: found for where, found in compared.items() if found.bad.any()}
    if wrong and _only_ties(exam, list(wrong.values())):
        exam.report.notes.append("of equal inputs another is chosen than the differences see")
        return
    if wrong:
        blame(exam, subject, walk, wrong)
        return
    coarse(exam, walk)
    for where, found in compared.items():
        unseen(exam, where, found)
    if not exam.report.findings and sees_too_little(exam) and not culprits(exam):
        said = f"a change of {NUDGE:.1g} of the inputs is lost in rounding, as in float32"
        exam.report.add("low-precision", "outputs", said)


def _row(where: str, found: Compared, walk: Walk) -> Row:
    """The line of the table: the element that is furthest off, a wrong one if there is one."""
    along, bad = found.numeric.along(walk.upstream), found.bad
    hand, truth = found.moved, along.slope
    error = (hand - truth).abs().masked_fill(along.kink & ~bad, 0).nan_to_num(nan=torch.inf)
    i = int(torch.where(bad | ~bad.any(), error, -1).argmax())
    at = [int(k) for k in torch.unravel_index(found.numeric.which[i], found.hand.shape)]
    return Row(
        where, len(error), error[i].item(), at, hand[i].item(), truth[i].item(), not bad.any()
    )


def unseen(exam: Examination, where: str, found: Compared) -> None:
    """The elements of a large tensor that were not moved, by a witness that was right elsewhere."""
    hand, witness = found.hand, found.by_autograd
    if witness is None or len(found.bad) == hand.numel():
        return
    off = (hand - witness).abs() > CLOSE * witness.abs().max()
    if off.any():
        said = f"{int(off.sum())} of {hand.numel()} elements differ from autograd of the forward"
        exam.report.add("wrong-elements", where, said)


def coarse(exam: Examination, walk: Walk) -> None:
    """Gradients that hold float32 numbers only, though the upstream gradient holds finer ones."""
    if exam.labels is not None:
        return
    for where, hand in walk.grads.items():
        if isinstance(hand, Tensor) and is_coarse(hand):
            exam.report.add("low-precision", where, "every element is a float32 number")


def sees_too_little(exam: Examination) -> bool:
    """Whether half of the outputs or more lose a change that float64 holds and float32 does not.

    Along one way d: f(x + d) = f(x) where the slope is not 0, or f(x + d) is not halfway to
    f(x + 2 d). Where f jumps or is steep, what it does over a longer way tells nothing.
    """
    x, forward = exam.x, exam.subject().forward
    if not x.is_floating_point():
        return False
    way = x * exam.random(*x.shape, salt=70).sign()
    here = forward(x)
    change, twice, near, far = (
        forward(x + h * way) - here for h in (NUDGE, 2 * NUDGE, STEP / 2, STEP)
    )
    steady = (far - 2 * near).abs() < 0.1 * far.abs()
    moves = steady & (near.abs() * (2 * NUDGE / STEP) > ROUNDING * here.abs())
    bent = (twice - 2 * change).abs() > 2.0**-30 * here.abs().max()
    lost = steady & (bent | (moves & (change == 0)))
    return bool(steady.any()) and 2 * int(lost.sum()) >= int(steady.sum())


def _only_ties(exam: Examination, compared: list[Compared]) -> bool:
    """Whether autograd chooses as the op does, and both are right once no inputs are equal."""
    if any((found.bad & found.far).any() for found in compared):
        return False
    noise = exam.random(*exam.x.shape, salt=71).tanh()
    return exam.x.is_floating_point() and exam.agrees(exam.x + 2.0**-8 * noise)
