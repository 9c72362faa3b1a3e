"""Wrong gradients of inputs, in ops without weights or through their slopes."""

import torch
from sound_ops import (
    ELU,
    GELU,
    Abs,
    BatchNorm,
    BookLogistic,
    Centre,
    Clip,
    Cosine,
    Cumulative,
    Dropout,
    Exp,
    Gate,
    HardLogistic,
    Hinge,
    LargestFeature,
    LayerNorm,
    LeakyReLU,
    Length,
    LogSoftmax,
    MaxOfPairs,
    PlainTanh,
    Power,
    Projection,
    Reciprocal,
    ReLU,
    Residual,
    Shuffle,
    Sine,
    Softmax,
    Softplus,
    Square,
    Step,
    Sum,
    Swish,
    Tanh,
    WithSquare,
    normal,
    positive,
)

from .table import Mutant

# --- shape and dtype


class Unspread(Sum):
    """dx = g, [N, 1], is left to broadcast."""

    def backward_inputs(self, grads):
        return grads


class Unfolded(WithSquare):
    """dx has the 2 F columns of the outputs."""

    def backward_inputs(self, grads):
        return grads * torch.cat([torch.ones_like(self.inputs), 2 * self.inputs], dim=-1)


class DoubleReLU(ReLU):
    """dx is float64 whatever x is."""

    def backward_inputs(self, grads):
        return super().backward_inputs(grads).double()


class WholeStep(Step):
    """dx = 0 as whole numbers."""

    def backward(self, grads):
        return torch.zeros_like(grads, dtype=torch.long)


# --- sign and scale


class CosineUphill(Cosine):
    """dy/dx = +w sin(w x)."""

    def backward_inputs(self, grads):
        return -super().backward_inputs(grads)


class PositiveReciprocal(Reciprocal):
    """dy/dx = +1 / x^2."""

    def backward_inputs(self, grads):
        return self.outputs**2 * grads


class PositiveHinge(Hinge):
    """dy/dx = +[x < 1]."""

    def backward_inputs(self, grads):
        return torch.where(self.inputs < 1, grads, torch.zeros_like(grads))


class HalfSquare(Square):
    """dy/dx = x: the 2 is left out."""

    def backward_inputs(self, grads):
        return self.inputs * grads


class DoubleTanh:
    """dy/dx = 2 (1 - y^2)."""

    def forward(self, inputs):
        self.outputs = torch.tanh(inputs)
        return self.outputs

    def backward(self, grads):
        return 2 * grads * (1 - self.outputs**2)


class UnitHardLogistic(HardLogistic):
    """dy/dx = [|x| < 2]: the slope 1 / 4 is left out."""

    def backward_inputs(self, grads):
        return grads * (self.inputs.abs() < 2)


class UnscaledDropout(Dropout):
    """dx = g m: the 1 / (1 - p) of forward is left out."""

    def backward_inputs(self, grads):
        return grads * (self.mask > 0)


class SlowSine(Sine):
    """dy/dx = cos(w x): w is left out."""

    def backward_inputs(self, grads):
        return super().backward_inputs(grads) / self.w


class AlmostLogistic(BookLogistic):
    """dp/dx = 1.0001 p (1 - p)."""

    def backward(self, grads):
        return 1.0001 * grads * self.outputs * (1 - self.outputs)


class LogisticByRows(BookLogistic):
    """dx is divided by N, as the loss should do."""

    def backward(self, grads):
        return grads * self.outputs * (1 - self.outputs) / grads.shape[0]


# --- upstream


class LocalLogistic(BookLogistic):
    """dx = p (1 - p): g is not read."""

    def backward(self, grads):
        return self.outputs * (1 - self.outputs)


class LocalReLU(ReLU):
    """dx = [x > 0]."""

    def backward_inputs(self, grads):
        return (self.inputs > 0).to(grads)


class LocalSum(Sum):
    """dx = 1."""

    def backward_inputs(self, grads):
        return torch.ones_like(self.inputs)


class SignOfUpstream(Exp):
    """dx = y sign g."""

    def backward_inputs(self, grads):
        return self.outputs * grads.sign()


class ClipsUpstream(Tanh):
    """dx is clipped on its way: g is held in [-1/2, 1/2]."""

    def backward_inputs(self, grads):
        return super().backward_inputs(grads.clamp(-0.5, 0.5))


class PositiveUpstream(Softplus):
    """dx = 0 where g < 0: right for every upstream gradient of ones."""

    def backward_inputs(self, grads):
        return super().backward_inputs(grads.clamp(min=0))


class SquaredUpstream(Square):
    """dx = 2 x g^2: right for an upstream gradient of ones."""

    def backward_inputs(self, grads):
        return super().backward_inputs(grads**2)


# --- terms missing


class NoTanhSlope(PlainTanh):
    """dx = g: the slope is left out."""

    def backward(self, grads):
        return grads.clone()


class TanhNotSquared(Tanh):
    """dy/dx = 1 - y."""

    def backward_inputs(self, grads):
        return grads * (1 - self.outputs)


class LogisticHalf(BookLogistic):
    """dp/dx = p."""

    def backward(self, grads):
        return grads * self.outputs


class LogisticOtherHalf(BookLogistic):
    """dp/dx = 1 - p."""

    def backward(self, grads):
        return grads * (1 - self.outputs)


class UncoupledSoftmax(Softmax):
    """dx = p g: the sum is left out."""

    def backward_inputs(self, grads):
        return self.outputs * grads


class DiagonalSoftmax(Softmax):
    """dx = p (1 - p) g: the diagonal of the Jacobian."""

    def backward_inputs(self, grads):
        return self.outputs * (1 - self.outputs) * grads


class FusedSoftmax(Softmax):
    """dx = g: its author thought of the cross-entropy behind it."""

    def backward_inputs(self, grads):
        return grads.clone()


class UncoupledLogSoftmax(LogSoftmax):
    """dx = g - p g: no sum over the features."""

    def backward_inputs(self, grads):
        return grads - self.outputs.exp() * grads


class FixedStatistics(BatchNorm):
    """dx = gain g / sd: mean and variance are taken for constants."""

    def backward_inputs(self, grads):
        return self.params["gain"] * grads / self.sd


class FixedVariance(BatchNorm):
    """dx leaves out the variance's term."""

    def backward_inputs(self, grads):
        d = self.params["gain"] * grads
        return (d - self.mean(d)) / self.sd


class FixedMean(LayerNorm):
    """dx leaves out the mean's term."""

    def backward_inputs(self, grads):
        d = self.params["gain"] * grads
        return (d - self.normal * self.mean(d * self.normal)) / self.sd


class Uncentred(Centre):
    """dx = g: that the mean moves too is left out."""

    def backward_inputs(self, grads):
        return grads.clone()


class FixedLength(Length):
    """dx = g / |x|: the length is taken for a constant."""

    def backward_inputs(self, grads):
        return grads / self.length


class GateOnly(Swish):
    """dx = g s: the term of s'(x) is left out."""

    def backward_inputs(self, grads):
        return grads * self.gate


class GateWithoutBeta(Swish):
    """dx leaves out beta, which is 1 at the start."""

    def backward_inputs(self, grads):
        x, s = self.inputs, self.gate
        return grads * (s + x * s * (1 - s))


class NoShortcut(Residual):
    """dx = d W^T: the gradient of the short cut is left out."""

    def backward_inputs(self, grads):
        return super().backward_inputs(grads) - grads


class NoBranch(Residual):
    """dx = g: the gradient through the branch is left out."""

    def backward_inputs(self, grads):
        return grads.clone()


class OnlyInTraining(Tanh):
    """The slope is left out in training mode and right in eval."""

    def backward_inputs(self, grads):
        return grads.clone() if self.training else super().backward_inputs(grads)


class NoDensity(GELU):
    """dy/dx = P(x): the term of P' is left out."""

    def backward_inputs(self, grads):
        return grads * self.P


# --- zero, and some elements


class ZeroSwish(Swish):
    """dx = 0."""

    def backward_inputs(self, grads):
        return torch.zeros_like(grads)


class ZeroExp(Exp):
    """dx = 0: the buffer is made and never filled."""

    def backward_inputs(self, grads):
        dx = torch.zeros_like(grads)
        dx.add(self.outputs * grads)  # the defect: add_ was meant
        return dx


class DeadLeak(LeakyReLU):
    """dx = 0 where x < 0."""

    def backward_inputs(self, grads):
        return torch.where(self.inputs > 0, grads, torch.zeros_like(grads))


class OneSidedClip(Clip):
    """dx = g beyond +1 too."""

    def backward_inputs(self, grads):
        return grads * (self.inputs > self.low)


class FirstElement(Exp):
    """dx is 0 in its first element."""

    def backward_inputs(self, grads):
        dx = self.outputs * grads
        dx[..., 0, 0] = 0
        return dx


class LastFeature(Cumulative):
    """dx of the last feature is 0."""

    def backward_inputs(self, grads):
        dx = super().backward_inputs(grads).clone()
        dx[..., -1] = 0
        return dx


class FirstRowNot(Softplus):
    """dx of the first row is twice what it is."""

    def backward_inputs(self, grads):
        dx = super().backward_inputs(grads)
        dx[..., 0, :] *= 2
        return dx


class BelowALine(GELU):
    """dx is 0 where x < -1/2."""

    def backward_inputs(self, grads):
        return super().backward_inputs(grads) * (self.inputs > -0.5)


class EarlySaturation(Softplus):
    """dy/dx = 1 where x > 4, where it is 0.982 and more."""

    def backward_inputs(self, grads):
        return torch.where(self.inputs > 4, grads, super().backward_inputs(grads))


class EarlyZero(Tanh):
    """dy/dx = 0 where |x| > 3, where it is 0.00987 and less."""

    def backward_inputs(self, grads):
        return super().backward_inputs(grads) * (self.inputs.abs() <= 3)


class NegativeELU(ELU):
    """dy/dx = y for y + a where x < 0."""

    def backward_inputs(self, grads):
        return torch.where(self.inputs > 0, grads, self.outputs * grads)


class FirstHalf(WithSquare):
    """dx = g_1: what comes through the squares is left out."""

    def backward_inputs(self, grads):
        return grads.chunk(2, dim=-1)[0].clone()


class ClosedGate(Gate):
    """dx of the gating half is 0."""

    def backward_inputs(self, grads):
        dx = super().backward_inputs(grads)
        dx[..., dx.shape[-1] // 2 :] = 0
        return dx


class BothOfPairs(MaxOfPairs):
    """dx is g at both of a pair."""

    def backward_inputs(self, grads):
        return grads.repeat_interleave(2, -1)


class LargeBatches(Sine):
    """dx = 0 in every row after the fourth."""

    def backward_inputs(self, grads):
        dx = super().backward_inputs(grads)
        dx[..., 4:, :] = 0
        return dx


# --- other functions altogether


class SineOfSine(Sine):
    """dy/dx = w sin(w x)."""

    def backward_inputs(self, grads):
        return self.w * self.outputs * grads


class SwishOfOutputs(Swish):
    """The slope is taken at the outputs."""

    def backward_inputs(self, grads):
        y, beta = self.outputs, self.params["beta"]
        s = torch.sigmoid(beta * y)
        return grads * (s + beta * y * s * (1 - s))


class TanhOfTanh(Tanh):
    """dy/dx = 1 - tanh(y)^2."""

    def backward_inputs(self, grads):
        return grads * (1 - torch.tanh(self.outputs) ** 2)


class LogisticOfInputs(Softplus):
    """dy/dx = x (1 - x)."""

    def backward_inputs(self, grads):
        return grads * self.inputs * (1 - self.inputs)


class PowerTooHigh(Power):
    """dy/dx = k x^k."""

    def backward_inputs(self, grads):
        return self.k * self.outputs * grads


class AddedConstant(Tanh):
    """dx has 1e-5 added."""

    def backward_inputs(self, grads):
        return super().backward_inputs(grads) + 1e-5


class ForwardOrder(Shuffle):
    """dx = g[order] for the inverse order."""

    def backward_inputs(self, grads):
        return grads[..., self.order]


class ForwardCumulative(Cumulative):
    """dx sums from the wrong end."""

    def backward_inputs(self, grads):
        return grads.cumsum(-1)


class Smallest(LargestFeature):
    """dx is g at the smallest feature."""

    def backward_inputs(self, grads):
        smallest = self.inputs.argmin(-1, keepdim=True)
        return torch.zeros_like(self.inputs).scatter(-1, smallest, grads)


class SquareProjection(Projection):
    """dx = g C for g C^T, C a constant and square."""

    def backward(self, grads):
        return grads @ self.table


class BatchesOverFour(Tanh):
    """The slope is wrong for batches of more than four rows."""

    def backward_inputs(self, grads):
        y = self.outputs
        return grads * (1 - y**2 if len(y) <= 4 else 1 - y**4)


class MagnitudeOnly(Abs):
    """dx = |g| sign x: the sign of g is lost."""

    def backward_inputs(self, grads):
        return self.inputs.sign() * grads.abs()


def wide():
    """Inputs of which many lie beyond 4 and -4."""
    return 4 * torch.randn(5, 3)


VALUES = [
    Mutant("Unspread", Unspread, "wrong-shape", "inputs"),
    Mutant("Unfolded", Unfolded, "wrong-shape", "inputs"),
    Mutant("DoubleReLU", DoubleReLU, "wrong-dtype", "inputs"),
    Mutant("WholeStep", WholeStep, "wrong-dtype", "inputs"),
    Mutant("CosineUphill", lambda: CosineUphill(1.0), "sign", "inputs"),
    Mutant("PositiveReciprocal", PositiveReciprocal, "sign", "inputs", positive(5, 3)),
    Mutant("PositiveHinge", PositiveHinge, "sign", "inputs"),
    Mutant("HalfSquare", HalfSquare, "scaled", "inputs"),
    Mutant("DoubleTanh", DoubleTanh, "scaled", "inputs"),
    Mutant("UnitHardLogistic", UnitHardLogistic, "scaled", "inputs"),
    Mutant("UnscaledDropout", UnscaledDropout, "scaled", "inputs"),
    Mutant("SlowSine", SlowSine, "scaled", "inputs"),
    Mutant("AlmostLogistic", AlmostLogistic, "scaled", "inputs"),
    Mutant("LogisticByRows", LogisticByRows, "scaled", "inputs", also=("mean-instead-of-sum",)),
    Mutant("LocalLogistic", LocalLogistic, "ignores-upstream", "inputs"),
    Mutant("LocalReLU", LocalReLU, "ignores-upstream", "inputs"),
    Mutant("LocalSum", LocalSum, "ignores-upstream", "inputs"),
    Mutant("SignOfUpstream", SignOfUpstream, "wrong-value", "inputs", also=("ignores-upstream",)),
    Mutant("ClipsUpstream", ClipsUpstream, "wrong-value", "inputs", also=("wrong-elements",)),
    Mutant("PositiveUpstream", PositiveUpstream, "wrong-elements", "inputs", also=("wrong-value",)),
    Mutant("SquaredUpstream", SquaredUpstream, "wrong-value", "inputs"),
    Mutant("NoTanhSlope", NoTanhSlope, "missing-term", "inputs"),
    Mutant("TanhNotSquared", TanhNotSquared, "missing-term", "inputs", also=("wrong-value",)),
    Mutant("LogisticHalf", LogisticHalf, "missing-term", "inputs"),
    Mutant("LogisticOtherHalf", LogisticOtherHalf, "missing-term", "inputs"),
    Mutant("UncoupledSoftmax", UncoupledSoftmax, "missing-term", "inputs"),
    Mutant("DiagonalSoftmax", DiagonalSoftmax, "missing-term", "inputs"),
    Mutant("FusedSoftmax", FusedSoftmax, "missing-term", "inputs"),
    Mutant("UncoupledLogSoftmax", UncoupledLogSoftmax, "missing-term", "inputs"),
    Mutant("FixedStatistics", FixedStatistics, "missing-term", "inputs", normal(5, 4)),
    Mutant("FixedVariance", FixedVariance, "missing-term", "inputs", normal(5, 4)),
    Mutant("FixedMean", FixedMean, "missing-term", "inputs", normal(5, 4)),
    Mutant("Uncentred", Uncentred, "missing-term", "inputs"),
    Mutant("FixedLength", FixedLength, "missing-term", "inputs"),
    Mutant("GateOnly", GateOnly, "missing-term", "inputs", normal(5, 3)),
    Mutant("GateWithoutBeta", GateWithoutBeta, "missing-term", "inputs", normal(5, 3)),
    Mutant("NoShortcut", NoShortcut, "missing-term", "inputs"),
    Mutant("NoBranch", NoBranch, "missing-term", "inputs"),
    Mutant("OnlyInTraining", OnlyInTraining, "missing-term", "inputs"),
    Mutant("NoDensity", NoDensity, "missing-term", "inputs"),
    Mutant("ZeroSwish", ZeroSwish, "zero", "inputs", normal(5, 3)),
    Mutant("ZeroExp", ZeroExp, "zero", "inputs"),
    Mutant("DeadLeak", DeadLeak, "wrong-elements", "inputs", also=("missing-term",)),
    Mutant("OneSidedClip", OneSidedClip, "wrong-elements", "inputs", also=("missing-term",)),
    Mutant("FirstElement", FirstElement, "wrong-elements", "inputs"),
    Mutant("LastFeature", LastFeature, "wrong-elements", "inputs"),
    Mutant("FirstRowNot", FirstRowNot, "wrong-elements", "inputs"),
    Mutant("BelowALine", BelowALine, "wrong-elements", "inputs"),
    Mutant("EarlySaturation", EarlySaturation, "wrong-elements", "inputs", wide),
    Mutant("EarlyZero", EarlyZero, "wrong-elements", "inputs", wide, also=("missing-term",)),
    Mutant("NegativeELU", NegativeELU, "wrong-elements", "inputs", also=("missing-term",)),
    Mutant("FirstHalf", FirstHalf, "missing-term", "inputs"),
    Mutant("ClosedGate", ClosedGate, "wrong-elements", "inputs", normal(5, 4)),
    Mutant("BothOfPairs", BothOfPairs, "wrong-elements", "inputs", normal(5, 4)),
    Mutant("LargeBatches", lambda: LargeBatches(2.0), "wrong-elements", "inputs"),
    Mutant("SineOfSine", lambda: SineOfSine(1.0), "wrong-value", "inputs"),
    Mutant("SwishOfOutputs", SwishOfOutputs, "wrong-value", "inputs", normal(5, 3)),
    Mutant("TanhOfTanh", TanhOfTanh, "wrong-value", "inputs"),
    Mutant("LogisticOfInputs", LogisticOfInputs, "wrong-value", "inputs"),
    Mutant("PowerTooHigh", PowerTooHigh, "wrong-value", "inputs", also=("missing-term",)),
    Mutant("AddedConstant", AddedConstant, "wrong-value", "inputs"),
    Mutant(
        "ForwardOrder", ForwardOrder, "wrong-value", "inputs", normal(5, 3), ("wrong-elements",)
    ),
    Mutant("ForwardCumulative", ForwardCumulative, "wrong-value", "inputs"),
    Mutant("Smallest", Smallest, "wrong-elements", "inputs"),
    Mutant(
        "SquareProjection",
        lambda: SquareProjection(3, 3),
        "transposed",
        "inputs",
        normal(5, 3),
        also=("wrong-value",),
    ),
    Mutant("BatchesOverFour", BatchesOverFour, "wrong-value", "inputs"),
    Mutant("MagnitudeOnly", MagnitudeOnly, "wrong-value", "inputs", also=("wrong-elements",)),
]
