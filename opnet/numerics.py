"""Pure tensor functions that two or more rules share, each protective number with its reason."""

import functools
import math

import torch
from torch import Tensor

# the log of a probability that has rounded to 0: keeps the loss finite; torch holds the same floor
LOWEST_LOG = -100.0
FEW_INPUTS = 2
MANY_COLUMNS = 32  # of a matrix product that takes the bias along
FAR = 1e3  # exp(-FAR) is 0 in every dtype: past it a rule is at its limit, and inf * 0 is not met


def gated(z: Tensor, s: Tensor) -> Tensor:
    """z s for a gate s in [0, 1] that goes to 0 faster than z grows: 0 where s is, at -inf too."""
    return torch.where(s > 0, z * s, s)


def logistic_slope(p: Tensor) -> Tensor:
    """dp/dz = p (1 - p) told from p, held at a floor where p has rounded to 0 or 1.

    Logistic multiplies by it and the cross-entropy divides by it: with one floor the two cancel to
    p - y there too. The floor is sqrt(tiny), whose reciprocal is finite in every dtype.
    """
    return (1 - p).mul_(p).clamp_min_(math.sqrt(torch.finfo(p.dtype).tiny))


def held_above_0(p: Tensor) -> Tensor:
    """p, at least the smallest normal number: its reciprocal is still finite.

    The cross-entropy divides by it and Softmax multiplies by it: with one floor the two cancel.
    """
    return p.clamp_min(torch.finfo(p.dtype).tiny)


def cross_entropy_of_logits(z: Tensor, y: Tensor) -> Tensor:
    """-y log p - (1 - y) log(1 - p) = y log(1 + exp(-z)) + (1 - y) log(1 + exp(z)).

    p is the Logistic of z. Both logarithms are at least 0, so no two large numbers cancel, and
    neither overflows.
    """
    zero = _zero(z.dtype, z.device)
    return torch.lerp(torch.logaddexp(z, zero), torch.logaddexp(-z, zero), y)


@functools.cache
def _zero(dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.zeros((), dtype=dtype, device=device)


def softmax(z: Tensor) -> Tensor:
    """p_j = exp(z_j) / sum_i exp(z_i) over the last axis; 1 for the one inf of a row."""
    return torch.softmax(z.clamp_max(torch.finfo(z.dtype).max), dim=-1)  # inf - inf is nan


def log_softmax(z: Tensor) -> Tensor:
    """log p_j = (z_j - z_k) - log(1 + sum_{i != k} exp(z_i - z_k)),  z_k the largest of its row.

    The largest is left out of the sum: its own log p is then -exp(-40) and not 0 when it leads by
    40, and 0 when it is inf.
    """
    largest, k = z.max(dim=-1, keepdim=True)
    behind = (z - largest).scatter(-1, k, 0.0)
    others = behind.scatter(-1, k, -math.inf).exp().sum(dim=-1, keepdim=True)
    return behind - others.log1p()


def affine(x: Tensor, W: Tensor, b: Tensor | None, out: Tensor | None = None) -> Tensor:
    """x W + b: one kernel for many columns, for few two of them, which are faster.

    A net of 64 units trains in 0.96, of 512 in 0.94 of the time with the one, of 5 in 1.03. Of one
    or two inputs a matrix product is a sum that a BLAS takes up to 4 times as long for.
    """
    if b is None or x.ndim != 2 or W.shape[1] < MANY_COLUMNS:
        y = torch.matmul(x, W, out=out)
        return y if b is None else y.add_(b)
    if len(W) > FEW_INPUTS or W.shape[1] < 4 * MANY_COLUMNS:
        return torch.addmm(b, x, W, out=out)
    y = torch.addcmul(b, x[:, :1], W[:1], out=out)
    return y if len(W) == 1 else y.addcmul_(x[:, 1:], W[1:])


def times_transposed(g: Tensor, W: Tensor, out: Tensor | None = None) -> Tensor:
    """g W^T. Of one output each number is one product, which needs no BLAS."""
    return (torch.mul if W.shape[1] == 1 else torch.matmul)(g, W.T, out=out)
