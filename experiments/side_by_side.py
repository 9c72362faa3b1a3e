"""Many small networks trained as one: tensors [S, N, features], weights of its own for each s.

An epoch of twenty networks of five hidden units costs little more than an epoch of one.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from opnet import BatchGD, Linear, Logistic, Op, Sequential
from opnet.losses import Loss
from opnet.numerics import cross_entropy_of_logits
from opnet.walk import state


class Linears(Op):
    """y_s = x_s W_s + b_s;  dL/dW_s = x_s^T g_s,  dL/db_s = sum_n g_s,  dL/dx_s = g_s W_s^T.

    x [S, N, I], W [S, I, O], b [S, 1, O], y and g = dL/dy [S, N, O]: S Linear ops side by side.
    Products are taken of the transposed, which puts the many rows next to each other in memory,
    not the few features: several times faster.
    """

    def __init__(self, layers: list[Linear]) -> None:
        super().__init__()
        for key in ("W", "b"):
            self.params[key] = torch.stack([layer.params[key] for layer in layers])
            self.grads[key] = torch.zeros_like(self.params[key])

    def forward(self, inputs: Tensor) -> Tensor:
        self.inputs, W, b = inputs, self.params["W"], self.params["b"]
        self.outputs = torch.baddbmm(b.mT, W.mT, inputs.mT).mT
        return self.outputs

    def backward_params(self, grads: Tensor) -> None:
        torch.bmm(self.inputs.mT, grads, out=self.grad("W"))
        torch.sum(grads, dim=1, keepdim=True, out=self.grad("b"))

    def backward_inputs(self, grads: Tensor) -> Tensor:
        return torch.bmm(self.params["W"], grads.mT).mT


def networks(models: list[Any], act: Callable[[], Op] = Logistic) -> Sequential:
    """Models in which Linear and Logistic alternate as one, `act` in place of the Logistic."""
    ops: list[Op] = []
    for layers in zip(*(model.layers[::2] for model in models), strict=True):
        ops += [Linears(list(layers)), act()]
    return Sequential(*ops)


def stacked(sets: list[Any]) -> list[list[Tensor]]:
    """[[X, y] of train, dev, test] for each s, as one: X [S, N, 2] and y [S, N, 1] of each."""
    return [
        [torch.stack(t).mT.contiguous().mT for t in zip(*part, strict=True)]
        for part in zip(*sets, strict=True)
    ]


def descend(
    model: Sequential, loss_fn: Loss, rows: list[Tensor], rates: list[float], epochs: Iterable[int]
) -> Iterator[int]:
    """Gradient descent, network s at rates[s]; gives each epoch when it is over.

    The loss is the mean over all networks too: its gradient is 1/S of what each alone would have.
    """
    X, y = rows
    optimizer = BatchGD(float(len(X)), model)
    scale = torch.tensor(rates).to(X).reshape(-1, 1, 1)
    for epoch in epochs:
        loss_fn.forward(model.forward(X), y)
        model.backward_params(loss_fn.backward_inputs().mul_(scale))
        optimizer.step()
        yield epoch


def judge(model: Sequential, rows: list[Tensor]) -> tuple[Tensor, Tensor]:
    """(accuracy [S], cross-entropy [S]) of networks that end with a Logistic."""
    X, y = rows
    right = (model.forward(X) >= 0.5) == (y >= 0.5)
    losses = cross_entropy_of_logits(model.layers[-1].inputs, y)
    return right.float().mean(dim=(1, 2)), losses.mean(dim=(1, 2))


class Best:
    """The weights of each network at its best dev score yet; equal ones go by the lower loss."""

    def __init__(self, model: Sequential, dev_rows: list[Tensor]) -> None:
        self.model, self.dev_rows = model, dev_rows
        self.score = self.loss = torch.full([len(dev_rows[0])], -1.0).to(dev_rows[0])
        self.weights = [weights.clone() for weights in state(model)]

    def offer(self) -> None:
        score, loss = judge(self.model, self.dev_rows)
        better = (score > self.score) | ((score == self.score) & (loss < self.loss))
        self.score = torch.where(better, score, self.score)
        self.loss = torch.where(better, loss, self.loss)
        for kept, now in zip(self.weights, state(self.model), strict=True):
            kept.copy_(torch.where(better.reshape(-1, 1, 1), now, kept))

    def restore(self) -> None:
        for kept, now in zip(self.weights, state(self.model), strict=True):
            now.copy_(kept)
