"""Who is to blame for a wrong gradient: an op inside, the situation, or the formula."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from ..walk import named_ops
from .copies import reachable
from .diagnose import Evidence, diagnose
from .examine import Examination, Walk
from .numeric import ROUNDING, STEP, Slopes, alike
from .subject import Subject
from .witness import Compared, outside

Wrong = dict[str, Compared]
NUDGE = 2.0**-36  # beside the inputs: float64 sees it, float32 rounds 4,000 times as much
LOST = f"a change of {NUDGE:.1g} of the inputs is lost in rounding, as in float32"


def blame(exam: Examination, subject: Subject, walk: Walk, wrong: Wrong) -> None:
    """Name what is wrong: first what the situation tells, then what the numbers tell."""
    report, where = exam.report, next(iter(wrong))
    if culprits(exam) or low_precision(exam, walk, wrong):
        return
    if exam.labels is None and exam.agrees(contiguous=True):
        report.add("needs-contiguous", where, "right for a contiguous upstream gradient only")
    elif exam.agrees(warm=False):
        report.add("stale-state", where, "right in the first call, wrong after another batch")
    elif _right_the_second_time(exam):
        report.add("stale-state", where, "right when the batch before was the same one")
    elif _keeps_a_copy(exam) and exam.agrees(moved=False):
        report.add("stale-state", where, "taken from the params as they were at construction")
    else:
        skipped = _skipped_op(exam, walk, wrong)
        for w, found in wrong.items():
            if w in skipped:
                report.add("missing-term", w, f"{skipped[w]} is left out of the walk back")
            elif _of_the_start(exam, w, walk):
                report.add("stale-state", w, "taken from the params as they were at construction")
            else:
                report.add(*_named(w, diagnose(_evidence(exam, subject, w, walk, found))))


def _named(where: str, found: tuple[str, str]) -> tuple[str, str, str]:
    return found[0], where, found[1]


def culprits(exam: Examination) -> bool:
    """In a container: the ops that fail alone, on the inputs that they get there."""
    root = exam.op if exam.labels is None else getattr(exam.op, "model", None)
    if root is None or not hasattr(root, "layers"):
        return False
    found = False
    for name, leaf, x in exam.leaves(root):
        for finding in exam.alone(leaf, x).findings:
            where = name if finding.where == "inputs" else f"{name}.{finding.where}"
            exam.report.add(finding.kind, where, finding.message)
            found = True
    return found


def low_precision(exam: Examination, walk: Walk, wrong: Wrong) -> bool:
    """Whether outputs or gradients hold float32 numbers only, and are right but for that."""
    near = [w for w, found in wrong.items() if _is_near(walk, found)]
    if len(near) == len(wrong) and is_coarse(_many_outputs(exam, walk)):
        exam.report.add("low-precision", "outputs", "every output is a float32 number")
        return True
    coarse = [w for w in near if is_coarse(wrong[w].hand)]
    for w in coarse:
        exam.report.add("low-precision", w, "every element is a float32 number")
    if not coarse and near and sees_too_little(exam):
        exam.report.add("low-precision", "outputs", LOST)
        return True
    return bool(coarse)


def is_coarse(numbers: Tensor) -> bool:
    some = numbers[numbers.abs() > 1e-12]  # what is left of a sum that is 0 has few digits
    return len(some) > 2 and bool((some.float().double() == some).all())


def sees_too_little(exam: Examination) -> bool:
    """Whether half of the outputs or more lose a change that float64 holds and float32 does not.

    Along one way d: f(x + d) = f(x) where the slope is not 0, or f(x + d) is not halfway to
    f(x + 2 d). Where f jumps, is steep or has a kink, it is not asked.
    """
    x, forward = exam.x, exam.subject().forward
    if not x.is_floating_point():
        return False
    way = x * exam.random(*x.shape, salt=70).sign()
    here = forward(x)
    change, twice, near, far, back = (
        forward(x + h * way) - here for h in (NUDGE, 2 * NUDGE, STEP / 2, STEP, -STEP)
    )
    steady = torch.maximum((far - 2 * near).abs(), (far + back).abs()) < 0.1 * far.abs()
    moves = steady & (near.abs() * (2 * NUDGE / STEP) > ROUNDING * here.abs())
    bent = (twice - 2 * change).abs() > 2.0**-30 * here.abs().max()
    lost = steady & (bent | (moves & (change == 0)))
    return bool(steady.any()) and 2 * int(lost.sum()) >= int(steady.sum())


def _many_outputs(exam: Examination, walk: Walk) -> Tensor:
    """The outputs, of a loss those for several inputs: one number alone may be short by chance."""
    if exam.labels is None:
        return walk.outputs
    subject = exam.subject()
    return torch.stack([subject.forward(exam.x * (1 - i / 16)) for i in range(4)])


def _is_near(walk: Walk, found: Compared) -> bool:
    truth = found.numeric.along(walk.upstream).slope
    return bool((found.moved - truth).abs().max() < 0.02 * truth.abs().max())


def _right_the_second_time(exam: Examination) -> bool:
    try:
        subject = exam.subject(warm=False)
        exam.walk(subject, exam.x)
        return exam.is_right(subject, exam.walk(subject, exam.x), exam.x)
    except Exception:
        return False


def _of_the_start(exam: Examination, where: str, walk: Walk) -> bool:
    """Whether the gradient is the one of the params before they were moved."""
    start = exam.subject(moved=False)
    plain = all(len(p.unique()) == 1 for p in start.params.values())
    if not start.params or (plain and not _keeps_a_copy(exam)):
        return False
    numeric = exam.slopes_of(start, where, exam.x)
    return not outside(walk.grads[where], numeric, walk.upstream).any()


def _keeps_a_copy(exam: Examination) -> bool:
    """Whether something that the op holds has the values of a param and is not that param."""
    start = exam.subject(moved=False, warm=False)
    params = list(start.params.values())
    held = [part for part in reachable(start.op) if isinstance(part, Tensor)]
    others = [t for t in held if not any(t is p for p in params)]
    return any(
        t.shape == shape.shape and torch.equal(t, shape)
        for t in others
        for p in params
        for shape in ((p, p.mT) if p.ndim > 1 else (p,))
    )


def _skipped_op(exam: Examination, walk: Walk, wrong: dict[str, Compared]) -> dict[str, str]:
    """In a container: which gradients are those of a walk back past one op. {where: op}"""
    skipped: dict[str, str] = {}
    if exam.labels is not None or not hasattr(exam.op, "layers"):
        return skipped
    for left_out in named_ops(exam.op):
        subject = exam.subject()
        subject.forward(exam.x.clone())
        grads = walk.upstream
        try:
            for name, op in reversed(named_ops(subject.op).items()):
                grads = grads if name == left_out else op.backward(grads)
        except Exception:
            continue
        for where, found in {"inputs": grads, **subject.grads}.items():
            if where in wrong and found.any() and alike(found, walk.grads[where]):
                skipped[where] = left_out
    return skipped


def _evidence(
    exam: Examination, subject: Subject, where: str, walk: Walk, found: Compared
) -> Evidence:
    numeric, bad = found.numeric, found.bad
    flat = walk.outputs.reshape(-1)
    row_count = exam.x.shape[:-1].numel() if exam.x.ndim > 1 else 1
    per_row = max(len(flat) // max(row_count, 1), 1)
    here = exam.x if where == "inputs" else subject.params[where]
    index = numeric.which

    def along(other: Slopes) -> Tensor:
        return (other.slope * walk.upstream.reshape(-1)).sum(1)

    def transposed() -> Iterator[Tensor]:
        if here.ndim == 2 and here.shape[0] == here.shape[1] and len(index) == here.numel():
            yield along(numeric).reshape(here.shape).T.reshape(-1)
        yield from (g for _, g in replaced(lambda p: p.T if _is_square(p) else None))

    def replaced(change: Any) -> Iterator[tuple[str, Tensor]]:
        for label, param in subject.params.items():
            other = change(param)
            if other is None or label == where:
                continue
            before = param.clone()
            param.copy_(other.clone())
            try:
                yield label, along(exam.slopes_of(subject, where, exam.x))
            finally:
                param.copy_(before)

    def instead() -> Iterator[tuple[str, Tensor]]:
        yield from replaced(torch.ones_like)
        yield from replaced(lambda p: torch.eye(*p.shape, dtype=p.dtype) if _is_square(p) else None)
        if where != "inputs":
            ones = exam.slopes_of(subject, where, torch.ones_like(exam.x))
            if ones.slope.shape == numeric.slope.shape:
                yield "the inputs' value", along(ones)

    return Evidence(
        where=where,
        hand=found.moved,
        bad=bad,
        slopes=numeric,
        upstream=walk.upstream.reshape(-1),
        rows=torch.arange(len(flat)) // per_row,
        here=here.reshape(-1)[index],
        outputs=flat,
        shape=tuple(here.shape),
        row_count=row_count,
        same_for_another_upstream=_same_for_another(exam, where, walk),
        transposed=transposed,
        instead=instead,
    )


def _is_square(p: Tensor) -> bool:
    return p.ndim == 2 and p.shape[0] == p.shape[1] and len(p) > 1


def _same_for_another(exam: Examination, where: str, walk: Walk) -> bool:
    if exam.labels is not None:
        return False
    other = exam.walk(exam.subject(), exam.x, salt=9)
    return torch.equal(other.grads[where], walk.grads[where])
