"""The situations in which an op is examined, the plainest first, and what a failure is called."""

import dis
import traceback
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..errors import NonFiniteError
from ..tensors import described
from ..walk import dict_of, every_op, leaf_ops
from .again import backward_again, halves, proportional, same_memory
from .behaviour import gradients_fit, layout, leaves_alone, native_dtype
from .blame import culprits
from .examine import Batch, Examination
from .extremes import POINTS, SATURATING, infinite_by_right, kinks, magnitudes, saturation
from .values import values


def examine(exam: Examination) -> None:
    """Every situation, the plainest first; what cannot even run is not looked at further."""
    if not runs(exam):
        return
    for look in FIRST:
        look(exam)
    for look_further in FURTHER:
        if exam.report.findings:
            return
        look_further(exam)


def runs(exam: Examination) -> bool:
    report, subject = exam.report, exam.subject(warm=False)
    step = "forward"
    try:
        outputs = subject.forward(exam.x.clone())
        if not isinstance(outputs, Tensor):
            report.add("raises", "outputs", f"forward returned a {type(outputs).__name__}")
            return False
        if exam.x.isfinite().all() and not outputs.isfinite().all():
            if outputs.isnan().any() or not infinite_by_right(exam, exam.x):
                report.add("not-finite", "outputs", "at the inputs given")
                return False
            report.notes.append("outputs are inf at these inputs: no slope is known there")
        if outputs.dtype != torch.float64:
            said = f"outputs are {described(outputs)} for inputs of float64"
            report.add("low-precision", "outputs", said)
            return False
        step = "backward"
        subject.backward(exam.upstream_for(outputs).contiguous())
        step = "a second batch"
        exam.rows_are_fixed = not _takes_other_rows(exam)
        exam.walk(exam.subject(), exam.x)
    except Exception as error:
        kind = "raises"
        if step == "a second batch" and exam.agrees(contiguous=True):
            kind = "needs-contiguous"
        elif step == "a second batch" and exam.agrees(warm=False):
            kind = "stale-state"
        report.add(kind, "inputs", f"{step}: {type(error).__name__}: {error}")
        return False
    return True


def _takes_other_rows(exam: Examination) -> bool:
    """Whether a fresh op runs on fewer rows; else it is only shown as many as it was given."""
    try:
        subject = exam.subject(warm=False)
        other, subject.labels = exam.other_batches()[0]
        subject.backward(exam.upstream_for(subject.forward(other.clone())).contiguous())
    except Exception as error:
        exam.report.notes.append(f"fewer rows are refused: {type(error).__name__}: {error}")
        return False
    return True


def rebound(exam: Examination) -> None:
    if exam.subject(warm=False).params and not exam.agrees(rebound=True):
        said = "right until params[key] is bound to a new tensor"
        exam.report.add("stale-state", next(iter(exam.subject(warm=False).params)), said)


def eval_mode(exam: Examination) -> None:
    """Where eval mode computes something else, its gradient is looked at too."""
    training = exam.subject()
    with exam.otherwise(evaluating=True):
        try:
            outputs = exam.subject().forward(exam.x.clone())
            same = torch.equal(training.forward(exam.x.clone()), outputs)
            if not same or any(dict_of(op, "buffers") for op in leaf_ops(exam.op)):
                values(exam)
        except Exception as error:
            exam.report.add("raises", "inputs", f"in eval mode: {type(error).__name__}: {error}")


def other_signs(exam: Examination) -> None:
    """Params of the other sign, where forward is defined there."""
    with exam.otherwise(turned=True):
        try:
            subject = exam.subject(warm=False)
            if not (subject.params and subject.forward(exam.x.clone()).isfinite().all()):
                return
            exam.walk(exam.subject(), exam.x)
        except Exception:
            return
        if not exam.agrees():
            values(exam)


def other_sizes(exam: Examination) -> None:
    """A row fewer, more rows than before, and a batch of one."""
    x = exam.x
    if x.ndim < 2 or x.shape[-2] == 1 or exam.rows_are_fixed:
        return
    n = x.shape[-2]
    for x, labels in (exam.rows(torch.arange(n - 1)), *([_more_rows(exam)] if n < 10 else [])):
        with exam.otherwise(x=x, labels=labels):
            if not exam.report.findings and not exam.agrees(warm=False):
                values(exam)
    if not exam.report.findings:
        x, labels = exam.rows(torch.arange(1))
        with exam.otherwise(x=x, labels=labels):
            batch_of_one(exam)
        if exam.report.blames("fails-batch-of-one") and _rows_are_on_the_first_axis(exam):
            exam.report.findings.clear()


def _more_rows(exam: Examination) -> Batch:
    """The rows, then as many again between them: no two are equal."""
    n = exam.x.shape[-2]
    x, labels = exam.rows(torch.arange(2 * n) % n)
    if x.is_floating_point():
        between = 0.7 * exam.x + 0.3 * exam.x.roll(1, -2)
        x = torch.cat([exam.x, between], dim=-2)
    return x, labels


def _rows_are_on_the_first_axis(exam: Examination) -> bool:
    return exam.x.ndim > 2 and exam.labels is None and exam.agrees(exam.x[:1], warm=False)


def batch_of_one(exam: Examination) -> None:
    said = "a wrong gradient or value"
    try:
        subject = exam.subject(warm=False)
        try:
            outputs = subject.forward(exam.x.clone())
        except (ValueError, NonFiniteError) as error:
            if not _on_purpose(error):
                raise
            exam.report.notes.append(f"a batch of one row is refused: {error}")
            return
        subject.backward(exam.upstream_for(outputs))
        finite = bool(outputs.isfinite().all()) or not bool(exam.x.isfinite().all())
        right = finite and exam.agrees(warm=False)
        said = f"a wrong gradient or value; outputs are {described(outputs)}"
    except Exception as error:
        right, said = False, f"{type(error).__name__}: {error}"
    if not right:
        exam.report.add("fails-batch-of-one", "inputs", f"N = 1: {said}")


def _on_purpose(error: Exception) -> bool:
    """Whether a `raise` raised it, and not an operation that could not be done."""
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    last = next(i for i in dis.get_instructions(frame.f_code) if i.offset == _last(error))
    return last.opname == "RAISE_VARARGS"


def _last(error: Exception) -> int:
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    return -1 if place is None else place.tb_lasti


def extra_axes(exam: Examination) -> None:
    """Leading axes: where the given inputs have them, and for every op of opnet."""
    report, x = exam.report, exam.x
    if x.ndim > 2:
        if report.findings:
            flat = exam.alone(exam.op, x.flatten(0, -2))
            if flat.passed and not report.blames("needs-contiguous"):
                first = report.findings[0]
                report.findings.clear()
                said = f"right for [N, features] only: {first.message}"
                report.add("fails-extra-axes", "inputs", said)
        return
    ours = all(type(op).__module__.startswith("opnet.") for op in every_op(exam.op))
    blocks = torch.stack([x, x.flip(0)])
    if ours and x.ndim == 2 and report.passed and not exam.agrees(blocks, warm=False):
        report.add("fails-extra-axes", "inputs", "wrong with an axis in front of the rows")


def reference_agrees(exam: Examination, reference: Any) -> None:
    """Where the reference is finite, at the inputs drawn, at likely edges and far out."""
    for x in (exam.x, exam.with_points(POINTS), exam.with_points(SATURATING)):
        subject = exam.subject(moved=False, warm=False)
        wanted = torch.as_tensor(reference(x.clone()))
        try:
            outputs = subject.forward(x.clone())
        except Exception:
            continue
        if outputs.shape != wanted.shape:
            said = f"outputs are {described(outputs)}, the reference's {described(wanted)}"
            exam.report.add("wrong-forward", "outputs", said)
            return
        error = torch.where(wanted.isfinite(), (outputs - wanted).abs(), 0.0)
        if not (error <= 1e-6 * wanted.abs().clamp(min=1e-6)).all():
            i = int(error.nan_to_num(nan=torch.inf).argmax())
            values = f"{outputs.flatten()[i]:.6g}, the reference {wanted.flatten()[i]:.6g}"
            exam.report.add("wrong-forward", "outputs", f"largest difference: {values}")
            return


FIRST: tuple[Callable[[Examination], None], ...] = (
    gradients_fit,
    native_dtype,
    leaves_alone,
    backward_again,
    same_memory,
    layout,
    values,
)
FURTHER: tuple[Callable[[Examination], Any], ...] = (  # each only where those before found nothing
    halves,
    proportional,
    rebound,
    eval_mode,
    other_signs,
    other_sizes,
    kinks,
    saturation,
    magnitudes,
    culprits,
)
