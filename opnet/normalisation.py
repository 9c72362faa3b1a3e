"""Ops that bring rows or features to another mean and scale: one that is learned, or is given."""

from typing import Self

import torch
from torch import Tensor

from .errors import check_count, check_number, check_positive
from .op import Op
from .tensors import as_matrix, check_finite, check_inputs, described, pick_device


class Normalisation(Op):
    """y = W x^ + b,  x^ = (x - m) r,  r = 1 / sqrt(v + eps);  dL/dW = sum_n g x^,  dL/db = sum_n g.

    x, y, g [..., N, F], W (the scale, ones at the start) and b (zeros) [1, F]; `eps` > 0.
    A subclass says what mean m and variance v are taken over: `statistics` returns both, and the
    axes of x that they depend on, n elements each. Over these
    dL/dx = r (h - sum h / n - x^ sum(h x^) / n),  h = g W;  without such axes dL/dx = r h.
    """

    def __init__(
        self,
        features: int,
        name: str | None = None,
        *,
        eps: float = 1e-5,
        device: str | torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(name)
        self.features = check_count(f"{self}: features", features)
        self.eps = check_positive(f"{self}: eps", eps)
        if dtype is not None and not getattr(dtype, "is_floating_point", False):
            raise TypeError(f"{self}: dtype is {dtype!r}, wanted floating point, as torch.float64")
        device = None if device is None else pick_device(device)
        self.params["W"] = torch.ones(1, self.features, device=device, dtype=dtype)
        self.params["b"] = torch.zeros_like(self.params["W"])
        for key, param in self.params.items():
            self.grads[key] = torch.zeros_like(param)

    def statistics(self, inputs: Tensor) -> tuple[Tensor, Tensor, tuple[int, ...]]:
        raise NotImplementedError(f"{self}: has no statistics")

    def forward(self, inputs: Tensor) -> Tensor:
        W, b = self.params["W"], self.params["b"]
        check_inputs(self, inputs, W, columns=self.features)
        self.mean, variance, self.axes = self.statistics(inputs)  # may refuse: nothing is kept yet
        self.inputs = inputs
        self.r = (variance + self.eps).rsqrt()
        self.outputs = self._normalised().mul(W).add_(b)
        return self.outputs

    def backward_params(self, grads: Tensor) -> None:
        x = self._normalised()
        torch.sum(as_matrix(grads * x), dim=0, keepdim=True, out=self.grad("W"))
        torch.sum(as_matrix(grads), dim=0, keepdim=True, out=self.grad("b"))

    def backward_inputs(self, grads: Tensor) -> Tensor:
        x, h = self._normalised(), grads * self.params["W"]
        if self.axes:
            along_x = x * (h * x).mean(self.axes, keepdim=True)
            h = h - h.mean(self.axes, keepdim=True) - along_x
        return h * self.r

    def _normalised(self) -> Tensor:
        """x^, made again where it is read: kept, it would be one more tensor of the size of x."""
        return (self.inputs - self.mean).mul_(self.r)


class LayerNorm(Normalisation):
    """y = W (x - m) / sqrt(v + eps) + b;  m, v: mean and biased variance of each row.

    dL/dx = r (h - mean_f h - x^ mean_f(h x^)),  h = g W,  r = 1 / sqrt(v + eps).
    x, y, g [..., N, F], W, b [1, F]; eps = 1e-5. The same in training and eval mode.
    Source: Ba, Kiros, Hinton 2016.
    """

    rowwise = True

    def statistics(self, inputs: Tensor) -> tuple[Tensor, Tensor, tuple[int, ...]]:
        variance, mean = torch.var_mean(inputs, dim=-1, correction=0, keepdim=True)
        return mean, variance, (-1,)


class BatchNorm(Normalisation):
    """y = W (x - m) / sqrt(v + eps) + b;  m, v: mean and biased variance of each feature.

    In training over all N rows, those of the batch axes too:
    dL/dx = r (h - mean_n h - x^ mean_n(h x^)),  h = g W,  r = 1 / sqrt(v + eps).
    In eval mode dL/dx = r h, m and v are `buffers["running_mean"]` and `["running_var"]` [1, F].
    Each forward in training moves these, in place, by `momentum` in [0, 1] towards the mean and the
    unbiased variance v N / (N - 1) of its rows. Of one row v = 0, so that y = b and dL/dx = 0, and
    the running variance stays as it is, for one row has no unbiased one.
    x, y, g [..., N, F], W, b [1, F]; eps = 1e-5.
    Source: Ioffe, Szegedy 2015, algorithm 1; the running statistics as in torch.
    """

    def __init__(
        self,
        features: int,
        name: str | None = None,
        *,
        momentum: float = 0.1,
        eps: float = 1e-5,
        device: str | torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(features, name, eps=eps, device=device, dtype=dtype)
        self.momentum = check_number(
            f"{self}: momentum", momentum, "0 <= momentum <= 1", lambda number: 0 <= number <= 1
        )
        self.buffers["running_mean"] = torch.zeros_like(self.params["W"])
        self.buffers["running_var"] = torch.ones_like(self.params["W"])

    def statistics(self, inputs: Tensor) -> tuple[Tensor, Tensor, tuple[int, ...]]:
        if not self.training:  # copies: training may move the buffers before backward reads them
            return self.buffers["running_mean"].clone(), self.buffers["running_var"].clone(), ()
        if (rows := inputs[..., 0].numel()) < 1:
            came = f"inputs are {described(inputs)}"
            raise ValueError(f"{self}: {came}, wanted at least one row in training")
        axes = tuple(range(inputs.ndim - 1))
        variance, mean = torch.var_mean(inputs, dim=axes, correction=0, keepdim=True)
        several = 1 - 1 // rows  # 0 of one row; no branch, which a file of ONNX could not take
        self._move("running_mean", mean, self.momentum)
        unbiased = variance * (rows / (rows - several))
        self._move("running_var", unbiased, self.momentum * several)
        return mean, variance, axes

    def _move(self, key: str, seen: Tensor, by: float) -> None:
        running = self.buffers[key]
        running.add_(seen.detach().reshape(running.shape) - running, alpha=by)


class Rescale(Op):
    """y = (x - m) / s,  dy/dx = 1 / s.    x, y, g [..., N, F], m and s [1, F].

    m and s are given, not learned: `buffers["mean"]` (zeros) and `buffers["scale"]` (ones), that a
    checkpoint keeps. `Rescale.of(X)` brings each column of X to mean 0 and variance 1; `undo()` is
    the op that takes it back.
    """

    rowwise = True

    def __init__(
        self,
        features: int,
        name: str | None = None,
        *,
        device: str | torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(name)
        self.features = check_count(f"{self}: features", features)
        if dtype is not None and not getattr(dtype, "is_floating_point", False):
            raise TypeError(f"{self}: dtype is {dtype!r}, wanted floating point, as torch.float64")
        device = None if device is None else pick_device(device)
        self.buffers["mean"] = torch.zeros(1, self.features, device=device, dtype=dtype)
        self.buffers["scale"] = torch.ones_like(self.buffers["mean"])

    @classmethod
    def of(cls, X: Tensor, name: str | None = None) -> Self:
        """To mean 0 and variance 1 over the rows of X [N, F]; a constant column only to mean 0.

        ValueError for no rows and for what is not finite.
        """
        if not X.numel():
            raise ValueError(f"Rescale.of: X is {described(X)}, wanted at least one row")
        check_finite("Rescale.of: X", X)
        op = cls(X.shape[-1], name, device=X.device, dtype=X.dtype)
        variance, mean = torch.var_mean(as_matrix(X).double(), dim=0, correction=0, keepdim=True)
        op.buffers["mean"].copy_(mean)
        op.buffers["scale"].copy_(variance.sqrt_().masked_fill_(variance == 0, 1))
        return op

    def undo(self, name: str | None = None) -> Self:
        """x = s y + m, which is (y - (-m / s)) / (1 / s)."""
        mean, scale = self.buffers["mean"], self.buffers["scale"]
        op = type(self)(self.features, name, device=mean.device, dtype=mean.dtype)
        op.buffers["mean"].copy_(-mean / scale)
        op.buffers["scale"].copy_(1 / scale)
        return op

    def forward(self, inputs: Tensor) -> Tensor:
        mean, scale = self.buffers["mean"], self.buffers["scale"]
        check_inputs(self, inputs, mean, columns=self.features, what="mean")
        self.inputs = inputs
        self.outputs = torch.sub(inputs, mean, out=self.scratch("outputs", inputs)).div_(scale)
        return self.outputs

    def backward_inputs(self, grads: Tensor) -> Tensor:
        return torch.div(grads, self.buffers["scale"], out=self.scratch("grads", self.inputs))
