"""Pure tensor functions that two or more rules share, each protective number with its reason."""

import math

import torch
from torch import Tensor

# the log of a probability that has rounded to 0: keeps the loss finite; torch holds the same floor
LOWEST_LOG = -100.0


def logistic_slope(p: Tensor) -> Tensor:
    """dp/dz = p (1 - p) told from p, held at a floor where p has rounded to 0 or 1.

    Logistic multiplies by it and the cross-entropy divides by it: with one floor the two cancel to
    p - y there too. The floor is sqrt(tiny), whose reciprocal is finite in every dtype.
    """
    return (1 - p).mul_(p).clamp_min_(math.sqrt(torch.finfo(p.dtype).tiny))


def cross_entropy_of_logits(z: Tensor, y: Tensor) -> Tensor:
    """-y log p - (1 - y) log(1 - p) = z ([z > 0] - y) + log(1 + exp(-|z|)),  p = 1 / (1 + exp(-z)).

    No exponent is positive, so nothing overflows, and no two large numbers are subtracted.
    """
    return ((z > 0).to(z.dtype) - y).mul_(z).add_(z.abs().neg_().exp_().log1p_())
