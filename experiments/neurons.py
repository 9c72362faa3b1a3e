"""A neuron's net activation z = X w + b (NNDL 4.1): raw tensors, opnet and torch.nn side by side.

N samples of D features make N numbers: z_n = sum_d x_nd w_d + b. As an op: Linear(D, 1), and
without the b Linear(D, 1, bias_init=None). With L = sum_n z_n the gradient is dL/dw = sum_n x_n,
dL/db = N, dL/dx_n = w.
"""

import argparse
from typing import TYPE_CHECKING

from experiments import cli, flags
from experiments.rows import Outcome, Row
from experiments.sources import RTOL, Source

if TYPE_CHECKING:
    from torch import Tensor

SAMPLES, FEATURES = 2, 5
BOOK = Source("NNDL 4.1")


def arguments() -> argparse.ArgumentParser:
    return flags.parser("neurons", __doc__)


def main(settings: argparse.Namespace) -> Outcome:
    import torch

    generator = torch.Generator().manual_seed(settings.seed)
    shapes = ([SAMPLES, FEATURES], [FEATURES, 1], [1, 1])
    X, w, b = (torch.rand(shape, generator=generator).to(settings.device) for shape in shapes)
    print(f"X = {X.tolist()}\nw = {w.flatten().tolist()}\nb = {b.item()}")
    rows: list[Row] = []
    for name, bias in (("z = X w + b", b), ("z = X w", None)):
        z, *gradient = by_raw_tensors(X, w, bias)
        same = all(
            torch.allclose(ours, theirs, rtol=RTOL)
            for other in (by_opnet, by_torch_nn)
            for ours, theirs in zip((z, *gradient), other(X, w, bias), strict=True)
        )
        print(f"{name}: {z.flatten().tolist()}")
        what = f"{name}, {SAMPLES} samples of {FEATURES} features"
        published = "Linear = raw tensors = torch.nn.Linear"
        rows.append(BOOK.states(what, published, z, same, "value, dL/dX, dL/dw and dL/db"))
    return Outcome(rows=rows)


def by_raw_tensors(X: "Tensor", w: "Tensor", b: "Tensor | None") -> "list[Tensor]":
    """z, dL/dX, dL/dw and, with a bias, dL/db: the formulas."""
    g = X.new_ones(len(X), 1)  # dL/dz
    gradient = [g @ w.T, X.T @ g]
    if b is None:
        return [X @ w, *gradient]
    return [X @ w + b, *gradient, g.sum(dim=0, keepdim=True)]


def by_opnet(X: "Tensor", w: "Tensor", b: "Tensor | None") -> "list[Tensor]":
    from opnet import Linear

    bias_init = None if b is None else b.reshape  # an initialiser is any function of a shape
    neuron = Linear(FEATURES, 1, weight_init=w.reshape, bias_init=bias_init)
    z = neuron(X)
    return [z, neuron.backward(z.new_ones(z.shape)), *neuron.grads.values()]


def by_torch_nn(X: "Tensor", w: "Tensor", b: "Tensor | None") -> "list[Tensor]":
    """The same by autograd; torch.nn keeps w transposed, [outputs, inputs]."""
    import torch

    neuron = torch.nn.Linear(FEATURES, 1, bias=b is not None).to(X)
    neuron.load_state_dict({"weight": w.T} | ({} if b is None else {"bias": b.flatten()}))
    X = X.clone().requires_grad_()
    z = neuron(X)
    dX, dW, *db = torch.autograd.grad(z.sum(), [X, *neuron.parameters()])
    return [z.detach(), dX, dW.T, *(d.unsqueeze(0) for d in db)]


if __name__ == "__main__":
    cli.run(arguments(), main)
