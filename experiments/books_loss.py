"""The Logistic and the cross-entropy as NNDL 4.2 writes them: right on paper, not in float32."""

import torch
from torch import Tensor

from opnet import Op
from opnet.losses import Loss


class BooksLogistic(Op):
    """p = 1 / (1 + exp(-z)),  dp/dz = p (1 - p).    z, p [..., N, O].

    In float32 p is 1 from z = 17 on, and 0 from z = -89 on.
    """

    def forward(self, inputs: Tensor) -> Tensor:
        self.inputs = inputs
        self.outputs = 1 / (1 + torch.exp(-inputs))
        return self.outputs

    def backward_inputs(self, grads: Tensor) -> Tensor:
        return grads * self.outputs * (1 - self.outputs)


class BooksLoss(Loss):
    """L = -mean(y log p + (1 - y) log(1 - p)),  dL/dp = -(y / p - (1 - y) / (1 - p)) / n.

    Where p has rounded to its label, 0 log 0 and 0 / 0 are nan: one such row spoils all weights.
    """

    def forward(self, predicts: Tensor, labels: Tensor) -> Tensor:  # type: ignore[override]
        self.inputs, self.labels = predicts, labels
        self.outputs = -(labels * predicts.log() + (1 - labels) * (1 - predicts).log()).mean()
        return self.outputs

    def backward_inputs(self) -> Tensor:  # type: ignore[override]
        p, y = self.inputs, self.labels
        return -(y / p - (1 - y) / (1 - p)) / p.numel()
