"""Ops without weights, simple to involved."""

import torch
from torch import Tensor

from .numerics import logistic_slope
from .op import Op


class Logistic(Op):
    """p = 1 / (1 + exp(-z)),  dp/dz = p (1 - p).    z, p, g [..., N, O].

    Where it feeds a cross-entropy, that loss sets `floored`: both then hold p (1 - p) at one floor
    (numerics.logistic_slope) and dL/dz stays p - y where p has rounded to 0 or 1. Elsewhere torch's
    own kernel makes the product in one pass.
    Source: NNDL 4.1, the Logistic function.
    """

    floored = False

    def forward(self, inputs: Tensor) -> Tensor:
        self.inputs, self.floored = inputs, False
        self.outputs = torch.sigmoid(inputs)
        return self.outputs

    def backward_inputs(self, grads: Tensor) -> Tensor:
        if self.floored:
            return logistic_slope(self.outputs).mul_(grads)
        return torch.ops.aten.sigmoid_backward(grads, self.outputs)
