"""Correct ops, in every style that a reader may write: whoever judges ops must pass them all.

`make()` returns a fresh op, its weights drawn from torch's global generator. `inputs()` returns
inputs that suit it; None where any [N, F] does, F being the rows of the first W where there is one.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from opnet import Linear, Logistic, Model_MLP_L2, Op, Sequential


class Sound(NamedTuple):
    """A correct op and what it may be fed with."""

    name: str
    make: Callable[[], Any]
    inputs: Callable[[], Tensor] | None = None


def normal(*shape, dtype=None):
    """A callable that draws inputs of this shape from N(0, 1)."""
    return lambda: torch.randn(*shape).to(dtype)


def positive(*shape):
    """A callable that draws inputs of this shape from [0.5, 2]: log and sqrt end at 0."""
    return lambda: 0.5 + 1.5 * torch.rand(*shape)


def rows_of(x):
    """[..., N, F] as [all rows, F]."""
    return x.reshape(-1, x.shape[-1])


# --- affine, in many hands


class Affine(Op):
    """y = x W + b;  dW = x^T g,  db = sum_n g,  dx = g W^T. Binds its gradients anew."""

    def __init__(self, inputs=3, outputs=2, dtype=torch.float32):
        super().__init__()
        self.params["W"] = torch.randn(inputs, outputs).to(dtype)
        self.params["b"] = torch.randn(1, outputs).to(dtype)

    def forward(self, inputs):
        self.inputs = inputs
        self.outputs = inputs @ self.params["W"] + self.params["b"]
        return self.outputs

    def backward_params(self, grads):
        x, g = rows_of(self.inputs), rows_of(grads)
        self.grads["W"] = x.T @ g
        self.grads["b"] = g.sum(0, keepdim=True)

    def backward_inputs(self, grads):
        return grads @ self.params["W"].T


class AffineInPlace(Affine):
    """The same, its gradients written in place."""

    def __init__(self, inputs=3, outputs=2):
        super().__init__(inputs, outputs)
        self.grads = {key: torch.zeros_like(param) for key, param in self.params.items()}

    def backward_params(self, grads):
        x, g = rows_of(self.inputs), rows_of(grads)
        torch.mm(x.T, g, out=self.grads["W"])
        self.grads["b"].copy_(g.sum(0, keepdim=True))


class PlainAffine:
    """The same without a base class, for 2-D inputs only, `grads` a new dict each time."""

    def __init__(self, inputs=3, outputs=2, name="fc"):
        self.name = name
        self.params = {"W": torch.randn(inputs, outputs), "b": torch.zeros(1, outputs)}
        self.inputs = None

    def __call__(self, inputs):
        return self.forward(inputs)

    def forward(self, inputs):
        self.inputs = inputs
        return torch.matmul(inputs, self.params["W"]) + self.params["b"]

    def backward(self, grads):
        self.grads = {
            "W": torch.matmul(self.inputs.T, grads),
            "b": torch.sum(grads, dim=0, keepdim=True),
        }
        return torch.matmul(grads, self.params["W"].T)


class LearnersAffine(Op):
    """The same with the base class, without super().__init__(), in one whole backward, 2-D only."""

    def __init__(self, inputs=4, outputs=4):
        self.params = {"W": torch.randn(inputs, outputs), "b": torch.randn(1, outputs)}
        self.grads = {}
        self.inputs = None

    def forward(self, inputs):
        self.inputs = inputs
        self.outputs = torch.matmul(self.inputs, self.params["W"]) + self.params["b"]
        return self.outputs

    def backward(self, grads):
        self.grads["W"] = torch.matmul(self.inputs.T, grads)
        self.grads["b"] = torch.matmul(torch.ones(1, len(grads)), grads)  # in torch's default dtype
        return torch.matmul(grads, self.params["W"].T)


class TrackedAffine(PlainAffine):
    """The same with weights that autograd watches, as a reader of torch.nn would make them."""

    def __init__(self, inputs=3, outputs=2):
        super().__init__(inputs, outputs)
        for param in self.params.values():
            param.requires_grad_()


class Tied(Op):
    """y = x W W;  dW = x^T (g W^T) + (x W)^T g,  dx = g W^T W^T."""

    def __init__(self, features=3):
        super().__init__()
        self.params["W"] = torch.randn(features, features)

    def forward(self, inputs):
        self.inputs, self.hidden = inputs, inputs @ self.params["W"]
        self.outputs = self.hidden @ self.params["W"]
        return self.outputs

    def backward_params(self, grads):
        first = rows_of(self.inputs).T @ rows_of(grads @ self.params["W"].T)
        self.grads["W"] = first + rows_of(self.hidden).T @ rows_of(grads)

    def backward_inputs(self, grads):
        return grads @ self.params["W"].T @ self.params["W"].T


class Normalised(Op):
    """y = s x u, u = V / |V| by column;  dV = s (dU - u (u . dU)) / |V|,  dU = x^T g."""

    def __init__(self, inputs=3, outputs=2):
        super().__init__()
        self.params["V"] = torch.randn(inputs, outputs)
        self.params["s"] = torch.ones(1, outputs)

    def forward(self, inputs):
        V = self.params["V"]
        self.length = V.square().sum(0, keepdim=True).sqrt()
        self.inputs, self.unit = inputs, V / self.length
        self.outputs = self.params["s"] * (inputs @ self.unit)
        return self.outputs

    def backward_params(self, grads):
        x, g, u = rows_of(self.inputs), rows_of(grads), self.unit
        dU = x.T @ g
        self.grads["s"] = (u * dU).sum(0, keepdim=True)
        self.grads["V"] = self.params["s"] * (dU - u * self.grads["s"]) / self.length

    def backward_inputs(self, grads):
        return (grads * self.params["s"]) @ self.unit.T


# --- kinks


class ReLU(Op):
    """y = max(x, 0),  dy/dx = [x > 0], and `at_zero` at 0, where all of [0, 1] is right."""

    def __init__(self, at_zero=0.0):
        self.at_zero = at_zero

    def forward(self, inputs):
        self.inputs, self.outputs = inputs, torch.relu(inputs)
        return self.outputs

    def backward_inputs(self, grads):
        return torch.heaviside(self.inputs, self.inputs.new_tensor(self.at_zero)) * grads


class LeakyReLU(Op):
    """y = x where x > 0, else s x,  dy/dx = 1 or s."""

    slope = 0.1

    def forward(self, inputs):
        self.inputs, self.outputs = inputs, torch.where(inputs > 0, inputs, self.slope * inputs)
        return self.outputs

    def backward_inputs(self, grads):
        return torch.where(self.inputs > 0, grads, self.slope * grads)


class Clip(Op):
    """y = min(max(x, low), high),  dy/dx = [low < x < high]."""

    def __init__(self, low=-1, high=1):
        self.low, self.high = low, high

    def forward(self, inputs):
        self.inputs, self.outputs = inputs, inputs.clamp(self.low, self.high)
        return self.outputs

    def backward_inputs(self, grads):
        return grads * ((self.inputs > self.low) & (self.inputs < self.high))


class HardLogistic(Op):
    """y = min(max(x / 4 + 1 / 2, 0), 1),  dy/dx = [|x| < 2] / 4."""

    slope = 0.25

    def forward(self, inputs):
        self.inputs, self.outputs = inputs, (self.slope * inputs + 0.5).clamp(0, 1)
        return self.outputs

    def backward_inputs(self, grads):
        return self.slope * grads * (self.inputs.abs() < 2)


class HardSwish(Op):
    """y = x min(max(x + 3, 0), 6) / 6,  dy/dx = 0, (2 x + 3) / 6 or 1, with kinks at -3 and 3."""

    def forward(self, inputs):
        self.inputs, self.outputs = inputs, inputs * (inputs + 3).clamp(0, 6) / 6
        return self.outputs

    def backward_inputs(self, grads):
        x = self.inputs
        slope = torch.where(x < -3, torch.zeros_like(x), (2 * x + 3) / 6)
        return grads * torch.where(x > 3, torch.ones_like(x), slope)


class Abs(Op):
    """y = |x|,  dy/dx = sign x, 0 at 0."""

    def forward(self, inputs):
        self.inputs, self.outputs = inputs, inputs.abs()
        return self.outputs

    def backward_inputs(self, grads):
        return self.inputs.sign() * grads


class Hinge(Op):
    """y = max(1 - x, 0),  dy/dx = -[x < 1]."""

    def forward(self, inputs):
        self.inputs, self.outputs = inputs, (1 - inputs).clamp(min=0)
        return self.outputs

    def backward_inputs(self, grads):
        return torch.where(self.inputs < 1, -grads, torch.zeros_like(grads))


class Shrink(Op):
    """y = sign(x) max(|x| - 3, 0),  dy/dx = [|x| > 3]."""

    def forward(self, inputs):
        self.inputs, self.outputs = inputs, inputs.sign() * (inputs.abs() - 3).clamp(min=0)
        return self.outputs

    def backward_inputs(self, grads):
        return grads * (self.inputs.abs() > 3)


class Threshold(Op):
    """y = max(x - t, 0), t [1, F] learned;  dx = [x > t] g,  dt = -sum_n dx."""

    def __init__(self, features=3):
        super().__init__()
        self.params["t"] = torch.zeros(1, features)

    def forward(self, inputs):
        self.inputs, self.outputs = inputs, (inputs - self.params["t"]).clamp(min=0)
        return self.outputs

    def backward_params(self, grads):
        self.grads["t"] = -rows_of(self.backward_inputs(grads)).sum(0, keepdim=True)

    def backward_inputs(self, grads):
        return grads * (self.inputs > self.params["t"])


class MaxOfPairs(Op):
    """y_k = max(x_2k, x_2k+1);  dx is g at the larger of the two, the first of equals."""

    def forward(self, inputs):
        self.inputs = inputs
        self.outputs, self.where = inputs.unflatten(-1, (-1, 2)).max(-1)
        return self.outputs

    def backward_inputs(self, grads):
        pairs = torch.zeros_like(self.inputs).unflatten(-1, (-1, 2))
        return pairs.scatter(-1, self.where[..., None], grads[..., None]).flatten(-2)


class LargestFeature(MaxOfPairs):
    """y = max_f x_f, [N, 1];  dx is g at the largest feature."""

    def forward(self, inputs):
        self.inputs = inputs
        self.outputs, self.where = inputs.max(-1, keepdim=True)
        return self.outputs

    def backward_inputs(self, grads):
        return torch.zeros_like(self.inputs).scatter(-1, self.where, grads)


class Step:
    """y = [x > 0],  dy/dx = 0 wherever it exists."""

    def forward(self, inputs):
        self.like = inputs
        return (inputs > 0).to(inputs.dtype)

    def backward(self, grads):
        return torch.zeros_like(grads)


# --- saturating, and smooth


class BookLogistic(Op):
    """p = 1 / (1 + exp(-x)),  dp/dx = p (1 - p), with params None and no super().__init__()."""

    def __init__(self):
        self.inputs = None
        self.outputs = None
        self.params = None

    def forward(self, inputs):
        self.outputs = 1.0 / (1.0 + torch.exp(-inputs))
        return self.outputs

    def backward(self, grads):
        return grads * self.outputs * (1.0 - self.outputs)


class Tanh(Op):
    """y = tanh x,  dy/dx = 1 - y^2."""

    def forward(self, inputs):
        self.inputs, self.outputs = inputs, torch.tanh(inputs)
        return self.outputs

    def backward_inputs(self, grads):
        return grads * (1 - self.outputs**2)


class PlainTanh:
    """y = tanh x,  dy/dx = 1 - y^2. Neither base class nor params nor a name nor __init__."""

    def forward(self, inputs):
        self.kept = torch.tanh(inputs)
        return self.kept

    def backward(self, grads):
        return grads * (1 - self.kept**2)


class EmptyParams(PlainTanh):
    """The same with empty dicts."""

    def __init__(self):
        self.params, self.grads = {}, {}


class Softplus(Op):
    """y = log(1 + exp x),  dy/dx = 1 / (1 + exp(-x))."""

    def forward(self, inputs):
        self.inputs = inputs
        self.outputs = torch.logaddexp(inputs, torch.zeros_like(inputs))
        return self.outputs

    def backward_inputs(self, grads):
        return torch.sigmoid(self.inputs) * grads


class ELU(Op):
    """y = x where x > 0, else a (exp x - 1),  dy/dx = 1 or y + a."""

    def __init__(self, alpha=1.0):
        self.alpha = alpha

    def forward(self, inputs):
        self.inputs = inputs
        below = self.alpha * torch.expm1(inputs.clamp(max=0))  # where would see exp overflow
        self.outputs = torch.where(inputs > 0, inputs, below)
        return self.outputs

    def backward_inputs(self, grads):
        return torch.where(self.inputs > 0, grads, (self.outputs + self.alpha) * grads)


class Swish(Op):
    """y = x s(b x), b [1, 1] learned;  dx = g (s + b x s (1 - s)),  db = sum g x^2 s (1 - s)."""

    def __init__(self):
        super().__init__()
        self.params["beta"] = torch.ones(1, 1)

    def forward(self, inputs):
        self.inputs, self.gate = inputs, torch.sigmoid(self.params["beta"] * inputs)
        self.outputs = inputs * self.gate
        return self.outputs

    def backward_params(self, grads):
        x, s = self.inputs, self.gate
        self.grads["beta"] = (grads * x**2 * s * (1 - s)).sum().reshape(1, 1)

    def backward_inputs(self, grads):
        x, s = self.inputs, self.gate
        return grads * (s + self.params["beta"] * x * s * (1 - s))


class GELU(Op):
    """y = x P(x), P the normal distribution;  dy/dx = P(x) + x exp(-x^2 / 2) / sqrt(2 pi)."""

    def forward(self, inputs):
        self.inputs, self.P = inputs, (1 + torch.erf(inputs / math.sqrt(2))) / 2
        self.outputs = inputs * self.P
        return self.outputs

    def backward_inputs(self, grads):
        x = self.inputs
        return grads * (self.P + x * torch.exp(-(x**2) / 2) / math.sqrt(2 * math.pi))


class Softsign(Op):
    """y = x / (1 + |x|),  dy/dx = 1 / (1 + |x|)^2: its own slope has a kink at 0."""

    def forward(self, inputs):
        self.inputs, self.outputs = inputs, inputs / (1 + inputs.abs())
        return self.outputs

    def backward_inputs(self, grads):
        return grads / (1 + self.inputs.abs()) ** 2


class Elementwise(Op):
    """y = f(x),  dy/dx = slope(x), both given as functions."""

    def __init__(self, f, slope):
        super().__init__()
        self.f, self.slope = f, slope

    def forward(self, inputs):
        self.inputs, self.outputs = inputs, self.f(inputs)
        return self.outputs

    def backward_inputs(self, grads):
        return self.slope(self.inputs) * grads


class Exp(Op):
    """y = exp x,  dy/dx = y."""

    def forward(self, inputs):
        self.inputs, self.outputs = inputs, torch.exp(inputs)
        return self.outputs

    def backward_inputs(self, grads):
        return self.outputs * grads


class Square(Op):
    """y = x^2,  dy/dx = 2 x."""

    def forward(self, inputs):
        self.inputs, self.outputs = inputs, inputs**2
        return self.outputs

    def backward_inputs(self, grads):
        return 2 * self.inputs * grads


class SlottedSquare:
    """The same, an object without a __dict__."""

    __slots__ = ("inputs",)

    def forward(self, inputs):
        self.inputs = inputs
        return inputs**2

    def backward(self, grads):
        return 2 * self.inputs * grads


class Power(Op):
    """y = x^k,  dy/dx = k x^(k - 1), k whole; counts calls, keeps more than it needs."""

    def __init__(self, k=3):
        self.k, self.calls, self.history = k, 0, []

    def forward(self, inputs):
        self.calls += 1
        self.history.append(tuple(inputs.shape))
        self.inputs, self.lower, self.sign = inputs, inputs ** (self.k - 1), inputs.sign()
        self.outputs = self.lower * inputs
        return self.outputs

    def backward_inputs(self, grads):
        return self.k * self.lower * grads


class Sine(Op):
    """y = sin(w x),  dy/dx = w cos(w x): steep where w is large."""

    def __init__(self, w=30.0):
        self.w = w

    def forward(self, inputs):
        self.inputs, self.outputs = inputs, torch.sin(self.w * inputs)
        return self.outputs

    def backward_inputs(self, grads):
        return self.w * torch.cos(self.w * self.inputs) * grads


class Cosine(Sine):
    """y = cos(w x),  dy/dx = -w sin(w x)."""

    def forward(self, inputs):
        self.inputs, self.outputs = inputs, torch.cos(self.w * inputs)
        return self.outputs

    def backward_inputs(self, grads):
        return -self.w * torch.sin(self.w * self.inputs) * grads


class Log(Op):
    """y = log x,  dy/dx = 1 / x, for x > 0."""

    def forward(self, inputs):
        self.inputs, self.outputs = inputs, torch.log(inputs)
        return self.outputs

    def backward_inputs(self, grads):
        return grads / self.inputs


class Sqrt(Op):
    """y = sqrt x,  dy/dx = 1 / (2 y), for x > 0."""

    def forward(self, inputs):
        self.inputs, self.outputs = inputs, torch.sqrt(inputs)
        return self.outputs

    def backward_inputs(self, grads):
        return grads / (2 * self.outputs)


class Reciprocal(Op):
    """y = 1 / x,  dy/dx = -y^2, for x > 0."""

    def forward(self, inputs):
        self.inputs, self.outputs = inputs, 1 / inputs
        return self.outputs

    def backward_inputs(self, grads):
        return -(self.outputs**2) * grads


class Constant(Op):
    """y = 3,  dy/dx = 0."""

    def forward(self, inputs):
        self.inputs, self.outputs = inputs, torch.full_like(inputs, 3)
        return self.outputs

    def backward_inputs(self, grads):
        return torch.zeros_like(grads)


class Identity:
    """y = x and dx = g: the very tensors that came in."""

    def forward(self, inputs):
        return inputs

    def backward(self, grads):
        return grads


# --- random


class Dropout(Op):
    """y = x m / (1 - p), m drawn once a forward from torch's generator;  dx = g m / (1 - p)."""

    p = 0.4

    def forward(self, inputs):
        self.inputs, self.mask = inputs, self.drawn(inputs)
        self.outputs = inputs * self.mask
        return self.outputs

    def drawn(self, like):
        if not self.training:
            return torch.ones_like(like)
        return (torch.rand_like(like) >= self.p).to(like) / (1 - self.p)

    def backward_inputs(self, grads):
        return grads * self.mask


class OwnDropout(Dropout):
    """The same, drawn from a generator of its own."""

    def __init__(self):
        super().__init__()
        self.generator = torch.Generator().manual_seed(3)

    def drawn(self, like):
        return (torch.rand(like.shape, generator=self.generator) >= self.p).to(like) / (1 - self.p)


class Noise:
    """y = x (1 + e / 10), e from N(0, 1), drawn once a forward;  dx = g (1 + e / 10)."""

    def forward(self, inputs):
        self.factor = 1 + torch.randn_like(inputs) / 10
        return inputs * self.factor

    def backward(self, grads):
        return grads * self.factor


# --- features and rows that see each other


class Softmax(Op):
    """p = exp x / sum exp x over the features,  dx = p (g - sum g p)."""

    def forward(self, inputs):
        powers = torch.exp(inputs - inputs.amax(-1, keepdim=True))
        self.inputs, self.outputs = inputs, powers / powers.sum(-1, keepdim=True)
        return self.outputs

    def backward_inputs(self, grads):
        p = self.outputs
        return p * (grads - (grads * p).sum(-1, keepdim=True))


class LogSoftmax(Op):
    """y = x - log sum exp x over the features,  dx = g - exp(y) sum g."""

    def forward(self, inputs):
        self.inputs, self.outputs = inputs, inputs - inputs.logsumexp(-1, keepdim=True)
        return self.outputs

    def backward_inputs(self, grads):
        return grads - self.outputs.exp() * grads.sum(-1, keepdim=True)


class LayerNorm(Op):
    """y = gain n + shift, n = (x - mean) / sd over the features.

    dx = (d - mean d - n mean(d n)) / sd,  d = gain g.
    """

    axes = (-1,)

    def __init__(self, features=4):
        super().__init__()
        self.params["gain"] = torch.ones(1, features)
        self.params["shift"] = torch.zeros(1, features)

    def forward(self, inputs):
        centred = inputs - self.mean(inputs)
        self.sd = (self.mean(centred**2) + 1e-3).sqrt()
        self.inputs, self.normal = inputs, centred / self.sd
        self.outputs = self.params["gain"] * self.normal + self.params["shift"]
        return self.outputs

    def mean(self, x):
        return x.mean(self.axes, keepdim=True)

    def backward_params(self, grads):
        self.grads["gain"] = rows_of(grads * self.normal).sum(0, keepdim=True)
        self.grads["shift"] = rows_of(grads).sum(0, keepdim=True)

    def backward_inputs(self, grads):
        d = self.params["gain"] * grads
        return (d - self.mean(d) - self.normal * self.mean(d * self.normal)) / self.sd


class BatchNorm(LayerNorm):
    """The same over the rows."""

    def mean(self, x):
        return x.mean(tuple(range(x.ndim - 1)), keepdim=True)


class RunningBatchNorm(BatchNorm):
    """The same; it also follows the batch means in a buffer, which its outputs do not read."""

    def __init__(self, features=4):
        super().__init__(features)
        self.buffers["mean"] = torch.zeros(1, features)

    def forward(self, inputs):
        self.buffers["mean"] = 0.9 * self.buffers["mean"] + 0.1 * rows_of(inputs).mean(0)
        return super().forward(inputs)


class Centre(Op):
    """y = x - mean_n x,  dx = g - mean_n g."""

    def forward(self, inputs):
        self.inputs, self.outputs = inputs, inputs - inputs.mean(-2, keepdim=True)
        return self.outputs

    def backward_inputs(self, grads):
        return grads - grads.mean(-2, keepdim=True)


class Length(Op):
    """y = x / sqrt(1 + |x|^2) by row,  dx = (g - y (y . g)) / sqrt(1 + |x|^2)."""

    def forward(self, inputs):
        self.inputs = inputs
        self.length = (1 + inputs.square().sum(-1, keepdim=True)).sqrt()
        self.outputs = inputs / self.length
        return self.outputs

    def backward_inputs(self, grads):
        y = self.outputs
        return (grads - y * (y * grads).sum(-1, keepdim=True)) / self.length


class Cumulative(Op):
    """y_k = sum_(j <= k) x_j,  dx_j = sum_(k >= j) g_k."""

    def forward(self, inputs):
        self.inputs, self.outputs = inputs, inputs.cumsum(-1)
        return self.outputs

    def backward_inputs(self, grads):
        return grads.flip(-1).cumsum(-1).flip(-1)


# --- another count of features


class Sum(Op):
    """y = sum_f x_f, [N, 1];  dx = g, spread over the features (a view)."""

    def forward(self, inputs):
        self.inputs, self.outputs = inputs, inputs.sum(-1, keepdim=True)
        return self.outputs

    def backward_inputs(self, grads):
        return grads.expand_as(self.inputs)


class WithSquare(Op):
    """y = [x, x^2], [N, 2 F];  dx = g_1 + 2 x g_2."""

    def forward(self, inputs):
        self.inputs, self.outputs = inputs, torch.cat([inputs, inputs**2], dim=-1)
        return self.outputs

    def backward_inputs(self, grads):
        of_x, of_square = grads.chunk(2, dim=-1)
        return of_x + 2 * self.inputs * of_square


class Gate(Op):
    """y = a s(c), inputs [a, c], s the logistic;  dx = [g s, g a s (1 - s)]."""

    def forward(self, inputs):
        self.inputs = inputs
        self.a, c = inputs.chunk(2, dim=-1)
        self.s = torch.sigmoid(c)
        self.outputs = self.a * self.s
        return self.outputs

    def backward_inputs(self, grads):
        return torch.cat([grads * self.s, grads * self.a * self.s * (1 - self.s)], dim=-1)


# --- weights of other shapes, constants


class PReLU(Op):
    """y = x where x > 0, else a x, a [1, F] learned;  da = sum_n g min(x, 0)."""

    def __init__(self, features=3):
        super().__init__()
        self.params["a"] = torch.full((1, features), 0.25)

    def forward(self, inputs):
        self.inputs = inputs
        self.outputs = torch.where(inputs > 0, inputs, self.params["a"] * inputs)
        return self.outputs

    def backward_params(self, grads):
        self.grads["a"] = rows_of(grads * self.inputs.clamp(max=0)).sum(0, keepdim=True)

    def backward_inputs(self, grads):
        return torch.where(self.inputs > 0, grads, self.params["a"] * grads)


class Scale(Op):
    """y = v x, v [F];  dv = sum_n g x,  dx = v g."""

    def __init__(self, features=3):
        super().__init__()
        self.params["v"] = torch.ones(features)

    def forward(self, inputs):
        self.inputs, self.outputs = inputs, self.params["v"] * inputs
        return self.outputs

    def backward_params(self, grads):
        self.grads["v"] = rows_of(grads * self.inputs).sum(0)

    def backward_inputs(self, grads):
        return self.params["v"] * grads


class Odd(Op):
    """y = t tanh(x A + 2 c), t a 0-d tensor: three params under odd names."""

    def __init__(self):
        super().__init__()
        self.params = {
            "the temperature": torch.tensor(1.5),
            "A_1": torch.randn(3, 2),
            "c of tanh": torch.randn(2),
        }

    def forward(self, inputs):
        t, A, c = self.params.values()
        self.inputs, self.h = inputs, torch.tanh(inputs @ A + 2 * c)
        self.outputs = t * self.h
        return self.outputs

    def backward(self, grads):
        t, A, _ = self.params.values()
        d = grads * t * (1 - self.h**2)
        self.grads = {
            "the temperature": (grads * self.h).sum(),
            "A_1": rows_of(self.inputs).T @ rows_of(d),
            "c of tanh": 2 * rows_of(d).sum(0),
        }
        return d @ A.T


class Projection(Op):
    """y = x C, dx = g C^T, C a constant that nobody trains."""

    def __init__(self, inputs=3, outputs=4):
        self.table = torch.randn(inputs, outputs)

    def forward(self, inputs):
        self.inputs, self.outputs = inputs, inputs @ self.table
        return self.outputs

    def backward(self, grads):
        return grads @ self.table.T


class Distances(Op):
    """y_k = |x - c_k|^2,  dx = 2 sum_k g_k (x - c_k), the centres c_k a list of constants."""

    def __init__(self, features=3):
        self.centres = [torch.randn(features) for _ in range(2)]

    def forward(self, inputs):
        self.inputs = inputs
        self.outputs = torch.stack([((inputs - c) ** 2).sum(-1) for c in self.centres], dim=-1)
        return self.outputs

    def backward(self, grads):
        return sum(2 * grads[..., [k]] * (self.inputs - c) for k, c in enumerate(self.centres))


class Shuffle(Op):
    """y = x[order] over the features,  dx[order] = g."""

    def __init__(self, order=(2, 0, 1)):
        self.order = torch.tensor(order)

    def forward(self, inputs):
        self.inputs, self.outputs = inputs, inputs[..., self.order]
        return self.outputs

    def backward_inputs(self, grads):
        dx = torch.empty_like(grads)
        dx[..., self.order] = grads
        return dx


# --- ops made of ops


class BookModel(Op):
    """A whole model in the book's style: its own layers, forward and backward."""

    def __init__(self, inputs=2, hidden=3, outputs=1):
        self.fc1 = PlainAffine(inputs, hidden, "fc1")
        self.act_fn1 = PlainTanh()
        self.fc2 = PlainAffine(hidden, outputs, "fc2")
        self.act_fn2 = BookLogistic()
        self.layers = [self.fc1, self.act_fn1, self.fc2, self.act_fn2]

    def __call__(self, X):
        return self.forward(X)

    def forward(self, X):
        a1 = self.act_fn1.forward(self.fc1.forward(X))
        return self.act_fn2.forward(self.fc2.forward(a1))

    def backward(self, loss_grad_a2):
        loss_grad_a1 = self.fc2.backward(self.act_fn2.backward(loss_grad_a2))
        return self.fc1.backward(self.act_fn1.backward(loss_grad_a1))


class PlainChain:
    """A container of the reader's own, of which only `layers` says so."""

    def __init__(self, *layers):
        self.layers = layers

    def forward(self, inputs):
        for layer in self.layers:
            inputs = layer.forward(inputs)
        return inputs

    def backward(self, grads):
        for layer in self.layers[::-1]:
            grads = layer.backward(grads)
        return grads


class ResidualOf:
    """y = x + f(x),  dx = g + f'(g), f an op held in `layers`."""

    def __init__(self, f):
        self.layers = [f]

    def forward(self, inputs):
        return inputs + self.layers[0].forward(inputs)

    def backward(self, grads):
        return grads + self.layers[0].backward(grads)


class Residual(Op):
    """y = x + tanh(x W);  dW = x^T d,  dx = g + d W^T,  d = g (1 - tanh^2)."""

    def __init__(self, features=3):
        super().__init__()
        self.params["W"] = torch.randn(features, features)

    def forward(self, inputs):
        self.inputs, self.h = inputs, torch.tanh(inputs @ self.params["W"])
        self.outputs = inputs + self.h
        return self.outputs

    def backward_params(self, grads):
        self.grads["W"] = rows_of(self.inputs).T @ rows_of(grads * (1 - self.h**2))

    def backward_inputs(self, grads):
        return grads + (grads * (1 - self.h**2)) @ self.params["W"].T


def in_eval(op):
    """The op, told that training is over."""
    op.training = False
    return op


SOUND = [
    Sound("Affine", Affine),
    Sound("Affine, square", lambda: Affine(4, 4)),
    Sound("Affine, one column", lambda: Affine(3, 1)),
    Sound("Affine on batch axes", Affine, normal(2, 5, 3)),
    Sound("Affine in place", AffineInPlace),
    Sound("Affine, float64", lambda: Affine(dtype=torch.double), normal(5, 3, dtype=torch.double)),
    Sound("Affine, bfloat16", lambda: Affine(dtype=torch.bfloat16)),
    Sound("Affine, float16", lambda: Affine(dtype=torch.half), normal(5, 3, dtype=torch.half)),
    Sound("PlainAffine", PlainAffine),
    Sound("LearnersAffine", LearnersAffine),
    Sound("TrackedAffine", TrackedAffine),
    Sound("Tied", Tied, normal(5, 3)),
    Sound("Normalised", Normalised, normal(5, 3)),
    Sound("ReLU", ReLU),
    Sound("ReLU, 1 at 0", lambda: ReLU(1.0)),
    Sound("ReLU, 1/2 at 0", lambda: ReLU(0.5)),
    Sound("LeakyReLU", LeakyReLU),
    Sound("HardTanh", Clip),
    Sound("ReLU6", lambda: Clip(0, 6)),
    Sound("Clip to [2, 3]", lambda: Clip(2, 3)),
    Sound("HardLogistic", HardLogistic),
    Sound("HardSwish", HardSwish),
    Sound("Abs", Abs),
    Sound("Hinge", Hinge),
    Sound("Shrink", Shrink),
    Sound("Threshold", Threshold, normal(5, 3)),
    Sound("MaxOfPairs", MaxOfPairs, normal(5, 4)),
    Sound("LargestFeature", LargestFeature),
    Sound("Step", Step),
    Sound("BookLogistic", BookLogistic),
    Sound("Tanh", Tanh),
    Sound("Tanh on batch axes", Tanh, normal(2, 3, 4, 2)),
    Sound("PlainTanh", PlainTanh),
    Sound("EmptyParams", EmptyParams),
    Sound("Softplus", Softplus),
    Sound("ELU", ELU),
    Sound("ELU, alpha 1/2", lambda: ELU(0.5)),
    Sound("Swish", Swish),
    Sound("GELU", GELU),
    Sound("Softsign", Softsign),
    Sound("Elementwise", lambda: Elementwise(torch.atan, lambda x: 1 / (1 + x**2))),
    Sound("Exp", Exp),
    Sound("Square", Square),
    Sound("SlottedSquare", SlottedSquare),
    Sound("Power", Power),
    Sound("Sine, steep", Sine),
    Sound("Cosine", lambda: Cosine(1.0)),
    Sound("Large", lambda: Elementwise(lambda x: 1e8 * x**2, lambda x: 2e8 * x)),
    Sound("Small", lambda: Elementwise(lambda x: 1e-8 * x**2, lambda x: 2e-8 * x)),
    Sound("Log", Log, positive(5, 3)),
    Sound("Sqrt", Sqrt, positive(5, 3)),
    Sound("Reciprocal", Reciprocal, positive(5, 3)),
    Sound("Constant", Constant),
    Sound("Identity", Identity),
    Sound("Dropout", Dropout),
    Sound("Dropout in eval", lambda: in_eval(Dropout())),
    Sound("OwnDropout", OwnDropout),
    Sound("Noise", Noise),
    Sound("Softmax", Softmax),
    Sound("LogSoftmax", LogSoftmax),
    Sound("LayerNorm", LayerNorm, normal(5, 4)),
    Sound("BatchNorm", BatchNorm, normal(5, 4)),
    Sound("BatchNorm on batch axes", BatchNorm, normal(2, 5, 4)),
    Sound("RunningBatchNorm", RunningBatchNorm, normal(5, 4)),
    Sound("Centre", Centre),
    Sound("Length", Length),
    Sound("Cumulative", Cumulative),
    Sound("Sum", Sum),
    Sound("WithSquare", WithSquare),
    Sound("Gate", Gate, normal(5, 4)),
    Sound("PReLU", PReLU, normal(5, 3)),
    Sound("Scale", Scale, normal(5, 3)),
    Sound("Odd", Odd, normal(5, 3)),
    Sound("Projection", Projection, normal(5, 3)),
    Sound("Distances", Distances, normal(5, 3)),
    Sound("Shuffle", Shuffle, normal(5, 3)),
    Sound("BookModel", BookModel),
    Sound("PlainChain", lambda: PlainChain(PlainAffine(), PlainTanh(), PlainAffine(2, 2, "out"))),
    Sound("Residual", Residual),
    Sound("ResidualOf", lambda: ResidualOf(Affine(3, 3))),
    Sound("Sequential", lambda: Sequential(Linear(3, 4, "a"), ReLU(), Affine(4, 2), Softmax())),
    Sound(
        "Sequential in a Sequential",
        lambda: Sequential(
            Sequential(Affine(3, 4), Tanh(), Dropout()),
            ResidualOf(Sequential(Affine(4, 4), BookLogistic())),
            PlainAffine(4, 1),
        ),
    ),
    Sound("opnet's own", lambda: Sequential(Linear(3, 2, "a"), Logistic())),
    Sound("Model_MLP_L2", lambda: Model_MLP_L2(2, 5, 1)),
]
