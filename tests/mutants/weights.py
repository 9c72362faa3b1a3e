"""Wrong gradients of weights, and of inputs through weights."""

import torch
from sound_ops import (
    Affine,
    AffineInPlace,
    BatchNorm,
    BookModel,
    LayerNorm,
    LearnersAffine,
    Normalised,
    Odd,
    PlainAffine,
    PReLU,
    Residual,
    Scale,
    Swish,
    Threshold,
    Tied,
    normal,
    rows_of,
)

from .table import Mutant

# --- missing, or of another shape or dtype


class NoBias(Affine):
    """Writes dW and forgets db."""

    def backward_params(self, grads):
        self.grads["W"] = rows_of(self.inputs).T @ rows_of(grads)


class NoGradients(PlainAffine):
    """Never writes its gradients."""

    def backward(self, grads):
        return torch.matmul(grads, self.params["W"].T)


class NoShift(LayerNorm):
    """Writes the gradient of the gain only."""

    def backward_params(self, grads):
        self.grads["gain"] = rows_of(grads * self.normal).sum(0, keepdim=True)


class Misspelt(LearnersAffine):
    """Writes dW under another key than the param's."""

    def backward(self, grads):
        dx = super().backward(grads)
        self.grads["w"] = self.grads.pop("W")
        return dx


class ReturnsNothing(PlainAffine):
    """Forgets to return dx."""

    def backward(self, grads):
        super().backward(grads)


class StopsAtFc2(BookModel):
    """The model walks back through the transpose of fc1's W: fc1 gets no gradients."""

    def backward(self, loss_grad_a2):
        loss_grad_a1 = self.fc2.backward(self.act_fn2.backward(loss_grad_a2))
        return self.act_fn1.backward(loss_grad_a1) @ self.fc1.params["W"].T


class FlatBias(PlainAffine):
    """db has shape [O], the param [1, O]: it trains, by broadcasting."""

    def backward(self, grads):
        dx = super().backward(grads)
        self.grads["b"] = torch.sum(grads, dim=0)
        return dx


class OtherWay(Affine):
    """dW is [O, I] for a W [I, O]."""

    def backward_params(self, grads):
        super().backward_params(grads)
        self.grads["W"] = self.grads["W"].T


class ScalarSlope(Swish):
    """db is 0-d for a b [1, 1]."""

    def backward_params(self, grads):
        super().backward_params(grads)
        self.grads["beta"] = self.grads["beta"].sum()


class TallBias(Affine):
    """db is [O, 1] for a b [1, O]."""

    def backward_params(self, grads):
        super().backward_params(grads)
        self.grads["b"] = self.grads["b"].T


class DoubleWeights(Affine):
    """dW is float64 whatever W is."""

    def backward_params(self, grads):
        super().backward_params(grads)
        self.grads["W"] = self.grads["W"].double()


class WideBias(Affine):
    """db is summed in float64 and stays there."""

    def backward_params(self, grads):
        super().backward_params(grads)
        self.grads["b"] = rows_of(grads).sum(0, keepdim=True, dtype=torch.float64)


# --- the sum over the batch


class BiasOfEachRow(Affine):
    """db = g, [N, O]: not summed."""

    def backward_params(self, grads):
        super().backward_params(grads)
        self.grads["b"] = grads


class BiasOfFirstRow(PlainAffine):
    """db = g of the first row."""

    def backward(self, grads):
        dx = super().backward(grads)
        self.grads["b"] = grads[:1]
        return dx


class BiasOfLastRow(AffineInPlace):
    """db = g of the last row: each row overwrites the one before."""

    def backward_params(self, grads):
        super().backward_params(grads)
        for row in rows_of(grads):
            self.grads["b"].copy_(row)


class WeightsOfFirstRow(Affine):
    """dW from the first row alone."""

    def backward_params(self, grads):
        super().backward_params(grads)
        self.grads["W"] = rows_of(self.inputs)[:1].T @ rows_of(grads)[:1]


class SlopeOfEachRow(PReLU):
    """da = g min(x, 0), [N, F]: not summed."""

    def backward_params(self, grads):
        self.grads["a"] = grads * self.inputs.clamp(max=0)


class GainOfEachRow(LayerNorm):
    """The gradient of the gain is not summed."""

    def backward_params(self, grads):
        super().backward_params(grads)
        self.grads["gain"] = grads * self.normal


class BiasOverOutputs(Affine):
    """db sums over the outputs where it should over the rows: one shape where N = O."""

    def backward_params(self, grads):
        super().backward_params(grads)
        self.grads["b"] = rows_of(grads).sum(1).reshape(1, -1)


class MeanBias(Affine):
    """db is the mean over the rows."""

    def backward_params(self, grads):
        super().backward_params(grads)
        self.grads["b"] = rows_of(grads).mean(0, keepdim=True)


class MeanWeights(PlainAffine):
    """dW is divided by N, as if the loss had not done so."""

    def backward(self, grads):
        dx = super().backward(grads)
        self.grads["W"] = self.grads["W"] / grads.shape[0]
        return dx


class MeanSlope(PReLU):
    """da is the mean over the rows."""

    def backward_params(self, grads):
        self.grads["a"] = rows_of(grads * self.inputs.clamp(max=0)).mean(0, keepdim=True)


class MeanBeta(Swish):
    """db is the mean over rows and features."""

    def backward_params(self, grads):
        super().backward_params(grads)
        self.grads["beta"] = self.grads["beta"] / grads.numel()


class MeanOfNormalised(BatchNorm):
    """The gradient of the shift is the mean over the rows."""

    def backward_params(self, grads):
        super().backward_params(grads)
        self.grads["shift"] = rows_of(grads).mean(0, keepdim=True)


# --- transposed, sign, scaled


class TransposedWeights(Affine):
    """dW = g^T x, seen only in values where W is square."""

    def backward_params(self, grads):
        super().backward_params(grads)
        self.grads["W"] = rows_of(grads).T @ rows_of(self.inputs)


class TransposedBook(LearnersAffine):
    """dW = (x^T g)^T, W square."""

    def backward(self, grads):
        dx = super().backward(grads)
        self.grads["W"] = self.grads["W"].T
        return dx


class NotTransposed(Affine):
    """dx = g W for g W^T: right only where W is symmetric, as it is at the start."""

    def __init__(self):
        super().__init__(3, 3)
        self.params["W"] = self.params["W"] + self.params["W"].T

    def backward_inputs(self, grads):
        return grads @ self.params["W"]


class TransposedTie(Tied):
    """dW of both uses of W, transposed."""

    def backward_params(self, grads):
        super().backward_params(grads)
        self.grads["W"] = self.grads["W"].T.contiguous()


class DownhillWeights(Affine):
    """dW has the wrong sign."""

    def backward_params(self, grads):
        super().backward_params(grads)
        self.grads["W"] = -self.grads["W"]


class ThresholdUphill(Threshold):
    """dt = +sum: the minus of x - t is lost."""

    def backward_params(self, grads):
        self.grads["t"] = rows_of(self.backward_inputs(grads)).sum(0, keepdim=True)


class HalfWeights(PlainAffine):
    """dW is half of what it is."""

    def backward(self, grads):
        dx = super().backward(grads)
        self.grads["W"] = 0.5 * self.grads["W"]
        return dx


class ForgottenTwo(Odd):
    """The 2 of 2 c is left out of dc."""

    def backward(self, grads):
        dx = super().backward(grads)
        self.grads["c of tanh"] = self.grads["c of tanh"] / 2
        return dx


class DividedByRows(Affine):
    """dx is divided by N."""

    def backward_inputs(self, grads):
        return super().backward_inputs(grads) / len(grads)


class NearlyRight(Affine):
    """dW is too large by one part in ten thousand."""

    def backward_params(self, grads):
        super().backward_params(grads)
        self.grads["W"] = (1 + 1e-4) * self.grads["W"]


# --- upstream ignored, terms missing, zero, some elements


class CountsRows(Affine):
    """db = N: the upstream gradient is not read."""

    def backward_params(self, grads):
        super().backward_params(grads)
        self.grads["b"] = torch.ones_like(grads).sum(0, keepdim=True)


class SumsInputs(LearnersAffine):
    """dW = x^T 1."""

    def backward(self, grads):
        dx = super().backward(grads)
        self.grads["W"] = torch.matmul(self.inputs.T, torch.ones_like(grads))
        return dx


class SumsWeights(PlainAffine):
    """dx = 1 W^T."""

    def backward(self, grads):
        super().backward(grads)
        return torch.ones_like(grads) @ self.params["W"].T


class NoWeights(Affine):
    """dx = g: W is left out, and nobody notices the shape, W being square."""

    def backward_inputs(self, grads):
        return grads


class NoInputs(Affine):
    """dW = sum_n g in each row: x is left out."""

    def backward_params(self, grads):
        super().backward_params(grads)
        self.grads["W"] = torch.ones_like(rows_of(self.inputs)).T @ rows_of(grads)


class OneUse(Tied):
    """dW counts the second use of W only."""

    def backward_params(self, grads):
        self.grads["W"] = rows_of(self.hidden).T @ rows_of(grads)


class NoProjection(Normalised):
    """dV leaves out that |V| changes too."""

    def backward_params(self, grads):
        super().backward_params(grads)
        dU = rows_of(self.inputs).T @ rows_of(grads)
        self.grads["V"] = self.params["s"] * dU / self.length


class NoGain(LayerNorm):
    """dx leaves out the gain, which is 1 at the start."""

    def backward_inputs(self, grads):
        return super().backward_inputs(grads / self.params["gain"])


class NoSlopeBehindWeights(Residual):
    """dW leaves out the slope of tanh."""

    def backward_params(self, grads):
        self.grads["W"] = rows_of(self.inputs).T @ rows_of(grads)


class NoActivation(BookModel):
    """The model's backward skips act_fn1."""

    def backward(self, loss_grad_a2):
        return self.fc1.backward(self.fc2.backward(self.act_fn2.backward(loss_grad_a2)))


class NoScale(Scale):
    """dx = g: the scale, 1 at the start, is left out."""

    def backward_inputs(self, grads):
        return grads.clone()


class ZeroBias(AffineInPlace):
    """db stays at the zeros that it was made of."""

    def backward_params(self, grads):
        torch.mm(rows_of(self.inputs).T, rows_of(grads), out=self.grads["W"])


class ZeroInputs(PlainAffine):
    """dx = 0: nothing flows on."""

    def backward(self, grads):
        return torch.zeros_like(super().backward(grads))


class ZeroBeta(Swish):
    """dbeta = 0: beta is taken for a constant."""

    def backward_params(self, grads):
        self.grads["beta"] = torch.zeros_like(self.params["beta"])


class LostColumn(Affine):
    """The last column of dW is 0."""

    def backward_params(self, grads):
        super().backward_params(grads)
        self.grads["W"][:, -1] = 0


class LostRow(PlainAffine):
    """The first row of dW is 0."""

    def backward(self, grads):
        dx = super().backward(grads)
        self.grads["W"][0] = 0
        return dx


class LostCorner(Affine):
    """One corner of dW is twice what it is."""

    def backward_params(self, grads):
        super().backward_params(grads)
        self.grads["W"][-1, -1] *= 2


class LostDiagonal(LearnersAffine):
    """The diagonal of dW is 0."""

    def backward(self, grads):
        dx = super().backward(grads)
        self.grads["W"].fill_diagonal_(0)
        return dx


class FirstBiasOnly(Affine):
    """db is right in its first element and 0 in the others."""

    def backward_params(self, grads):
        super().backward_params(grads)
        self.grads["b"][:, 1:] = 0


# --- other functions altogether


class OutputsForInputs(Residual):
    """dW = y^T d for x^T d."""

    def backward_params(self, grads):
        self.grads["W"] = rows_of(self.outputs).T @ rows_of(grads * (1 - self.h**2))


class SmallConstant(Affine):
    """db has 1e-5 added."""

    def backward_params(self, grads):
        super().backward_params(grads)
        self.grads["b"] = self.grads["b"] + 1e-5


class PositiveOnly(PReLU):
    """da sums g max(x, 0) for g min(x, 0)."""

    def backward_params(self, grads):
        self.grads["a"] = rows_of(grads * self.inputs.clamp(min=0)).sum(0, keepdim=True)


class ActivationTwice(BookModel):
    """The model walks back through act_fn1 twice."""

    def backward(self, loss_grad_a2):
        loss_grad_a1 = self.fc2.backward(self.act_fn2.backward(loss_grad_a2))
        return self.fc1.backward(self.act_fn1.backward(self.act_fn1.backward(loss_grad_a1)))


class MeanInModel(BookModel):
    """A model whose second layer divides dW by N."""

    def __init__(self):
        super().__init__(2, 3, 2)
        self.layers[2] = self.fc2 = MeanWeights(3, 2, "fc2")


def square():
    """Inputs with as many rows as Affine(3, 5) has outputs."""
    return torch.randn(5, 3)


WEIGHTS = [
    Mutant("NoBias", NoBias, "missing-gradient", "b"),
    Mutant("NoGradients", NoGradients, "missing-gradient", "W"),
    Mutant("NoShift", NoShift, "missing-gradient", "shift", normal(5, 4)),
    Mutant("Misspelt", Misspelt, "missing-gradient", "W"),
    Mutant("ReturnsNothing", ReturnsNothing, "missing-gradient", "inputs", also=("wrong-shape",)),
    Mutant("StopsAtFc2", StopsAtFc2, "missing-gradient", "fc1.W"),
    Mutant("FlatBias", FlatBias, "wrong-shape", "b"),
    Mutant("OtherWay", OtherWay, "wrong-shape", "W", also=("transposed",)),
    Mutant("ScalarSlope", ScalarSlope, "wrong-shape", "beta", normal(5, 3)),
    Mutant("TallBias", lambda: TallBias(3, 4), "wrong-shape", "b", also=("transposed",)),
    Mutant("DoubleWeights", DoubleWeights, "wrong-dtype", "W"),
    Mutant("WideBias", lambda: WideBias(dtype=torch.bfloat16), "wrong-dtype", "b"),
    Mutant("BiasOfEachRow", BiasOfEachRow, "not-summed-over-batch", "b"),
    Mutant("BiasOfFirstRow", BiasOfFirstRow, "not-summed-over-batch", "b"),
    Mutant("BiasOfLastRow", BiasOfLastRow, "not-summed-over-batch", "b"),
    Mutant("WeightsOfFirstRow", WeightsOfFirstRow, "not-summed-over-batch", "W"),
    Mutant("SlopeOfEachRow", SlopeOfEachRow, "not-summed-over-batch", "a", normal(5, 3)),
    Mutant("GainOfEachRow", GainOfEachRow, "not-summed-over-batch", "gain", normal(5, 4)),
    Mutant(
        "BiasOverOutputs",
        lambda: BiasOverOutputs(3, 5),
        "not-summed-over-batch",
        "b",
        square,
        also=("wrong-value", "wrong-shape"),
    ),
    Mutant("MeanBias", MeanBias, "mean-instead-of-sum", "b"),
    Mutant("MeanWeights", MeanWeights, "mean-instead-of-sum", "W"),
    Mutant("MeanSlope", MeanSlope, "mean-instead-of-sum", "a", normal(5, 3)),
    Mutant("MeanBeta", MeanBeta, "mean-instead-of-sum", "beta", normal(5, 3), also=("scaled",)),
    Mutant("MeanOfNormalised", MeanOfNormalised, "mean-instead-of-sum", "shift", normal(5, 4)),
    Mutant("MeanInModel", MeanInModel, "mean-instead-of-sum", "fc2.W"),
    Mutant("TransposedWeights", lambda: TransposedWeights(3, 3), "transposed", "W"),
    Mutant("TransposedBook", TransposedBook, "transposed", "W"),
    Mutant("NotTransposed", NotTransposed, "transposed", "inputs", also=("wrong-value",)),
    Mutant("TransposedTie", TransposedTie, "transposed", "W", normal(5, 3)),
    Mutant("DownhillWeights", DownhillWeights, "sign", "W"),
    Mutant("ThresholdUphill", ThresholdUphill, "sign", "t", normal(5, 3)),
    Mutant("HalfWeights", HalfWeights, "scaled", "W"),
    Mutant("ForgottenTwo", ForgottenTwo, "scaled", "c of tanh", normal(5, 3)),
    Mutant("DividedByRows", DividedByRows, "scaled", "inputs", also=("mean-instead-of-sum",)),
    Mutant("NearlyRight", NearlyRight, "scaled", "W"),
    Mutant("CountsRows", CountsRows, "ignores-upstream", "b"),
    Mutant("SumsInputs", SumsInputs, "ignores-upstream", "W"),
    Mutant("SumsWeights", SumsWeights, "ignores-upstream", "inputs"),
    Mutant("NoWeights", lambda: NoWeights(3, 3), "missing-term", "inputs"),
    Mutant("NoInputs", NoInputs, "missing-term", "W"),
    Mutant("OneUse", OneUse, "missing-term", "W", normal(5, 3)),
    Mutant("NoProjection", NoProjection, "missing-term", "V", normal(5, 3), also=("wrong-value",)),
    Mutant("NoGain", NoGain, "missing-term", "inputs", normal(5, 4)),
    Mutant("NoSlopeBehindWeights", NoSlopeBehindWeights, "missing-term", "W"),
    Mutant("NoActivation", NoActivation, "missing-term", "fc1.W"),
    Mutant("NoScale", NoScale, "missing-term", "inputs", normal(5, 3)),
    Mutant("ZeroBias", ZeroBias, "zero", "b", also=("missing-gradient",)),
    Mutant("ZeroInputs", ZeroInputs, "zero", "inputs"),
    Mutant("ZeroBeta", ZeroBeta, "zero", "beta", normal(5, 3)),
    Mutant("LostColumn", LostColumn, "wrong-elements", "W"),
    Mutant("LostRow", LostRow, "wrong-elements", "W"),
    Mutant("LostCorner", LostCorner, "wrong-elements", "W"),
    Mutant("LostDiagonal", LostDiagonal, "wrong-elements", "W"),
    Mutant("FirstBiasOnly", lambda: FirstBiasOnly(3, 4), "wrong-elements", "b"),
    Mutant("OutputsForInputs", OutputsForInputs, "wrong-value", "W"),
    Mutant("SmallConstant", SmallConstant, "wrong-value", "b"),
    Mutant("PositiveOnly", PositiveOnly, "wrong-value", "a", normal(5, 3)),
    Mutant("ActivationTwice", ActivationTwice, "wrong-value", "fc1.W", also=("missing-term",)),
]
