"""Ops that remember wrongly, write where they must not, or differ from run to run."""

import os

import torch
from sound_ops import (
    ELU,
    Abs,
    Affine,
    AffineInPlace,
    BatchNorm,
    Centre,
    Clip,
    Dropout,
    Exp,
    LayerNorm,
    LeakyReLU,
    LearnersAffine,
    PlainAffine,
    PReLU,
    ReLU,
    Scale,
    Softmax,
    Softplus,
    Square,
    Sum,
    Swish,
    Tanh,
    WithSquare,
    normal,
    rows_of,
)

from .table import Mutant

# --- accumulates


class AddsWeights(AffineInPlace):
    """dW is added to what stands there."""

    def backward_params(self, grads):
        kept = self.grads["W"].clone()
        super().backward_params(grads)
        self.grads["W"] += kept


class AddsBias(PlainAffine):
    """db is added up over the calls."""

    def __init__(self):
        super().__init__()
        self.total = 0

    def backward(self, grads):
        dx = super().backward(grads)
        self.total = self.total + self.grads["b"]
        self.grads["b"] = self.total
        return dx


class AddsSlope(PReLU):
    """da is added up, as torch's .grad is."""

    def backward_params(self, grads):
        before = self.grads.get("a", 0)
        super().backward_params(grads)
        self.grads["a"] = self.grads["a"] + before


class AddsInputs(Exp):
    """dx is added up over the backwards that follow one forward."""

    def forward(self, inputs):
        self.total = torch.zeros_like(inputs)
        return super().forward(inputs)

    def backward_inputs(self, grads):
        self.total = self.total + super().backward_inputs(grads)
        return self.total


# --- stale state


class FirstInputs(Affine):
    """Keeps the inputs of its first forward for ever."""

    def forward(self, inputs):
        outputs = super().forward(inputs)
        self.first = inputs if not hasattr(self, "first") else self.first
        self.inputs = self.first
        return outputs


class PreviousInputs(Square):
    """The slope is taken at the inputs of the forward before."""

    def forward(self, inputs):
        before = getattr(self, "latest", inputs)
        outputs = super().forward(inputs)
        self.inputs, self.latest = before, inputs
        return outputs


class CachedTranspose(Affine):
    """Keeps a copy of W^T from its construction."""

    def __init__(self):
        super().__init__()
        self.WT = self.params["W"].T.clone()

    def backward_inputs(self, grads):
        return grads @ self.WT


class Alias(Affine):
    """Reads W through an alias made at construction: in place is seen, rebinding is not."""

    def __init__(self):
        super().__init__()
        self._W = self.params["W"]

    def forward(self, inputs):
        self.inputs, self.outputs = inputs, inputs @ self._W + self.params["b"]
        return self.outputs

    def backward_inputs(self, grads):
        return grads @ self._W.T


class BackwardAlias(LearnersAffine):
    """Only backward reads the alias."""

    def __init__(self):
        super().__init__()
        self._W = self.params["W"]

    def backward(self, grads):
        super().backward(grads)
        return torch.matmul(grads, self._W.T)


class FirstMask(ReLU):
    """Keeps the mask of the first forward of each shape."""

    def __init__(self):
        super().__init__()
        self.masks = {}

    def forward(self, inputs):
        self.mask = self.masks.setdefault(inputs.shape, inputs > 0)
        return super().forward(inputs)

    def backward_inputs(self, grads):
        return grads * self.mask


class FirstOutputs(Tanh):
    """Keeps the slope of the first backward."""

    def __init__(self):
        super().__init__()
        self.slopes = {}

    def backward_inputs(self, grads):
        return grads * self.slopes.setdefault(grads.shape, 1 - self.outputs**2)


class CachedSlope(PReLU):
    """The slope a is read once, in the first forward, for use in backward."""

    def forward(self, inputs):
        self.a = getattr(self, "a", self.params["a"].clone())
        return super().forward(inputs)

    def backward_inputs(self, grads):
        return torch.where(self.inputs > 0, grads, self.a * grads)


class CachedGain(LayerNorm):
    """Backward reads a copy of the gain made at construction."""

    def __init__(self):
        super().__init__()
        self.gain = self.params["gain"].clone()

    def backward_inputs(self, grads):
        d = self.gain * grads
        return (d - self.mean(d) - self.normal * self.mean(d * self.normal)) / self.sd


# --- writes into what it was given


class ReluOfInputs(ReLU):
    """Forward clips its inputs in place."""

    def forward(self, inputs):
        self.inputs = inputs.clone()
        self.outputs = inputs.relu_()
        return self.outputs


class CentresInputs(Centre):
    """Forward subtracts the mean in place."""

    def forward(self, inputs):
        self.inputs = inputs
        inputs -= inputs.mean(-2, keepdim=True)
        self.outputs = inputs.clone()
        return self.outputs


class ClipsInputs(Clip):
    """Forward keeps a copy and clamps in place."""

    def forward(self, inputs):
        self.inputs = inputs.clone()
        self.outputs = inputs.clamp_(self.low, self.high).clone()
        return self.outputs


class BackwardOnInputs(Softplus):
    """Backward turns the inputs that it kept into slopes, in place."""

    def forward(self, inputs):
        outputs = super().forward(inputs)
        self.slope = None
        return outputs

    def backward_inputs(self, grads):
        self.slope = self.inputs.sigmoid_() if self.slope is None else self.slope
        return grads * self.slope


class MasksUpstream(ReLU):
    """Backward sets g to 0 in place where x <= 0."""

    def backward_inputs(self, grads):
        grads[self.inputs <= 0] = 0
        return grads


class MultipliesUpstream(Exp):
    """Backward multiplies g in place."""

    def backward_inputs(self, grads):
        return grads.mul_(self.outputs)


class ScalesUpstream(Scale):
    """Backward scales g in place after its use."""

    def backward(self, grads):
        self.backward_params(grads)
        grads *= self.params["v"]
        return grads


class WeighsUpstream(LeakyReLU):
    """Backward works on a transposed view of g, in place."""

    def backward_inputs(self, grads):
        turned = grads.mT
        turned *= torch.where(self.inputs > 0, 1.0, self.slope).to(grads).mT
        return grads


# --- not deterministic


class TrulyRandom(Tanh):
    """Forward adds noise from the system's entropy, which no seed repeats."""

    def forward(self, inputs):
        noise = torch.tensor(list(os.urandom(inputs.numel()))).reshape(inputs.shape)
        return super().forward(inputs) + noise.to(inputs) / 2550


class FreshGenerator(Dropout):
    """The mask comes from a generator that is seeded anew from entropy in each forward."""

    def drawn(self, like):
        generator = torch.Generator()
        generator.seed()
        return (torch.rand(like.shape, generator=generator) >= self.p).to(like) / (1 - self.p)


class NoisyBackward(Exp):
    """Backward adds noise to dx."""

    def backward_inputs(self, grads):
        return self.outputs * grads + 0.01 * torch.randn_like(grads)


class NoisyWeights(Affine):
    """Backward adds noise to dW, as some say that it helps."""

    def backward_params(self, grads):
        super().backward_params(grads)
        self.grads["W"] += 1e-3 * torch.randn_like(self.grads["W"])


class SecondMask(Dropout):
    """Backward draws a mask of its own."""

    def backward_inputs(self, grads):
        return grads * self.drawn(grads)


class EatsItsOutputs(Tanh):
    """Backward turns its own copy of the outputs into slopes: the second backward is another."""

    def forward(self, inputs):
        outputs = super().forward(inputs)
        self.y = outputs.clone()
        return outputs

    def backward_inputs(self, grads):
        self.y = 1 - self.y**2
        return grads * self.y


# --- wants contiguous memory


class Views(Square):
    """g.view(-1) raises where g is not contiguous."""

    def backward_inputs(self, grads):
        return (2 * self.inputs.reshape(-1) * grads.view(-1)).reshape(self.inputs.shape)


class ViewsRows(Affine):
    """g.view(-1, O) raises where g is a transposed one."""

    def backward_params(self, grads):
        x, g = rows_of(self.inputs), grads.view(-1, grads.shape[-1] * grads.shape[-2])
        g = g.reshape(-1, grads.shape[-1])
        self.grads["W"], self.grads["b"] = x.T @ g, g.sum(0, keepdim=True)


class StorageOrder(Exp):
    """Reads g in the order of its storage."""

    def backward_inputs(self, grads):
        return self.outputs * torch.as_strided(grads, grads.shape, (grads.shape[-1], 1))


class StorageOrderBias(PlainAffine):
    """db reads g in the order of its storage."""

    def backward(self, grads):
        dx = super().backward(grads)
        in_order = torch.as_strided(grads, grads.shape, (grads.shape[-1], 1))
        self.grads["b"] = in_order.sum(0, keepdim=True)
        return dx


class ViewsInputs(Abs):
    """inputs.view(-1) raises where the inputs are not contiguous."""

    def forward(self, inputs):
        flat = inputs.view(-1)
        self.inputs, self.outputs = inputs, flat.abs().reshape(inputs.shape)
        return self.outputs


# --- a batch of one


class Squeezes(Affine):
    """dW by a squeezed g, which has lost its rows where there is one."""

    def backward_params(self, grads):
        g = grads.squeeze()
        self.grads["W"] = self.inputs.T @ g
        self.grads["b"] = g.sum(0, keepdim=True)


class SqueezesInputs(Square):
    """dx is squeezed: [F] where N is 1."""

    def backward_inputs(self, grads):
        return super().backward_inputs(grads).squeeze(0)


class SampleDeviation(BatchNorm):
    """The variance is divided by N - 1: nan where N is 1."""

    def forward(self, inputs):
        rows = inputs.shape[0]
        centred = inputs - self.mean(inputs)
        self.sd = ((centred**2).sum(0, keepdim=True) / (rows - 1) + 1e-3).sqrt()
        self.rows, self.inputs, self.normal = rows, inputs, centred / self.sd
        self.outputs = self.params["gain"] * self.normal + self.params["shift"]
        return self.outputs

    def backward_inputs(self, grads):
        d = self.params["gain"] * grads
        of_sd = (d * self.normal).sum(0, keepdim=True) / (self.rows - 1)
        return (d - self.mean(d) - self.normal * of_sd) / self.sd


class DividesByOthers(Centre):
    """Backward divides by N - 1 and multiplies by it again."""

    def backward_inputs(self, grads):
        others = len(grads) - 1
        return grads - grads.sum(0, keepdim=True) / others * others / len(grads)


# --- batch axes


class TransposesAll(Affine):
    """x.T turns every axis round."""

    def backward_params(self, grads):
        self.grads["W"] = self.inputs.T @ grads
        self.grads["b"] = grads.sum(0, keepdim=True)


class TurnsAllAxes(PlainAffine):
    """The same by permute, of which torch does not warn."""

    def backward(self, grads):
        turned = self.inputs.permute(*reversed(range(grads.ndim)))
        self.grads = {"W": torch.matmul(turned, grads), "b": rows_of(grads).sum(0, keepdim=True)}
        return torch.matmul(grads, self.params["W"].T)


class SumsFirstAxis(Affine):
    """db sums the first axis only, whatever axes there are."""

    def backward_params(self, grads):
        super().backward_params(grads)
        self.grads["b"] = grads.sum(0, keepdim=True)


class SecondAxis(Softmax):
    """The sum runs over axis 1, which is not the last of three."""

    def backward_inputs(self, grads):
        p = self.outputs
        return p * (grads - (grads * p).sum(1, keepdim=True))


class CutsSecondAxis(WithSquare):
    """The gradient is cut along axis 1."""

    def backward_inputs(self, grads):
        of_x, of_square = grads.chunk(2, dim=1)
        return of_x + 2 * self.inputs * of_square


class TwoAxesOnly(Sum):
    """dx is made for [N, F]."""

    def backward_inputs(self, grads):
        return grads.expand(self.inputs.shape[0], self.inputs.shape[-1])


class SlopeOfFirstAxis(Swish):
    """dbeta sums two axes only."""

    def backward_params(self, grads):
        x, s = self.inputs, self.gate
        self.grads["beta"] = (grads * x**2 * s * (1 - s)).sum((0, 1)).reshape(1, -1)[:, :1]


# --- two halves and a whole


class HalfForgetsSlope(Tanh):
    """backward is right, backward_inputs leaves the slope out."""

    def backward(self, grads):
        return grads * (1 - self.outputs**2)

    def backward_inputs(self, grads):
        return grads.clone()


class HalfForgetsBias(Affine):
    """backward is right, backward_params leaves db at 0."""

    def backward(self, grads):
        Affine.backward_params(self, grads)
        return self.backward_inputs(grads)

    def backward_params(self, grads):
        Affine.backward_params(self, grads)
        self.grads["b"] = torch.zeros_like(self.params["b"])

    def backward_inputs(self, grads):
        return Affine.backward_inputs(self, grads)


class HalfIsAnother(ELU):
    """backward and backward_inputs were written twice, once for alpha = 2."""

    def backward(self, grads):
        return torch.where(self.inputs > 0, grads, (self.outputs + self.alpha) * grads)

    def backward_inputs(self, grads):
        return torch.where(self.inputs > 0, grads, (self.outputs + 2) * grads)


class HalfWritesNothing(Scale):
    """backward writes dv, backward_params does nothing."""

    def backward(self, grads):
        self.grads["v"] = rows_of(grads * self.inputs).sum(0)
        return self.params["v"] * grads

    def backward_params(self, grads):
        pass

    def backward_inputs(self, grads):
        return self.params["v"] * grads


class HalfTakesMean(Affine):
    """backward_params takes the mean, backward the sum."""

    def backward(self, grads):
        Affine.backward_params(self, grads)
        return grads @ self.params["W"].T

    def backward_params(self, grads):
        Affine.backward_params(self, grads / len(grads))

    def backward_inputs(self, grads):
        return grads @ self.params["W"].T


STATE = [
    Mutant("AddsWeights", AddsWeights, "accumulates", "W"),
    Mutant("AddsBias", AddsBias, "accumulates", "b"),
    Mutant("AddsSlope", AddsSlope, "accumulates", "a", normal(5, 3)),
    Mutant("AddsInputs", AddsInputs, "accumulates", "inputs"),
    Mutant("FirstInputs", FirstInputs, "stale-state", "W"),
    Mutant("PreviousInputs", PreviousInputs, "stale-state", "inputs"),
    Mutant("CachedTranspose", CachedTranspose, "stale-state", "inputs"),
    Mutant("Alias", Alias, "stale-state", "W"),
    Mutant("BackwardAlias", BackwardAlias, "stale-state", "inputs"),
    Mutant("FirstMask", FirstMask, "stale-state", "inputs"),
    Mutant("FirstOutputs", FirstOutputs, "stale-state", "inputs"),
    Mutant("CachedSlope", CachedSlope, "stale-state", "inputs", normal(5, 3)),
    Mutant("CachedGain", CachedGain, "stale-state", "inputs", normal(5, 4)),
    Mutant("ReluOfInputs", ReluOfInputs, "mutates-inputs", "inputs"),
    Mutant("CentresInputs", CentresInputs, "mutates-inputs", "inputs"),
    Mutant("ClipsInputs", ClipsInputs, "mutates-inputs", "inputs"),
    Mutant("BackwardOnInputs", BackwardOnInputs, "mutates-inputs", "inputs"),
    Mutant("MasksUpstream", MasksUpstream, "mutates-upstream", ""),
    Mutant("MultipliesUpstream", MultipliesUpstream, "mutates-upstream", ""),
    Mutant("ScalesUpstream", ScalesUpstream, "mutates-upstream", "", normal(5, 3)),
    Mutant("WeighsUpstream", WeighsUpstream, "mutates-upstream", ""),
    Mutant("TrulyRandom", TrulyRandom, "not-deterministic", "outputs"),
    Mutant("FreshGenerator", FreshGenerator, "not-deterministic", "outputs"),
    Mutant("NoisyBackward", NoisyBackward, "not-deterministic", "inputs"),
    Mutant("NoisyWeights", NoisyWeights, "not-deterministic", "W"),
    Mutant("SecondMask", SecondMask, "not-deterministic", "inputs"),
    Mutant(
        "EatsItsOutputs",
        EatsItsOutputs,
        "not-deterministic",
        "inputs",
        also=("stale-state", "accumulates"),
    ),
    Mutant("Views", Views, "needs-contiguous", "inputs"),
    Mutant("ViewsRows", ViewsRows, "needs-contiguous", "W"),
    Mutant("StorageOrder", StorageOrder, "needs-contiguous", "inputs"),
    Mutant("StorageOrderBias", StorageOrderBias, "needs-contiguous", "b"),
    Mutant("ViewsInputs", ViewsInputs, "needs-contiguous", "outputs"),
    Mutant("Squeezes", Squeezes, "fails-batch-of-one", "W"),
    Mutant("SqueezesInputs", SqueezesInputs, "fails-batch-of-one", "inputs"),
    Mutant("SampleDeviation", SampleDeviation, "fails-batch-of-one", "outputs", normal(5, 4)),
    Mutant("DividesByOthers", DividesByOthers, "fails-batch-of-one", "inputs"),
    Mutant("TransposesAll", TransposesAll, "fails-extra-axes", "W", normal(2, 5, 3)),
    Mutant("TurnsAllAxes", TurnsAllAxes, "fails-extra-axes", "W", normal(4, 5, 3)),
    Mutant("SumsFirstAxis", SumsFirstAxis, "fails-extra-axes", "b", normal(4, 5, 3)),
    Mutant("SecondAxis", SecondAxis, "fails-extra-axes", "inputs", normal(2, 5, 3)),
    Mutant("CutsSecondAxis", CutsSecondAxis, "fails-extra-axes", "inputs", normal(2, 4, 3)),
    Mutant("TwoAxesOnly", TwoAxesOnly, "fails-extra-axes", "inputs", normal(2, 5, 3)),
    Mutant("SlopeOfFirstAxis", SlopeOfFirstAxis, "fails-extra-axes", "beta", normal(2, 5, 3)),
    Mutant("HalfForgetsSlope", HalfForgetsSlope, "halves-disagree", "inputs"),
    Mutant("HalfForgetsBias", HalfForgetsBias, "halves-disagree", "b"),
    Mutant("HalfIsAnother", HalfIsAnother, "halves-disagree", "inputs"),
    Mutant("HalfWritesNothing", HalfWritesNothing, "halves-disagree", "v", normal(5, 3)),
    Mutant("HalfTakesMean", HalfTakesMean, "halves-disagree", "W"),
]
