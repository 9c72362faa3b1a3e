"""backward called otherwise: again, in halves, for other upstreams, for new values in one place."""

from typing import Any

import torch
from torch import Tensor

from ..op import Op
from .diagnose import multiple
from .examine import Examination, equal
from .numeric import CLOSE, alike
from .subject import Subject


def backward_again(exam: Examination) -> None:
    """Forward twice and backward twice give the same bits."""
    report, subject = exam.report, exam.subject()
    first = subject.forward(exam.x.clone()).clone()
    outputs = subject.forward(exam.x.clone())
    if not equal(first, outputs):
        report.add("not-deterministic", "outputs", "two forwards from one random state differ")
        return
    if report.blames("mutates-upstream", "mutates-inputs"):
        return
    try:
        a, b, c = (_backward(exam, subject, outputs) for _ in range(3))
    except Exception as error:
        said = f"a second backward raises {type(error).__name__}: {error}"
        report.add("stale-state", "inputs", said)
        return
    for where in a:
        if equal(a[where], b[where]) and equal(b[where], c[where]):
            continue
        if a[where].shape != b[where].shape:
            report.add("stale-state", where, "a second backward gives another shape")
            continue
        kind, said = "stale-state", "backward twice after one forward gives two results"
        step, again = b[where] - a[where], c[where] - b[where]
        if _draws_backward(exam, where):
            kind = "not-deterministic"
        elif step.any() and (kept := multiple(again, step)) is not None:
            kind, said = "accumulates", "each backward adds to the one before"
            said += "" if abs(kept - 1) < CLOSE else f", {kept:.3g} of it"
        report.add(kind, where, said)


def _backward(exam: Examination, subject: Subject, outputs: Tensor) -> dict[str, Tensor]:
    dx = subject.backward(exam.upstream_for(outputs))
    grads = {"inputs": dx, **subject.grads}
    return {k: g.clone() for k, g in grads.items() if isinstance(g, Tensor)}


def _draws_backward(exam: Examination, where: str) -> bool:
    """Whether it is chance that makes two backwards differ, and not what the first has left."""

    def second(restart: bool) -> Tensor:
        subject = exam.subject()
        outputs = subject.forward(exam.x.clone())
        _backward(exam, subject, outputs)
        if restart:
            subject.rewind()
        return _backward(exam, subject, outputs)[where]

    return not (equal(second(True), second(False)) and equal(second(True), second(True)))


def halves(exam: Examination) -> None:
    """Each half called first, and called after the other, gives what backward gives."""
    if exam.labels is not None or not _has_comparable_halves(exam.op):
        return
    whole = exam.walk(exam.subject(), exam.x)
    for order in (("backward_inputs", "backward_params"), ("backward_params", "backward_inputs")):
        subject = exam.subject()
        subject.forward(exam.x.clone())
        for grad in subject.grads.values():
            if isinstance(grad, Tensor):
                grad.fill_(torch.nan)
        try:
            with torch.no_grad():
                made = {half: getattr(subject.op, half)(whole.upstream.clone()) for half in order}
        except Exception as error:
            said = f"backward runs, {order[0]} first does not: {type(error).__name__}: {error}"
            exam.report.add("halves-disagree", "inputs", said)
            return
        for where, half in {"inputs": made["backward_inputs"], **subject.grads}.items():
            given = whole.grads.get(where)
            if isinstance(given, Tensor) and not alike(half, given):
                said = f"backward gives another than its half, called {order[0]} first"
                exam.report.add("halves-disagree", where, said)


def _has_comparable_halves(op: Any) -> bool:
    """Whether the halves are at least as new as the whole backward: else nobody calls them."""
    for cls in type(op).__mro__:
        if cls is Op:
            return False
        if any(half in vars(cls) for half in ("backward_params", "backward_inputs")):
            return True
        if "backward" in vars(cls):
            return False
    return False


def proportional(exam: Examination) -> None:
    """backward is linear in the upstream gradient, however large or small that is."""
    if exam.labels is not None:
        return
    for size in (2.0**20, 2.0**-20):  # powers of two: nothing is rounded
        plain = exam.walk(exam.subject(), exam.x)
        other = exam.walk(exam.subject(), exam.x, size=size)
        for where, hand in plain.grads.items():
            if isinstance(hand, Tensor) and not alike(other.grads[where], hand * size):
                said = f"{size:g} times the upstream gradient does not give {size:g} times as much"
                exam.report.add("wrong-value", where, f"{said}: a clip, or a constant added?")


def same_memory(exam: Examination) -> None:
    """Another batch in the memory of the one before: no address stands for its values."""
    if exam.report.findings:
        return
    turned, labels = exam.other_batches()[-1]
    fresh = exam.walk(exam.subject(warm=False), exam.x)
    subject, place = exam.subject(warm=False), turned.clone()
    if place.shape != exam.x.shape:
        return
    own = subject.labels
    for values, subject.labels in ((turned, labels), (exam.x, own)):
        place.copy_(values)
        outputs = subject.forward(place)
        dx = subject.backward(exam.upstream_for(outputs))
    for where, grad in {"inputs": dx, **subject.grads}.items():
        if isinstance(grad, Tensor) and not alike(grad, fresh.grads[where]):
            said = "wrong for new values in the memory of the batch before"
            exam.report.add("stale-state", where, said)
