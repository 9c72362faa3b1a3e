"""Ops that fail at kinks, where they saturate, in precision, against a reference, or at once."""

import torch
from sound_ops import (
    ELU,
    GELU,
    Abs,
    Affine,
    BookLogistic,
    Clip,
    Cosine,
    Elementwise,
    Exp,
    HardLogistic,
    Hinge,
    LeakyReLU,
    LogSoftmax,
    PlainAffine,
    PlainTanh,
    ReLU,
    Shrink,
    Softmax,
    Softplus,
    Swish,
    Tanh,
    normal,
    rows_of,
)

from opnet import Op

from .table import Mutant

# --- precision


class NarrowForward(Tanh):
    """Forward computes in float32."""

    def forward(self, inputs):
        self.inputs, self.outputs = inputs, torch.tanh(inputs.float()).to(inputs)
        return self.outputs


class NarrowSoftmax(Softmax):
    """Forward computes in float32 and returns the dtype of its inputs."""

    def forward(self, inputs):
        outputs = super().forward(inputs.float()).to(inputs)
        self.inputs, self.outputs = inputs, outputs
        return outputs


class NarrowBackward(Exp):
    """Backward computes in float32."""

    def backward_inputs(self, grads):
        return (self.outputs.float() * grads.float()).to(grads)


class NarrowWeights(Affine):
    """dW is computed in float32."""

    def backward_params(self, grads):
        super().backward_params(grads)
        x, g = rows_of(self.inputs), rows_of(grads)
        self.grads["W"] = (x.float().T @ g.float()).to(x)


class HalfBias(PlainAffine):
    """db is rounded to bfloat16 on its way."""

    def backward(self, grads):
        dx = super().backward(grads)
        self.grads["b"] = grads.bfloat16().to(grads).sum(0, keepdim=True)
        return dx


class NarrowMask(LeakyReLU):
    """The factors are made in float16: 0.1 is not 0.1 there."""

    def backward_inputs(self, grads):
        return grads * torch.where(self.inputs > 0, 1.0, self.slope).half().to(grads)


# --- far from 0


class TanhOfExponentials(Tanh):
    """tanh by (exp x - exp -x) / (exp x + exp -x): inf / inf far from 0."""

    def forward(self, inputs):
        up, down = torch.exp(inputs), torch.exp(-inputs)
        self.inputs, self.outputs = inputs, (up - down) / (up + down)
        return self.outputs


class NaiveSoftplus(Softplus):
    """log(1 + exp x) overflows."""

    def forward(self, inputs):
        self.inputs, self.outputs = inputs, torch.log(1 + torch.exp(inputs))
        return self.outputs


class NaiveSlope(Softplus):
    """The slope by exp x / (1 + exp x): inf / inf, where forward is right."""

    def backward_inputs(self, grads):
        powers = torch.exp(self.inputs)
        return grads * powers / (1 + powers)


class NaiveSoftmax(Softmax):
    """exp x is not shifted by the largest x."""

    def forward(self, inputs):
        powers = torch.exp(inputs)
        self.inputs, self.outputs = inputs, powers / powers.sum(-1, keepdim=True)
        return self.outputs


class LogOfSoftmax(LogSoftmax):
    """log p of a p that has rounded to 0."""

    def forward(self, inputs):
        self.inputs, self.outputs = inputs, torch.log(torch.softmax(inputs, -1))
        return self.outputs


class NaiveSwish(Swish):
    """The gate by exp(b x) / (1 + exp(b x))."""

    def forward(self, inputs):
        powers = torch.exp(self.params["beta"] * inputs)
        self.inputs, self.gate = inputs, powers / (1 + powers)
        self.outputs = inputs * self.gate
        return self.outputs


class LogisticByPowers(BookLogistic):
    """The slope by exp(-x) / (1 + exp(-x))^2: inf / inf, where p is 0."""

    def forward(self, inputs):
        self.inputs = inputs
        return super().forward(inputs)

    def backward(self, grads):
        powers = torch.exp(-self.inputs)
        return grads * powers / (1 + powers) ** 2


class MaskedELU(ELU):
    """The slope by [x > 0] + [x <= 0] a exp x: 0 inf is nan."""

    def backward_inputs(self, grads):
        above = (self.inputs > 0).to(grads)
        return grads * (above + (1 - above) * self.alpha * torch.exp(self.inputs))


class LogOfLogistic(Softplus):
    """log(1 + exp x) as -log s(-x): log 0."""

    def forward(self, inputs):
        self.inputs, self.outputs = inputs, -torch.log(torch.sigmoid(-inputs))
        return self.outputs


# --- kinks


class ReluTwo(ReLU):
    """The slope at 0 is 2."""

    def backward_inputs(self, grads):
        return super().backward_inputs(grads) + 2 * grads * (self.inputs == 0)


class AbsFive(Abs):
    """The slope at 0 is 5."""

    def backward_inputs(self, grads):
        return torch.where(self.inputs == 0, 5 * grads, super().backward_inputs(grads))


class LeakyMinusOne(LeakyReLU):
    """The slope at 0 is -1."""

    def backward_inputs(self, grads):
        return torch.where(self.inputs == 0, -grads, super().backward_inputs(grads))


class HingePlus(Hinge):
    """The slope at 1 is +1, to the left -1, to the right 0."""

    def backward_inputs(self, grads):
        return torch.where(self.inputs == 1, grads, super().backward_inputs(grads))


class HardTanhTwice(Clip):
    """Both sides of the kink at 1 and at -1 are added."""

    def backward_inputs(self, grads):
        inside = (self.inputs.abs() <= 1).to(grads) + (self.inputs.abs() == 1).to(grads)
        return grads * inside


class HardLogisticFull(HardLogistic):
    """The slope at -2 and 2 is 1, on either side 1 / 4 and 0."""

    def backward_inputs(self, grads):
        return torch.where(self.inputs.abs() == 2, grads, super().backward_inputs(grads))


class ShrinkMinus(Shrink):
    """The slope at -3 and 3 is -1."""

    def backward_inputs(self, grads):
        return torch.where(self.inputs.abs() == 3, -grads, super().backward_inputs(grads))


class AbsByDivision(Abs):
    """The slope by x / |x|: nan at 0."""

    def backward_inputs(self, grads):
        return grads * self.inputs / self.inputs.abs()


# --- against a reference


class DoubleLogistic(BookLogistic):
    """1 / (1 + exp(-2 x)), with the derivative of that."""

    def forward(self, inputs):
        return super().forward(2 * inputs)

    def backward(self, grads):
        return 2 * super().backward(grads)


class TanhGELU(GELU):
    """The approximation of GELU by tanh, with the derivative of that."""

    k = (2 / torch.pi) ** 0.5

    def forward(self, inputs):
        self.inputs = inputs
        self.t = torch.tanh(self.k * (inputs + 0.044715 * inputs**3))
        self.outputs = inputs * (1 + self.t) / 2
        return self.outputs

    def backward_inputs(self, grads):
        x, t = self.inputs, self.t
        slope = self.k * (1 + 3 * 0.044715 * x**2) * (1 - t**2)
        return grads * ((1 + t) + x * slope) / 2


class SmallLeak(LeakyReLU):
    """A slope of 0.01 where 0.1 was wanted."""

    slope = 0.01


class ShiftedSoftplus(Softplus):
    """log(1 + exp x) + 1e-5."""

    def forward(self, inputs):
        return super().forward(inputs) + 1e-5


class SoftmaxOverRows(Softmax):
    """Sums over the rows where it should over the features, in both directions."""

    def forward(self, inputs):
        self.inputs, self.outputs = inputs, torch.softmax(inputs, -2)
        return self.outputs

    def backward_inputs(self, grads):
        p = self.outputs
        return p * (grads - (grads * p).sum(-2, keepdim=True))


class Raised(Elementwise):
    """y = x^2 + 1 for x^2: no gradient knows of it."""

    def __init__(self):
        super().__init__(lambda x: x**2 + 1, lambda x: 2 * x)


# --- raises


class NoForward(Op):
    """Has a derivative and no rule."""

    def backward_inputs(self, grads):
        return grads


class NoBackward(Op):
    """Has a rule and no derivative."""

    def forward(self, inputs):
        self.inputs, self.outputs = inputs, inputs**3
        return self.outputs


class Typo(PlainTanh):
    """Backward reads an attribute that nobody sets."""

    def backward(self, grads):
        return grads * (1 - self.keep**2)


class WrongOrder(PlainAffine):
    """dW = g x^T: the shapes never fit."""

    def backward(self, grads):
        self.grads = {"W": torch.matmul(grads, self.inputs.T), "b": grads.sum(0)}
        return torch.matmul(grads, self.params["W"].T)


class Refuses(Cosine):
    """Forward raises on any input."""

    def forward(self, inputs):
        raise NotImplementedError("cosine: to be done")


class OnlyOnce(Exp):
    """Backward throws away what it needs: the second one raises."""

    def backward_inputs(self, grads):
        dx = self.slope * grads
        del self.slope
        return dx

    def forward(self, inputs):
        self.slope = super().forward(inputs)
        return self.slope


def gelu(x):
    return x * (1 + torch.erf(x / 2**0.5)) / 2


def leaky_relu(x):
    return torch.maximum(x, 0.1 * x)


def softplus(x):
    return torch.logaddexp(x, torch.zeros_like(x))


EDGES = [
    Mutant("NarrowForward", NarrowForward, "low-precision", "outputs"),
    Mutant("NarrowSoftmax", NarrowSoftmax, "low-precision", "outputs"),
    Mutant("NarrowBackward", NarrowBackward, "low-precision", "inputs"),
    Mutant("NarrowWeights", NarrowWeights, "low-precision", "W"),
    Mutant("HalfBias", HalfBias, "low-precision", "b", also=("wrong-value",)),
    Mutant("NarrowMask", NarrowMask, "low-precision", "inputs", also=("wrong-elements",)),
    Mutant("TanhOfExponentials", TanhOfExponentials, "not-finite", "outputs"),
    Mutant("NaiveSoftplus", NaiveSoftplus, "not-finite", "outputs"),
    Mutant("NaiveSlope", NaiveSlope, "not-finite", "inputs"),
    Mutant("NaiveSoftmax", NaiveSoftmax, "not-finite", "outputs"),
    Mutant("LogOfSoftmax", LogOfSoftmax, "not-finite", "outputs"),
    Mutant("NaiveSwish", NaiveSwish, "not-finite", "outputs", normal(5, 3)),
    Mutant("LogisticByPowers", LogisticByPowers, "not-finite", "inputs"),
    Mutant("MaskedELU", MaskedELU, "not-finite", "inputs"),
    Mutant("LogOfLogistic", LogOfLogistic, "not-finite", "outputs"),
    Mutant("AbsByDivision", AbsByDivision, "not-finite", "inputs", also=("illegal-subgradient",)),
    Mutant("ReluTwo", ReluTwo, "illegal-subgradient", "inputs"),
    Mutant("AbsFive", AbsFive, "illegal-subgradient", "inputs"),
    Mutant("LeakyMinusOne", LeakyMinusOne, "illegal-subgradient", "inputs"),
    Mutant("HingePlus", HingePlus, "illegal-subgradient", "inputs"),
    Mutant("HardTanhTwice", HardTanhTwice, "illegal-subgradient", "inputs"),
    Mutant("HardLogisticFull", HardLogisticFull, "illegal-subgradient", "inputs"),
    Mutant("ShrinkMinus", ShrinkMinus, "illegal-subgradient", "inputs"),
    Mutant("DoubleLogistic", DoubleLogistic, "wrong-forward", "outputs", reference=torch.sigmoid),
    Mutant("TanhGELU", TanhGELU, "wrong-forward", "outputs", reference=gelu),
    Mutant("SmallLeak", SmallLeak, "wrong-forward", "outputs", reference=leaky_relu),
    Mutant("ShiftedSoftplus", ShiftedSoftplus, "wrong-forward", "outputs", reference=softplus),
    Mutant(
        "SoftmaxOverRows",
        SoftmaxOverRows,
        "wrong-forward",
        "outputs",
        reference=lambda x: torch.softmax(x, -1),
    ),
    Mutant("Raised", Raised, "wrong-forward", "outputs", reference=torch.square),
    Mutant("NoForward", NoForward, "raises", ""),
    Mutant("NoBackward", NoBackward, "raises", "", also=("missing-gradient",)),
    Mutant("Typo", Typo, "raises", ""),
    Mutant("WrongOrder", WrongOrder, "raises", ""),
    Mutant("Refuses", Refuses, "raises", ""),
    Mutant("OnlyOnce", OnlyOnce, "raises", "", also=("stale-state", "not-deterministic")),
]
