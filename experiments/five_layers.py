"""What `vanishing` and `dead_units` share: five layers and the gradients that reach each of them.

With a_k = f(z_k), z_k = a_(k-1) W_k + b_k and g_k = dL/dz_k the chain rule says dL/dW_k =
a_(k-1)^T g_k and g_k = (g_(k+1) W_(k+1)^T) f'(z_k): each layer on the way down multiplies by its
weights and by the slope of f.
"""

import argparse
import itertools
import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from experiments.rows import Row
from experiments.sources import Source
from opnet import BinaryCrossEntropyLoss, Linear, Logistic, Op, Sequential, make_moons

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIZES = (2, 3, 3, 3, 3, 1)
NOISE, ROWS, SEEDS = 0.5, 640, 20
DEVIATION = 0.01  # of W at the start
FACTORS = (60, 30, 20, 10, 1.2)  # how far a seed may be from another: each W that is passed adds


def network(act: Any, bias: float, seed: int, deviation: float | None = DEVIATION) -> Sequential:
    """2-3-3-3-3-1 and a Logistic, W from N(0, deviation^2), None for sqrt(2/I); every b alike."""
    generator = torch.Generator().manual_seed(seed)
    layers: list[Op] = []
    for k, (inputs, outputs) in enumerate(itertools.pairwise(SIZES), start=1):
        layer = Linear(inputs, outputs, f"fc{k}", generator=generator)
        layer.params["W"].mul_(math.sqrt(2 / inputs) if deviation is None else deviation)
        layer.params["b"].fill_(bias)
        layers += [layer, act()]
    return Sequential(*layers[:-1], Logistic())


def data(model: Sequential, seed: int) -> tuple[Tensor, Tensor]:
    """X [640, 2] and y [640, 1], half of them 1, where the model is."""
    X, y = make_moons(ROWS, noise=NOISE, seed=seed)
    W = model.layers[0].params["W"]
    return X.to(W), y.to(W)


def gradients(model: Sequential, seed: int) -> list[dict[str, Tensor]]:
    """{"W": dL/dW, "b": dL/db} of fc1 to fc5."""
    X, y = data(model, seed)
    loss_fn = BinaryCrossEntropyLoss(model)
    loss_fn(model(X), y)
    loss_fn.backward()
    return [op.grads for op in model.layers if op.grads]


def error(model: Sequential, seed: int, f: Any) -> float:
    """How far dL/dW is from autograd's, relative to it, in the worst layer; f is the activation."""
    ours = [grads["W"] for grads in gradients(model, seed)]
    a, y = data(model, seed)
    params = [op.params for op in model.layers if op.params]
    weights = [p["W"].clone().requires_grad_() for p in params]
    for W, p in zip(weights, params, strict=True):
        z = a @ W + p["b"]
        a = f(z)
    loss = torch.nn.functional.binary_cross_entropy_with_logits(z, y)
    theirs = torch.autograd.grad(loss, weights)
    return max(float((g - h).norm() / h.norm()) for g, h in zip(ours, theirs, strict=True))


def norms(
    settings: argparse.Namespace, act: Any, bias: float, deviation: float | None = DEVIATION
) -> Tensor:
    """The norm of each layer's dL/dW for each seed, [SEEDS, 5]."""
    found = []
    for seed in range(settings.seed, settings.seed + SEEDS):
        model = network(act, bias, seed, deviation).to(settings.device)
        found.append([grads["W"].norm() for grads in gradients(model, seed)])
    return torch.tensor(found, dtype=torch.float64)


def judged(source: Source, name: str, printed: tuple[str, ...], norm: Tensor) -> list[Row]:
    """A row for each layer: orders of magnitude, as far from each other as seeds are."""
    rows = []
    for k, (text, factor) in enumerate(zip(printed, FACTORS, strict=True)):
        bounds = (float(text) / factor, float(text) * factor)
        rows.append(source.by_seed(f"{name}, fc{k + 1}", text, norm[:, k], bounds))
    return rows


def middle(norm: Tensor, share: float = 0.5) -> Tensor:
    """What that share of the seeds lies below, layer by layer."""
    return norm.quantile(share, dim=0)


def draw(axes: "Axes", lines: dict[str, Tensor]) -> None:
    """The norms by layer on a log axis: the median of the seeds, their middle half as a band."""
    layers = [f"fc{k}" for k in range(1, len(SIZES))]
    for label, norm in lines.items():
        (line,) = axes.plot(layers, middle(norm), marker="o", label=label)
        half = middle(norm, 0.25), middle(norm, 0.75)
        axes.fill_between(layers, *half, color=line.get_color(), alpha=0.15, linewidth=0)
    axes.set(yscale="log", xlabel="layer", ylabel="norm of dL/dW")
    axes.legend()
