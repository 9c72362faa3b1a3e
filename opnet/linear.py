"""Ops with weights."""

from collections.abc import Callable

import torch
from torch import Tensor

from .errors import check_count
from .numerics import affine, times_transposed
from .op import Op
from .tensors import as_matrix, check_dense, check_inputs, described, pick_device

Initialiser = Callable[[list[int]], Tensor]


class Linear(Op):
    """y = x W + b;  dL/dW = x^T g,  dL/db = sum_n g,  dL/dx = g W^T.

    x [..., N, I], W [I, O], b [1, O], y and g = dL/dy [..., N, O]; axes before N are batch axes.

    `weight_init` and `bias_init` are callables that take the shape as a list; `bias_init=None`
    leaves b out. `generator`, `device` and `dtype` are passed on to torch.randn and torch.zeros,
    and convert what any other initialiser returns. Errors: TypeError or ValueError at construction
    and in forward, naming the op, what came and what was wanted.
    Source: NNDL 4.2, the linear operator; Rumelhart, Hinton, Williams 1986 for the derivative.
    """

    rowwise = True

    def __init__(
        self,
        input_size: int,
        output_size: int,
        name: str | None = None,
        weight_init: Initialiser = torch.randn,
        bias_init: Initialiser | None = torch.zeros,
        *,
        generator: torch.Generator | None = None,
        device: str | torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(name)
        self.input_size = inputs = check_count(f"{self}: input_size", input_size)
        self.output_size = outputs = check_count(f"{self}: output_size", output_size)
        device = None if device is None else pick_device(device)
        if not callable(weight_init):
            raise TypeError(f"{self}: weight_init is {weight_init!r}, wanted a callable")
        if dtype is not None and not getattr(dtype, "is_floating_point", False):
            raise TypeError(f"{self}: dtype is {dtype!r}, wanted floating point, as torch.float64")
        if not isinstance(generator, torch.Generator | None):
            raise TypeError(f"{self}: generator is {generator!r}, wanted a torch.Generator")
        for key, init, shape in (
            ("W", weight_init, [inputs, outputs]),
            ("b", bias_init, [1, outputs]),
        ):
            if init is not None:
                if not callable(init):
                    raise TypeError(f"{self}: initialiser of {key} is {init!r}, wanted a callable")
                who = f"{self}: initialiser of {key}"
                self.params[key] = _initialised(who, init, shape, generator, device, dtype)
                self.grads[key] = torch.zeros_like(self.params[key])

    def forward(self, inputs: Tensor) -> Tensor:
        W, b = self.params["W"], self.params.get("b")
        check_inputs(self, inputs, W, columns=len(W))
        self.inputs = inputs
        out = self.scratch("outputs", inputs, *inputs.shape[:-1], W.shape[1])
        self.outputs = affine(inputs, W, b, out)
        return self.outputs

    def backward_params(self, grads: Tensor) -> None:
        x, g = as_matrix(self.inputs), as_matrix(grads)
        torch.mm(x.T, g, out=self.grad("W"))
        if "b" in self.params:
            torch.sum(g, dim=0, keepdim=True, out=self.grad("b"))

    def backward_inputs(self, grads: Tensor) -> Tensor:
        return times_transposed(grads, self.params["W"], self.scratch("grads", self.inputs))


def glorot(shape: list[int], generator: torch.Generator | None = None) -> Tensor:
    """W ~ N(0, 2 / (I + O)): signals and gradients keep their size from layer to layer.

    `shape` is [I, O]; `partial(glorot, generator=g)` is a `weight_init` with a seed.
    Source: Glorot, Bengio 2010, eq. 12.
    """
    return torch.randn(shape, generator=generator).mul_((2 / sum(shape)) ** 0.5)


def _initialised(
    who: str,
    init: Initialiser,
    shape: list[int],
    generator: torch.Generator | None,
    device: torch.device | None,
    dtype: torch.dtype | None,
) -> Tensor:
    """What `init` makes of `shape`, in memory of its own: training writes in place."""
    if init is torch.randn:  # a generator draws on its own device only
        drawn_on = device if generator is None else generator.device
        values = torch.randn(shape, generator=generator, device=drawn_on, dtype=dtype)
    elif init is torch.zeros:
        values = torch.zeros(shape, device=device, dtype=dtype)
    else:
        values = init(shape)
    if not isinstance(values, Tensor):
        raise TypeError(f"{who} returned a {type(values).__name__}, wanted a Tensor {shape}")
    if values.layout != torch.strided:
        check_dense(who, values)
    if list(values.shape) != shape:
        raise ValueError(f"{who} returned {described(values)}, wanted shape {shape}")
    values = values.detach().to(device=device, dtype=dtype)
    if not values.is_floating_point():
        raise TypeError(f"{who} returned {described(values)}, wanted floating point")
    return values.clone(memory_format=torch.contiguous_format)
