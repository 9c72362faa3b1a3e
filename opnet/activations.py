"""Ops without weights, one number to one number, simple to involved.

Every rule works element by element: z, y and g = dL/dy are [..., N, O]. Values are exact to
rounding wherever the formula has a limit, in float32 and float64, at inf too; so are slopes, but
for that of the Logistic, which is told from p. `name` is the op's name in its container.
"""

import math
from typing import Any

import torch
from torch import Tensor

from .errors import check_number, check_positive, check_rate
from .numerics import FAR, gated, logistic_slope
from .op import Op


class ReLU(Op):
    """y = max(0, z),  dy/dz = [z > 0].    z, y, g [..., N, O].

    At the kink z = 0 the slope is 0.
    Source: Nair, Hinton 2010; NNDL 4.1.
    """

    rowwise = True

    def forward(self, inputs: Tensor) -> Tensor:
        self.inputs = inputs
        self.outputs = torch.clamp_min(inputs, 0, out=self.scratch("outputs", inputs))
        return self.outputs

    def backward_inputs(self, grads: Tensor) -> Tensor:
        return _by_kernel(self, torch.ops.aten.threshold_backward, grads, self.inputs, 0)


class LeakyReLU(Op):
    """y = max(0, z) + a min(0, z),  dy/dz = [z > 0] + a [z <= 0].    z, y, g [..., N, O].

    a = `negative_slope`, finite and >= 0. At the kink z = 0 the slope is a.
    Source: Maas, Hannun, Ng 2013; NNDL 4.1.
    """

    rowwise = True

    def __init__(self, negative_slope: float = 0.1, name: str | None = None) -> None:
        super().__init__(name)
        self.negative_slope = check_rate(f"{self}: negative_slope", negative_slope)

    def forward(self, inputs: Tensor) -> Tensor:
        self.inputs = inputs
        if self.negative_slope:
            self.outputs = torch.where(inputs > 0, inputs, inputs * self.negative_slope)
        else:  # 0 * -inf is nan
            self.outputs = torch.relu(inputs)
        return self.outputs

    def backward_inputs(self, grads: Tensor) -> Tensor:
        a = self.negative_slope
        return _by_kernel(self, torch.ops.aten.leaky_relu_backward, grads, self.inputs, a, False)


class HardTanh(Op):
    """y = clip(z, -1, 1),  dy/dz = [-1 < z < 1].    z, y, g [..., N, O].

    At the kinks z = -1 and z = 1 the slope is 0.
    Source: NNDL 4.1, Hard-Tanh: the first-order Taylor polynomial of tanh at 0, clipped.
    """

    rowwise = True

    def forward(self, inputs: Tensor) -> Tensor:
        self.inputs = inputs
        self.outputs = inputs.clamp(-1, 1)
        return self.outputs

    def backward_inputs(self, grads: Tensor) -> Tensor:
        return _by_kernel(self, torch.ops.aten.hardtanh_backward, grads, self.inputs, -1, 1)


class HardLogistic(Op):
    """p = clip(a z + c, 0, 1),  dp/dz = a [0 < p < 1].    z, p, g [..., N, O].

    a = `slope`, finite and > 0; c = `offset`, finite. At the kinks, where p has just become 0 or 1,
    the slope is 0.
    Source: NNDL 4.1, Hard-Logistic: with the defaults the first-order Taylor polynomial of the
    Logistic at 0, clipped.
    """

    rowwise = True

    def __init__(self, slope: float = 0.25, offset: float = 0.5, name: str | None = None) -> None:
        super().__init__(name)
        self.slope = check_positive(f"{self}: slope", slope)
        self.offset = check_number(f"{self}: offset", offset)

    def forward(self, inputs: Tensor) -> Tensor:
        self.inputs = inputs
        self.outputs = inputs.mul(self.slope).add_(self.offset).clamp_(0, 1)
        return self.outputs

    def backward_inputs(self, grads: Tensor) -> Tensor:
        return _by_kernel(self, torch.ops.aten.hardtanh_backward, grads, self.outputs, 0, 1).mul_(
            self.slope
        )


class Logistic(Op):
    """p = 1 / (1 + exp(-z)),  dp/dz = p (1 - p).    z, p, g [..., N, O].

    Where it feeds a cross-entropy, that loss sets `floored`: both then hold p (1 - p) at one floor
    (numerics.logistic_slope) and dL/dz stays p - y where p has rounded to 0 or 1. Elsewhere torch's
    own kernel makes the product in one pass.
    Source: NNDL 4.1, the Logistic function.
    """

    rowwise = True
    floored = False

    def forward(self, inputs: Tensor) -> Tensor:
        self.inputs, self.floored = inputs, False
        self.outputs = torch.sigmoid(inputs, out=self.scratch("outputs", inputs))
        return self.outputs

    def backward_inputs(self, grads: Tensor) -> Tensor:
        if self.floored:
            return logistic_slope(self.outputs).mul_(grads)
        return _by_kernel(self, torch.ops.aten.sigmoid_backward, grads, self.outputs)


class Tanh(Op):
    """y = tanh(z),  dy/dz = 1 - y^2 = 1 / cosh(z)^2.    z, y, g [..., N, O].

    The second form is used: 1 - y^2 cancels where y nears 1, to 0 from |z| = 10 on in float32.
    Source: NNDL 4.1, the Tanh function.
    """

    rowwise = True

    def forward(self, inputs: Tensor) -> Tensor:
        self.inputs = inputs
        self.outputs = torch.tanh(inputs, out=self.scratch("outputs", inputs))
        return self.outputs

    def backward_inputs(self, grads: Tensor) -> Tensor:
        cosh = torch.cosh(self.inputs, out=self.scratch("cosh", self.inputs))
        by_cosh = torch.div(grads, cosh, out=self.scratch("grads", grads))
        return by_cosh.div_(cosh)  # cosh^2 would overflow where 1 / cosh^2 is not yet 0


class ELU(Op):
    """y = z [z > 0] + a (exp(z) - 1) [z <= 0],  dy/dz = [z > 0] + a exp(z) [z <= 0].

    z, y, g [..., N, O]; a = `alpha`, finite and >= 0. At z = 0, a kink unless a = 1, the slope is
    a.
    Source: Clevert, Unterthiner, Hochreiter 2016; NNDL 4.1.
    """

    rowwise = True

    def __init__(self, alpha: float = 1.0, name: str | None = None) -> None:
        super().__init__(name)
        self.alpha = check_rate(f"{self}: alpha", alpha)

    def forward(self, inputs: Tensor) -> Tensor:
        self.inputs = inputs
        self.outputs = torch.where(inputs > 0, inputs, torch.expm1(inputs) * self.alpha)
        return self.outputs

    def backward_inputs(self, grads: Tensor) -> Tensor:
        return _by_kernel(
            self, torch.ops.aten.elu_backward, grads, self.alpha, 1, 1, False, self.inputs
        )


class Softplus(Op):
    """y = log(1 + exp(z)),  dy/dz = 1 / (1 + exp(-z)).    z, y, g [..., N, O].

    The formula at every z: no threshold past which y is taken for z.
    Source: Dugas, Bengio, Belisle, Nadeau, Garcia 2001; NNDL 4.1.
    """

    rowwise = True

    def forward(self, inputs: Tensor) -> Tensor:
        self.inputs = inputs
        self.outputs = torch.logaddexp(inputs, inputs.new_zeros(()))
        return self.outputs

    def backward_inputs(self, grads: Tensor) -> Tensor:
        return torch.sigmoid(self.inputs).mul_(grads)


class Swish(Op):
    """y = z s(t),  dy/dz = s(t) (1 + t s(-t)),  t = b z,  s the Logistic.    z, y, g [..., N, O].

    b = `beta`, finite and >= 0: with 0 y is z / 2, with 1 the SiLU, with a large one it nears ReLU.
    s(-t) is 1 - s(t) without its cancellation.
    Source: Ramachandran, Zoph, Le 2017; NNDL 4.1.
    """

    rowwise = True

    def __init__(self, beta: float = 1.0, name: str | None = None) -> None:
        super().__init__(name)
        self.beta = check_rate(f"{self}: beta", beta)

    def forward(self, inputs: Tensor) -> Tensor:
        self.inputs = inputs
        self.outputs = gated(inputs, torch.sigmoid(self._t()))
        return self.outputs

    def backward_inputs(self, grads: Tensor) -> Tensor:
        t = self._t()
        slope = torch.sigmoid(-t).mul_(t).add_(1)
        return slope.mul_(torch.sigmoid(t)).mul_(grads)

    def _t(self) -> Tensor:
        """b z, held in [-FAR, FAR]."""
        reach = FAR / self.beta if self.beta else 0.0
        return self.inputs.clamp(-reach, reach).mul_(self.beta)


class GELU(Op):
    """y = z P(z),  dy/dz = P(z) + z exp(-z^2 / 2) / sqrt(2 pi),  P(z) = erfc(-z / sqrt(2)) / 2.

    z, y, g [..., N, O]; P is the standard normal distribution function, exact and not its tanh
    approximation. By erfc: 1 + erf(z / sqrt(2)) cancels to 0 from z = -9 on.
    Source: Hendrycks, Gimpel 2016; NNDL 4.1.
    """

    rowwise = True

    def forward(self, inputs: Tensor) -> Tensor:
        self.inputs = inputs
        self.outputs = gated(inputs, _normal_cdf(inputs))
        return self.outputs

    def backward_inputs(self, grads: Tensor) -> Tensor:
        z = self.inputs.clamp(-FAR, FAR)
        density = z.square().mul_(-0.5).exp_().mul_(1 / math.sqrt(2 * math.pi))
        return density.mul_(z).add_(_normal_cdf(z)).mul_(grads)


def _by_kernel(op: Op, kernel: Any, grads: Tensor, *arguments: Any) -> Tensor:
    """dL/dz by torch's own kernel of the rule, which makes the product in one pass."""
    if (out := op.scratch("grads", grads)) is None:
        return kernel(grads, *arguments)
    return kernel(grads, *arguments, grad_input=out)


def _normal_cdf(z: Tensor) -> Tensor:
    return torch.erfc(z * -math.sqrt(0.5)).mul_(0.5)
