"""Functions of two numbers to walk down, each an op with its derivative beside it."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from opnet import Op

Pair = tuple[float, float]


class Surface(Op):
    """y = f(p + x),  dL/dp = sum_n g f'(p + x),  dL/dx = g f'(p + x).

    p [1, 2] is the point that an optimizer moves, x [..., N, 2] an offset, y, g [..., N, 1].
    """

    f: Any  # (x1, x2) -> y
    slope: Any  # (x1, x2) -> dy/dx1, dy/dx2
    start: Pair
    lowest: Sequence[Pair]
    window: tuple[Pair, Pair]  # of x1, of x2

    def __init__(self) -> None:
        super().__init__("surface")
        self.params["p"] = torch.tensor([self.start], dtype=torch.float64)
        self.grads["p"] = torch.zeros_like(self.params["p"])

    def forward(self, inputs: Tensor) -> Tensor:
        self.inputs = inputs
        self.outputs = self.f(*self._points())
        return self.outputs

    def backward_params(self, grads: Tensor) -> None:
        by_row = self.backward_inputs(grads).reshape(-1, 2)
        torch.sum(by_row, dim=0, keepdim=True, out=self.grad("p"))

    def backward_inputs(self, grads: Tensor) -> Tensor:
        return grads * torch.cat(self.slope(*self._points()), dim=-1)

    def _points(self) -> tuple[Tensor, ...]:
        return (self.params["p"] + self.inputs).split(1, dim=-1)


class Valley(Surface):
    """y = 0.2 x1^2 + 2 x2^2,  dy/dx = (0.4 x1, 4 x2).

    Ten times as steep across as along. Source: NNDL 7, the test surface.
    """

    start, lowest, window = (3.0, 4.0), ((0.0, 0.0),), ((-4.5, 4.5), (-4.5, 4.5))

    @staticmethod
    def f(x1: Any, x2: Any) -> Any:
        return 0.2 * x1**2 + 2 * x2**2

    @staticmethod
    def slope(x1: Any, x2: Any) -> tuple[Any, Any]:
        return 0.4 * x1, 4 * x2


class Saddle(Surface):
    """y = x1^2 / 2 - x2^2 / 2 + x2^4 / 4,  dy/dx = (x1, x2^3 - x2).

    The saddle is at (0, 0), halfway between two lowest points, y = -1/4.
    """

    start, lowest, window = (1.5, 0.001), ((0.0, 1.0), (0.0, -1.0)), ((-1.8, 1.8), (-1.8, 1.8))

    @staticmethod
    def f(x1: Any, x2: Any) -> Any:
        return x1**2 / 2 - x2**2 / 2 + x2**4 / 4

    @staticmethod
    def slope(x1: Any, x2: Any) -> tuple[Any, Any]:
        return x1, x2**3 - x2


class Beale(Surface):
    """y = a^2 + b^2 + c^2,  dy/dx = 2 (a a' + b b' + c c').

    a = 1.5 - x1 (1 - x2), b = 2.25 - x1 (1 - x2^2), c = 2.625 - x1 (1 - x2^3). Source: Beale 1958.
    """

    start, lowest, window = (1.0, 1.5), ((3.0, 0.5),), ((-1.0, 4.5), (-1.5, 2.0))

    @staticmethod
    def abc(x1: Any, x2: Any) -> tuple[Any, Any, Any]:
        return 1.5 - x1 * (1 - x2), 2.25 - x1 * (1 - x2**2), 2.625 - x1 * (1 - x2**3)

    @staticmethod
    def f(x1: Any, x2: Any) -> Any:
        a, b, c = Beale.abc(x1, x2)
        return a**2 + b**2 + c**2

    @staticmethod
    def slope(x1: Any, x2: Any) -> tuple[Any, Any]:
        a, b, c = Beale.abc(x1, x2)
        by_x1 = 2 * (a * (x2 - 1) + b * (x2**2 - 1) + c * (x2**3 - 1))
        return by_x1, 2 * x1 * (a + 2 * b * x2 + 3 * c * x2**2)


class Rosenbrock(Surface):
    """y = (1 - x1)^2 + 100 r^2,  dy/dx = (-2 (1 - x1) - 400 x1 r, 200 r),  r = x2 - x1^2.

    A bent valley with an almost flat floor. Source: Rosenbrock 1960.
    """

    start, lowest, window = (-1.2, 1.0), ((1.0, 1.0),), ((-1.8, 1.8), (-0.8, 2.2))

    @staticmethod
    def f(x1: Any, x2: Any) -> Any:
        return (1 - x1) ** 2 + 100 * (x2 - x1**2) ** 2

    @staticmethod
    def slope(x1: Any, x2: Any) -> tuple[Any, Any]:
        r = x2 - x1**2
        return -2 * (1 - x1) - 400 * x1 * r, 200 * r
