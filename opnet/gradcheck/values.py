"""Every gradient against finite differences and against autograd of the forward."""

import torch
from torch import Tensor

from .blame import LOST, blame, culprits, is_coarse, sees_too_little
from .examine import Examination, Walk
from .numeric import CLOSE
from .report import Row
from .witness import Compared


def values(exam: Examination) -> None:
    """Every gradient against finite differences, and against autograd where that runs."""
    subject = exam.subject()
    walk = exam.walk(subject, exam.x)
    compared = exam.compared(subject, walk, exam.x)
    exam.report.rows = [_row(w, c, walk) for w, c in compared.items() if len(c.bad)]
    if exam.report.blames("accumulates", "mutates-inputs", "mutates-upstream", "not-deterministic"):
        return
    wrong = {where: found for where, found in compared.items() if found.bad.any()}
    confirmed = {where for where, found in compared.items() if found.by_autograd is not None}
    exam.trusted = set() if wrong else confirmed
    if wrong and (beside := _beside_ties(exam, list(wrong.values()))) is not None:
        exam.report.notes.append("of equal inputs the op chooses one: looked at beside them")
        exam.x = beside
        values(exam)
        return
    if wrong:
        blame(exam, subject, walk, wrong)
        return
    coarse(exam, walk)
    for where, found in compared.items():
        unseen(exam, where, found)
    if not exam.report.findings and sees_too_little(exam) and not culprits(exam):
        exam.report.add("low-precision", "outputs", LOST)


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


def _beside_ties(exam: Examination, wrong: list[Compared]) -> Tensor | None:
    """Inputs where no two are equal, if the op is right there and else does as autograd does."""
    if any((found.bad & found.far).any() for found in wrong) or not exam.x.is_floating_point():
        return None
    beside = exam.x + 2.0**-8 * exam.random(*exam.x.shape, salt=71).tanh()
    return beside if exam.agrees(beside) else None
