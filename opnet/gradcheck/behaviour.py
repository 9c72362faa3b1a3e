"""How an op behaves: shapes and dtypes, layouts, what it writes into."""

import torch
from torch import Tensor

from ..tensors import described
from .examine import Examination, Walk, equal
from .numeric import alike
from .subject import Subject
from .witness import outside


def gradients_fit(exam: Examination) -> None:
    """Missing gradients, shapes and dtypes."""
    subject = exam.subject(warm=False)
    walk = exam.walk(subject, exam.x, contiguous=True)
    for where, hand in walk.grads.items():
        wanted = exam.x if where == "inputs" else subject.params[where]
        if where == "inputs" and not exam.x.is_floating_point():
            continue
        if where == "inputs" and hand is None and exam.labels is not None and subject.params:
            exam.report.notes.append("backward of the loss returns no gradient of the inputs")
        elif not isinstance(hand, Tensor):
            came = "nothing" if hand is None else f"a {type(hand).__name__}"
            exam.report.add("missing-gradient", where, f"{came} instead of {described(wanted)}")
        elif hand.shape != wanted.shape:
            exam.report.add(*_misshapen(exam, subject, where, hand, walk))
        elif hand.dtype != wanted.dtype:
            exam.report.add("wrong-dtype", where, f"{described(hand)}, wanted {described(wanted)}")


def _misshapen(
    exam: Examination, subject: Subject, where: str, hand: Tensor, walk: Walk
) -> tuple[str, str, str]:
    wanted = exam.x if where == "inputs" else subject.params[where]
    said = f"{described(hand)}, wanted {described(wanted)}"
    numeric = exam.slopes_of(subject, where, exam.x)

    def is_right(candidate: Tensor) -> bool:
        fits = candidate.numel() == wanted.numel() and candidate.dtype == wanted.dtype
        return fits and not outside(candidate.reshape(wanted.shape), numeric, walk.upstream).any()

    if where != "inputs":
        for axes in range(1, hand.ndim + 1):
            if hand.numel() > wanted.numel() and is_right(hand.sum(tuple(range(axes)))):
                return "not-summed-over-batch", where, f"{said}: right when summed over its rows"
    if hand.ndim == 2 and hand.T.shape == wanted.shape and is_right(hand.T):
        return "transposed", where, f"{said}: right when its axes are exchanged"
    return "wrong-shape", where, said


def native_dtype(exam: Examination) -> None:
    """In the op's own dtype the gradients are of that dtype too."""
    op = Subject(exam.op, exam.labels, wide=False)
    dtypes = [p.dtype for p in op.params.values() if p.is_floating_point()]
    dtype = dtypes[0] if dtypes else torch.float32
    floating = exam.x.is_floating_point()
    if dtype == torch.float64 or exam.labels is not None or not floating:
        return
    try:
        torch.set_default_dtype(torch.float32)
        x = exam.x.to(dtype)
        outputs = op.forward(x)
        dx = op.backward(torch.ones_like(outputs))
    except Exception:
        return  # half precision is not everywhere on a CPU
    finally:
        torch.set_default_dtype(torch.float64)
    for where, hand in {"inputs": dx, **op.grads}.items():
        wanted = x if where == "inputs" else op.params[where]
        if isinstance(hand, Tensor) and hand.dtype != wanted.dtype:
            said = f"{hand.dtype} for {wanted.dtype}"
            exam.report.add("wrong-dtype", where, said)


def layout(exam: Examination) -> None:
    """Inputs that are not contiguous give the same outputs."""
    if exam.labels is not None or exam.x.ndim < 2 or not exam.x.is_floating_point():
        return
    if exam.report.blames("not-deterministic"):
        return
    turned = exam.x.transpose(-1, -2).contiguous().transpose(-1, -2)
    said = "other outputs for inputs that are not contiguous"
    try:
        subject = exam.subject(warm=False)
        outputs, plain = subject.forward(turned), subject.forward(exam.x.clone())
        same = _draws(subject, exam.x) or alike(outputs, plain)
    except Exception as error:
        same, said = False, f"{type(error).__name__}: {error}"
    if not same:
        exam.report.add("needs-contiguous", "outputs", said)


def _draws(subject: Subject, x: Tensor) -> bool:
    """Whether forward draws random numbers: they fall on elements in the order of the memory."""
    with torch.no_grad():
        a, b = (subject.plain_forward(x.clone()).clone() for _ in range(2))
    return not equal(a, b)


def leaves_alone(exam: Examination) -> None:
    """What belongs to others is not written into: inputs, labels, params, the upstream gradient."""
    subject, x = exam.subject(), exam.x.clone()
    params = {label: param.clone() for label, param in subject.params.items()}

    def look(who: str) -> None:
        for label, param in subject.params.items():
            if not equal(param, params[label]):
                exam.report.add("mutates-inputs", label, f"{who} writes into the param")
        for what, handed in subject.handed.items():
            if not equal(handed, subject.before[what]):
                where = "inputs" if what == "predictions" else what
                exam.report.add("mutates-inputs", where, f"{who} writes into the {what}")
        if not equal(x, exam.x) and not exam.report.blames("mutates-inputs"):
            exam.report.add("mutates-inputs", "inputs", f"{who} writes into the inputs of forward")

    outputs = subject.forward(x)
    look("forward")
    upstream = exam.upstream_for(outputs)
    kept = upstream.clone()
    try:
        subject.backward(upstream)
    except Exception:
        return
    look("backward")
    if not equal(upstream, kept):
        exam.report.add("mutates-upstream", "inputs", "backward writes into the upstream gradient")
