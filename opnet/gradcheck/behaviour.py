"""How an op behaves: shapes and dtypes, what it writes into, whether it gives the same again."""

from typing import Any

import torch
from torch import Tensor

from ..op import Op
from ..tensors import described
from .examine import Examination, Walk, equal, outside, same
from .subject import Subject, rewind


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
    truth = exam.slopes_of(subject, where, exam.x).along(walk.upstream)
    ones = torch.ones(1, dtype=torch.float64)

    def is_right(candidate: Tensor) -> bool:
        fits = candidate.numel() == wanted.numel() and candidate.dtype == wanted.dtype
        return fits and not outside(candidate.reshape(wanted.shape), truth, ones).any()

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
        same = _draws(subject, exam.x) or torch.allclose(outputs, plain, equal_nan=True)
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
    """What belongs to the caller is not written into."""
    subject, x = exam.subject(), exam.x.clone()
    outputs = subject.forward(x)
    if not equal(x, exam.x):
        exam.report.add("mutates-inputs", "inputs", "forward writes into its inputs")
    upstream = exam.upstream_for(outputs)
    kept, x_kept = upstream.clone(), x.clone()
    try:
        subject.backward(upstream)
    except Exception:
        return
    if not equal(x, x_kept):
        exam.report.add("mutates-inputs", "inputs", "backward writes into the inputs of forward")
    if not equal(upstream, kept):
        exam.report.add("mutates-upstream", "inputs", "backward writes into the upstream gradient")


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

    def backward() -> dict[str, Any]:
        dx = subject.backward(exam.upstream_for(outputs))
        grads = {"inputs": dx, **subject.grads}
        return {k: g.clone() for k, g in grads.items() if isinstance(g, Tensor)}

    try:
        a, b, c = backward(), backward(), backward()
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
        step, again = b[where] - a[where], c[where] - b[where]
        if step.any() and torch.allclose(step, again, rtol=1e-9, atol=0):
            report.add("accumulates", where, "each backward adds to the one before")
            continue
        rewind()
        d = backward()
        rewind()
        e = backward()
        random = equal(d[where], e[where]) or not equal(b[where], c[where])
        kind = "not-deterministic" if random else "stale-state"
        report.add(kind, where, "backward twice after one forward gives two results")


def halves(exam: Examination) -> None:
    """backward and its halves give the same, in a container those of each op."""
    if exam.labels is None and hasattr(exam.op, "layers"):
        for name, leaf, x in exam.leaves(exam.op):
            if _has_comparable_halves(leaf):
                for finding in exam.alone(leaf, x).findings:
                    where = name if finding.where == "inputs" else f"{name}.{finding.where}"
                    exam.report.add(finding.kind, where, finding.message)
    if not _has_comparable_halves(exam.op) or exam.labels is not None:
        return
    subject = exam.subject()
    outputs = subject.forward(exam.x.clone())
    upstream = exam.upstream_for(outputs)
    whole = {"inputs": subject.backward(upstream.clone()), **subject.grads}
    whole = {k: g.clone() for k, g in whole.items() if isinstance(g, Tensor)}
    for grad in subject.grads.values():
        if isinstance(grad, Tensor):
            grad.fill_(torch.nan)
    try:
        dx = subject.op.backward_inputs(upstream.clone())
        subject.op.backward_params(upstream.clone())
    except Exception as error:
        said = f"backward runs, its halves do not: {type(error).__name__}: {error}"
        exam.report.add("halves-disagree", "inputs", said)
        return
    for where, half in {"inputs": dx, **subject.grads}.items():
        if where in whole and not same(half, whole[where]):
            exam.report.add("halves-disagree", where, "backward gives another than its half")


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
