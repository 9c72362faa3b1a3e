"""Slopes of a forward by finite differences, each with the error that it admits of itself."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

EPS = torch.finfo(torch.float64).eps
STEP = 2.0**-12  # a power of two: x + h is exact for the inputs drawn here
MOST_ELEMENTS = 600  # of one tensor; of a larger one so many are drawn
ROUNDING = 64 * EPS  # what a forward of some dozen operations may round
CLOSE = EPS**0.5  # half of the digits: two formulas that agree in so many are one formula


class Slopes(NamedTuple):
    """For each element moved and each output: the slope, the least and the largest it may be.

    which [K] are the elements that were moved; slope, low, high and kink are [K, outputs]. At a
    kink the slopes on the two sides differ by more than the error that the differences admit.
    """

    which: Tensor
    slope: Tensor
    low: Tensor
    high: Tensor
    kink: Tensor

    def along(self, upstream: Tensor) -> "Slopes":
        """The slopes of L = sum(outputs * upstream), [K]; the sum itself is rounded too."""
        g = upstream.reshape(-1)
        ends = torch.stack([self.low * g, self.high * g])
        terms = self.slope * g
        rounding = ROUNDING * terms.abs().sum(1)
        low, high = ends.amin(0).sum(1) - rounding, ends.amax(0).sum(1) + rounding
        return Slopes(self.which, terms.sum(1), low, high, (self.kink & (g != 0)).any(1))


def slopes(forward: Callable[[Tensor], Tensor], at: Tensor, step: float = STEP) -> Slopes:
    """Central differences at h and h/2, extrapolated; bounds from one-sided ones and their spread.

    d(h) = (f(x+h) - f(x-h)) / 2h,  slope = (4 d(h/2) - d(h)) / 3. At a kink inside of x +- h the
    one-sided slopes differ, and every value between them is allowed.
    """
    index = torch.arange(at.numel())
    if len(index) > MOST_ELEMENTS:
        index = torch.randperm(at.numel(), generator=torch.Generator().manual_seed(0))
        index = index[:MOST_ELEMENTS].sort().values
    here = forward(at.clone()).reshape(-1)
    if not len(index):
        nothing = here.new_empty(0, len(here))
        return Slopes(index, nothing, nothing, nothing, nothing.bool())
    scale = at[at.isfinite()].abs().amax().item() if at.isfinite().any() else 1.0
    rows = []
    for i in index.tolist():
        own = abs(at.reshape(-1)[i].item())
        reach = max(min(scale or 1.0, 1.0), own if math.isfinite(own) else 0.0)
        h = step * 2.0 ** round(math.log2(reach))

        def moved(by: float, i: int = i) -> Tensor:
            there = at.clone()
            there.view(-1)[i] += by
            try:
                return forward(there).reshape(-1)
            except Exception:  # outside of what the op takes: the slope is not known there
                return torch.full_like(here, torch.nan)

        far_left, left, right, far_right = (moved(by) for by in (-h, -h / 2, h / 2, h))
        wide, narrow = (far_right - far_left) / (2 * h), (right - left) / h
        on_right = (4 * right - far_right - 3 * here) / h
        on_left = (3 * here - 4 * left + far_left) / h
        slope = (4 * narrow - wide) / 3
        size = torch.stack([here.abs(), far_left.abs(), far_right.abs()]).amax(0)
        error = (narrow - wide).abs() + ROUNDING * size / h
        all_slopes = torch.stack([slope, on_left, on_right])
        low, high = all_slopes.amin(0) - error, all_slopes.amax(0) + error
        rows.append((slope, low, high, (on_right - on_left).abs() > 2 * error))
    slope, low, high, kink = (torch.stack(column) for column in zip(*rows, strict=True))
    return Slopes(index, slope, low, high, kink)


def alike(a: Any, b: Tensor) -> bool:
    """Whether two tensors are one but for rounding: in half of the digits, beside the largest."""
    if not isinstance(a, Tensor) or a.shape != b.shape or not torch.equal(a.isnan(), b.isnan()):
        return False
    a, b = a.nan_to_num(), b.nan_to_num()
    scale = torch.maximum(a.abs(), b.abs()).max() if a.numel() else 0
    return bool(((a - b).abs() <= CLOSE * scale).all())
