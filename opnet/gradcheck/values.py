"""Every gradient against finite differences and autograd, and who is to blame when one is wrong."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from ..walk import attributes, named_ops
from .diagnose import CLOSE, Evidence, diagnose
from .examine import Examination, Walk, outside, same
from .numeric import Slopes
from .report import Row
from .subject import Subject


def values(exam: Examination) -> None:
    """Every gradient against finite differences, and against autograd where that runs."""
    subject = exam.subject()
    walk = exam.walk(subject, exam.x)
    compared = exam.compared(subject, walk, exam.x)
    for where, by_autograd in second_witness(exam, subject, walk).items():
        if where in compared:
            compared[where] = _sharpened(*compared[where], walk, where, by_autograd)
            unseen(exam, where, *compared[where], walk, by_autograd)
    for where, (numeric, bad) in compared.items():
        truth = numeric.along(walk.upstream).slope.squeeze(1)
        off = (walk.grads[where].reshape(-1)[numeric.which] - truth).abs().max().item()
        exam.report.rows.append(Row(where, len(numeric.which), off, not bad.any()))
    wrong = {where: found for where, found in compared.items() if found[1].any()}
    if exam.report.blames("accumulates", "mutates-inputs", "mutates-upstream", "not-deterministic"):
        return
    if not wrong:
        coarse(exam, walk)
    else:
        blame(exam, subject, walk, wrong)


def second_witness(
    exam: Examination, subject: Subject, walk: Walk, at: Tensor | None = None
) -> dict[str, Tensor]:
    """The gradients by autograd of the forward; empty where it does not apply."""
    x = (exam.x if at is None else at).clone()
    leaves = {"inputs": x, **subject.params}
    leaves = {where: leaf for where, leaf in leaves.items() if leaf.is_floating_point()}
    try:
        for leaf in leaves.values():
            leaf.requires_grad_()
        with torch.enable_grad():
            subject.rewind()
            outputs = subject.plain_forward(x)
            found = torch.autograd.grad(
                outputs, list(leaves.values()), walk.upstream, allow_unused=True
            )
    except Exception:
        return {}
    finally:
        for leaf in leaves.values():
            leaf.requires_grad_(False)
        subject.forward(exam.x.clone())  # what it remembers has no graph again
    return {where: g for where, g in zip(leaves, found, strict=True) if g is not None}


def _sharpened(
    numeric: Slopes, bad: Tensor, walk: Walk, where: str, witness: Tensor
) -> tuple[Slopes, Tensor]:
    """Where autograd and the differences agree, the hand value has to be as near to autograd's."""
    if bad.any() or outside(witness, numeric, walk.upstream).any():
        return numeric, bad
    along = numeric.along(walk.upstream)
    smooth = (along.high - along.low).squeeze(1) < 0.1 * along.slope.abs().max()
    hand, wanted = (g.reshape(-1)[numeric.which] for g in (walk.grads[where], witness))
    allowed = CLOSE * wanted.abs().max() + 1e-3 * (along.high - along.low).squeeze(1)
    return numeric, smooth & ((hand - wanted).abs() > allowed)


def unseen(
    exam: Examination, where: str, numeric: Slopes, bad: Tensor, walk: Walk, witness: Tensor
) -> None:
    """The elements of a large tensor that were not moved, by a witness that was right elsewhere."""
    hand = walk.grads[where]
    if bad.any() or len(numeric.which) == hand.numel():
        return
    if outside(witness, numeric, walk.upstream).any():
        return
    off = (hand - witness).abs() > 1e3 * CLOSE * witness.abs().max()
    if off.any():
        said = f"{int(off.sum())} of {hand.numel()} elements differ from autograd of the forward"
        exam.report.add("wrong-elements", where, said)


def coarse(exam: Examination, walk: Walk) -> None:
    """Gradients that hold float32 numbers only, though the upstream gradient holds finer ones."""
    if exam.labels is not None:
        return
    for where, hand in walk.grads.items():
        if isinstance(hand, Tensor) and _coarse(hand):
            exam.report.add("low-precision", where, "every element is a float32 number")


def _coarse(numbers: Tensor) -> bool:
    some = numbers[numbers.abs() > 1e-12]  # what is left of a sum that is 0 has few digits
    return len(some) > 2 and bool((some.float().double() == some).all())


def blame(
    exam: Examination, subject: Subject, walk: Walk, wrong: dict[str, tuple[Slopes, Tensor]]
) -> None:
    """Name what is wrong: first what the situation tells, then what the numbers tell."""
    report = exam.report
    where = next(iter(wrong))
    if culprits(exam):
        return
    if exam.labels is None and _coarse(walk.outputs):
        report.add("low-precision", "outputs", "every output is a float32 number")
        return
    coarse_ones = [
        w
        for w, (numeric, _) in wrong.items()
        if exam.labels is None and _coarse(walk.grads[w]) and _nearly_right(walk, w, numeric)
    ]
    for w in coarse_ones:
        report.add("low-precision", w, "every element is a float32 number")
    if coarse_ones:
        return
    if exam.labels is None and exam.agrees(contiguous=True):
        said = "right for a contiguous upstream gradient only"
        report.add("needs-contiguous", where, said)
        return
    if exam.agrees(warm=False):
        report.add("stale-state", where, "right in the first call, wrong after another batch")
        return
    if _right_the_second_time(exam):
        report.add("stale-state", where, "right when the batch before was the same one")
        return
    skipped = _skipped_op(exam, walk, wrong)
    for w, (numeric, bad) in wrong.items():
        if w in skipped:
            report.add("missing-term", w, f"{skipped[w]} is left out of the walk back")
            continue
        if _of_the_start(exam, subject, w, walk):
            report.add("stale-state", w, "taken from the params as they were at construction")
            continue
        kind, said = diagnose(_evidence(exam, subject, w, walk, numeric, bad))
        report.add(kind, w, f"{said}{_worst(walk, w, numeric, exam, subject)}")


def culprits(exam: Examination) -> bool:
    """In a container: the ops that fail alone, on the inputs that they get there."""
    root = exam.op if exam.labels is None else getattr(exam.op, "model", None)
    if root is None or not hasattr(root, "layers"):
        return False
    found = False
    for name, leaf, x in exam.leaves(root):
        report = exam.alone(leaf, x)
        for finding in report.findings:
            where = name if finding.where == "inputs" else f"{name}.{finding.where}"
            exam.report.add(finding.kind, where, finding.message)
            found = True
    return found


def _worst(walk: Walk, where: str, numeric: Slopes, exam: Examination, subject: Subject) -> str:
    hand = walk.grads[where].reshape(-1)[numeric.which]
    truth = numeric.along(walk.upstream).slope.squeeze(1)
    error = (hand - truth).abs().nan_to_num(nan=torch.inf)
    i = int(error.argmax())
    shape = exam.x.shape if where == "inputs" else subject.params[where].shape
    place = [int(k) for k in torch.unravel_index(numeric.which[i], shape)]
    return f" (worst at {place}: hand {hand[i].item():.6g}, numeric {truth[i].item():.6g})"


def _nearly_right(walk: Walk, where: str, numeric: Slopes) -> bool:
    truth = numeric.along(walk.upstream).slope.squeeze(1)
    error = walk.grads[where].reshape(-1)[numeric.which] - truth
    return bool(error.abs().max() < 0.02 * truth.abs().max())


def _right_the_second_time(exam: Examination) -> bool:
    try:
        subject = exam.subject(warm=False)
        exam.walk(subject, exam.x)
        return not exam.wrong(subject, exam.walk(subject, exam.x), exam.x)
    except Exception:
        return False


def _of_the_start(exam: Examination, subject: Subject, where: str, walk: Walk) -> bool:
    """Whether the gradient is the one of the params before they were moved."""
    start = exam.subject(moved=False)
    plain = all(len(p.unique()) == 1 for p in start.params.values())
    if not start.params or (plain and not _keeps_a_copy(start)):
        return False
    numeric = exam.slopes_of(start, where, exam.x)
    return not outside(walk.grads[where], numeric, walk.upstream).any()


def _keeps_a_copy(subject: Subject) -> bool:
    """Whether an attribute holds the values of a param beside it."""
    held = [t for t in attributes(subject.op).values() if isinstance(t, Tensor)]
    return any(
        t is not p and t.numel() == p.numel() and torch.equal(t.reshape(p.shape), p)
        for t in held
        for p in subject.params.values()
    )


def _skipped_op(exam: Examination, walk: Walk, wrong: Any) -> dict[str, str]:
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
            if where in wrong and same(found, walk.grads[where]):
                skipped[where] = left_out
    return skipped


def _evidence(
    exam: Examination, subject: Subject, where: str, walk: Walk, numeric: Slopes, bad: Tensor
) -> Evidence:
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
        hand=walk.grads[where].reshape(-1)[index],
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
