"""Proves an op's hand-written gradient, or names what is wrong with it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from ..op import forward_of
from .draw import drawn
from .examine import Examination
from .report import Finding, Report
from .situations import examine, extra_axes, reference_agrees
from .subject import own_randomness

__all__ = ["Finding", "Report", "check"]


def check(op: Any, inputs: Any = None, *, reference: Any = None, seed: int = 0) -> Report:
    """Whether backward is the derivative of forward: a Report that names each defect it finds.

    `op` is an op, a model, or a loss; with or without base class. It is checked on a float64 copy
    and stays as it is. `inputs` [..., N, I] are drawn where they are not given; a loss takes
    (X, labels), where X are the inputs of its model or, without one, predictions.
    `reference(inputs)` gives the outputs that forward should have. The same `seed` gives the same
    report. TypeError for what has no forward or backward.
    Source: central differences with extrapolation, Richardson 1911; two witnesses and seeded
    replay, the kinds of defects: this project.
    """
    if isinstance(op, type):
        raise TypeError(f"check: came the class {op.__name__}, wanted an op of it")
    for rule, found in (("forward", forward_of(op)), ("backward", getattr(op, "backward", None))):
        if not callable(found):
            raise TypeError(f"check: {type(op).__name__} has no {rule} to call, wanted an op")
    with own_randomness(), wide_by_default():
        x, labels = drawn(op, inputs, seed)
        if x.numel() == 0:
            raise ValueError(f"check: inputs have shape {list(x.shape)}, wanted at least one row")
        if labels is not None and reference is not None:
            raise ValueError("check: reference is for ops and models, not for a loss")
        return _checked(op, x, labels, reference, seed)


@contextmanager
def wide_by_default() -> Iterator[None]:
    """A learner's torch.ones(...) is float64 too."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _checked(op: Any, x: Tensor, labels: Tensor | None, reference: Any, seed: int) -> Report:
    report = Report(str(op) if hasattr(op, "name") else type(op).__name__)
    exam = Examination(op, x, labels, seed, report, alone=_alone)
    examine(exam)
    if labels is None:
        extra_axes(exam)
        if reference is not None:
            reference_agrees(exam, reference)
    return exam.report


def _alone(op: Any, x: Tensor, seed: int) -> Report:
    return _checked(op, x, None, None, seed)
