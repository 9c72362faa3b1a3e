"""The situations in which an op is examined, the plainest first, and what a failure is called."""

from typing import Any

import torch
from torch import Tensor

from ..errors import NonFiniteError
from ..tensors import described
from ..walk import dict_of, every_op, leaf_ops
from .behaviour import backward_again, gradients_fit, halves, layout, leaves_alone, native_dtype
from .examine import Examination
from .extremes import POINTS, SATURATING, kinks, magnitudes, saturation
from .values import values


def examine(exam: Examination) -> None:
    """Every situation, the plainest first; what cannot even run is not looked at further."""
    if not runs(exam):
        return
    gradients_fit(exam)
    native_dtype(exam)
    leaves_alone(exam)
    backward_again(exam)
    layout(exam)
    values(exam)
    if not exam.report.findings:
        halves(exam)
        rebound(exam)
        eval_mode(exam)
    batch_of_one(exam)
    floating = exam.x.is_floating_point()
    if floating and not exam.report.findings:
        kinks(exam)
    if floating and exam.labels is None and not exam.report.findings:
        saturation(exam)
        magnitudes(exam)


def runs(exam: Examination) -> bool:
    report, subject = exam.report, exam.subject(warm=False)
    step = "forward"
    try:
        outputs = subject.forward(exam.x.clone())
        if not isinstance(outputs, Tensor):
            report.add("raises", "outputs", f"forward returned a {type(outputs).__name__}")
            return False
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
        other = exam.other_batches()[0]
        subject = exam.subject(warm=False)
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
    exam.evaluating = True
    try:
        evaluating = exam.subject()
        same = torch.equal(training.forward(exam.x.clone()), evaluating.forward(exam.x.clone()))
        if not same or any(dict_of(op, "buffers") for op in leaf_ops(exam.op)):
            rows = list(exam.report.rows)
            values(exam)
            exam.report.rows = rows
    except Exception as error:
        exam.report.add("raises", "inputs", f"in eval mode: {type(error).__name__}: {error}")
    finally:
        exam.evaluating = False


def batch_of_one(exam: Examination) -> None:
    shape = exam.x.shape
    if len(shape) < 2 or shape[-2] == 1 or exam.report.findings or exam.rows_are_fixed:
        return
    one, labels, axis = exam.x[..., :1, :], exam.labels, len(shape) - 2
    if labels is not None and labels.ndim > axis:
        exam.labels = labels.narrow(axis, 0, 1)
    try:
        subject = exam.subject(warm=False)
        outputs = subject.forward(one.clone())
        subject.backward(exam.upstream_for(outputs))
        finite = bool(outputs.isfinite().all()) or not bool(one.isfinite().all())
        right = finite and exam.agrees(one, warm=False)
        said = f"a wrong gradient or value; outputs are {described(outputs)}"
    except (ValueError, NonFiniteError) as error:
        exam.report.notes.append(f"a batch of one row is refused: {error}")
        return
    except Exception as error:
        right, said = False, f"{type(error).__name__}: {error}"
    finally:
        exam.labels = labels
    if not right and len(shape) > 2 and labels is None and exam.agrees(exam.x[:1], warm=False):
        return  # its rows are on the first axis
    if not right:
        exam.report.add("fails-batch-of-one", "inputs", f"N = 1: {said}")


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
