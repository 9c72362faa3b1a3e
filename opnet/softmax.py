"""Ops from the scores of C classes to their probabilities: each output depends on its whole row."""

import torch
from torch import Tensor

from .numerics import held_above_0, log_softmax, softmax
from .op import Op


class Softmax(Op):
    """p_j = exp(z_j) / sum_i exp(z_i),  dL/dz_j = p_j (g_j - sum_i g_i p_i).

    z, p, g [..., N, C], over the last axis. One inf in a row takes it all; for two, and for a row
    of -inf, there is no limit and p is not to be used. Where it feeds a cross-entropy, that loss
    sets `floored`: the loss divides by p and this op multiplies by it, both hold it at one floor
    (numerics.held_above_0), and dL/dz stays p - y where p has become 0.
    Source: Bridle 1990; Bishop 2006, eq. 4.104 and 4.106; NNDL 3.3.
    """

    rowwise = True
    floored = False

    def forward(self, inputs: Tensor) -> Tensor:
        self.inputs, self.floored = inputs, False
        self.outputs = softmax(inputs)
        return self.outputs

    def backward_inputs(self, grads: Tensor) -> Tensor:
        p = self.outputs
        if self.floored:
            p = held_above_0(p)
        return torch.ops.aten._softmax_backward_data(grads, p, -1, p.dtype)


class LogSoftmax(Op):
    """l_j = z_j - log sum_i exp(z_i),  dL/dz_j = g_j - exp(l_j) sum_i g_i.

    z, l, g [..., N, C], over the last axis; l is the log of what Softmax gives, also where that has
    rounded to 0 or 1.
    Source: Bishop 2006, eq. 4.104; the gradient from 4.106.
    """

    rowwise = True

    def forward(self, inputs: Tensor) -> Tensor:
        self.inputs = inputs
        self.outputs = log_softmax(inputs)
        return self.outputs

    def backward_inputs(self, grads: Tensor) -> Tensor:
        return torch.ops.aten._log_softmax_backward_data(grads, self.outputs, -1, grads.dtype)
