"""Inputs and labels that an op, a model or a loss can work with."""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from ..tensors import as_tensor
from ..walk import dict_of, leaf_ops
from .subject import Subject, is_loss

ROWS, FEATURES = 5, 4
DOMAINS = ((0.5, 1.5), (0.1, 0.9), (1.5, 3.0))  # as of log, arcsin, arccosh


def drawn(op: Any, inputs: Any, seed: int) -> tuple[Tensor, Tensor | None]:
    """(X, labels) in float64; labels are None unless `op` is a loss.

    Without `inputs`, the first of several candidates on which forward runs and is finite.
    ValueError when a loss finds none.
    """
    like = torch.empty(0, dtype=torch.float64)
    if is_loss(op):
        return _for_a_loss(op, inputs, seed)
    if inputs is not None:
        x = as_tensor("check: inputs", inputs, like)
        if x.is_complex():
            raise TypeError(f"check: inputs are {x.dtype}, wanted real numbers")
        return _wide(x if not x.is_floating_point() and _wants_indices(op, x) else x.double()), None
    for x in _candidates(op, seed):
        try:
            outputs = Subject(op).forward(x.clone())
        except Exception:  # what the op says to inputs of its own width is reported later
            continue
        if isinstance(outputs, Tensor) and outputs.isfinite().all():
            return x, None
    return next(_candidates(op, seed)), None


def _wants_indices(op: Any, x: Tensor) -> bool:
    """Whether whole numbers are what the op is for: it refuses real ones, or sends nothing back."""
    for inputs in (x, x.double()):
        subject = Subject(op)
        try:
            outputs = subject.forward(inputs.clone())
            sent_back = subject.backward(torch.ones_like(outputs))
        except Exception:  # whatever the op says to numbers that are not for it
            return inputs is not x
        if inputs is x and not (isinstance(sent_back, Tensor) and sent_back.any()):
            return True
    return False


def _candidates(op: Any, seed: int) -> Iterator[Tensor]:
    """Rows of as many features as some param has rows or columns: any numbers, then of DOMAINS."""
    widths = [
        size for leaf in leaf_ops(op) for p in dict_of(leaf, "params").values() for size in p.shape
    ]
    generator = torch.Generator().manual_seed(seed)
    makes: list[Callable[..., Tensor]] = [torch.randn]
    makes += [functools.partial(_between, *ends) for ends in DOMAINS]
    for make in makes:
        several = [width for width in widths if width > 1]
        for width in dict.fromkeys([*several[:1], FEATURES, *several, 1, 2, 3]):
            yield make(ROWS, width, dtype=torch.float64, generator=generator)


def _between(low: float, high: float, *shape: int, **how: Any) -> Tensor:
    return low + (high - low) * torch.rand(*shape, **how)


def _for_a_loss(op: Any, inputs: Any, seed: int) -> tuple[Tensor, Tensor]:
    like = torch.empty(0, dtype=torch.float64)
    if inputs is not None:
        try:
            x, labels = inputs
        except (TypeError, ValueError):
            raise ValueError("check: a loss takes inputs (X, labels)") from None
        x, labels = as_tensor("check: X", x, like), as_tensor("check: labels", labels, like)
        return _wide(x), _fitting(op, x.double(), labels)
    model = getattr(op, "model", None)
    generator = torch.Generator().manual_seed(seed)
    error: Exception | None = None
    for x in _candidates(model, seed) if model is not None else _predictions(generator):
        try:
            shape = Subject(model).forward(x.clone()).shape if model is not None else x.shape
        except Exception as caught:
            error = caught
            continue
        for labels in _labels(shape, generator):
            try:
                labels = _fitting(op, x, labels)
                if Subject(op, labels).forward(x.clone()).isfinite().all():
                    return x, labels
            except Exception as caught:
                error = caught
    raise ValueError(f"check: found no inputs for {type(op).__name__}: {error}")


def _fitting(op: Any, x: Tensor, labels: Tensor) -> Tensor:
    """The labels as forward wants them: the door of opnet's losses converts and refuses."""
    if hasattr(op, "check"):
        labels = op.check(Subject(op, labels).predicts(x.clone()), labels)
    return labels.double() if labels.is_floating_point() or labels.dtype == torch.bool else labels


def _predictions(generator: torch.Generator) -> Iterator[Tensor]:
    p = torch.rand(ROWS, 3, dtype=torch.float64, generator=generator) * 0.8 + 0.1
    yield p
    yield p[:, :1]
    yield torch.randn(ROWS, 3, dtype=torch.float64, generator=generator)


def _labels(shape: torch.Size, generator: torch.Generator) -> Iterator[Tensor]:
    soft = torch.rand(shape, dtype=torch.float64, generator=generator)
    shares, signs = soft / soft.sum(-1, keepdim=True), (soft > 0.5).double() * 2 - 1
    weighted = [torch.cat([y, soft[..., :1]], dim=-1) for y in (shares, signs)]
    classes = torch.randint(shape[-1], shape[:-1], generator=generator)
    yield from (soft, shares, *weighted, classes, (soft > 0.5).double(), signs)


def _wide(x: Tensor) -> Tensor:
    """In float64, and off the numbers that float32 can hold, so that low precision shows."""
    x = x.detach().cpu().contiguous()
    if not x.is_floating_point():
        return x
    generator = torch.Generator().manual_seed(0)
    return x.double() * (1 + 1e-9 * torch.rand(x.shape, dtype=torch.float64, generator=generator))
