"""What a first look at a gradient check would not try: odd right ops, and wrong ones that hide."""

import threading

import numpy as np
import pytest
import torch

import opnet
from opnet import Linear, Logistic, Op, Sequential, Tanh


class Rule(Op):
    """y = f(x) with slope df(x)."""

    def __init__(self, f, slope):
        self.f, self.slope = f, slope

    def forward(self, inputs):
        self.inputs = inputs
        return self.f(inputs)

    def backward(self, grads):
        return grads * self.slope(self.inputs)


class Clipped(Rule):
    def backward(self, grads):
        return super().backward(grads.clamp(-5, 5))


class PositiveScale(Op):
    def __init__(self):
        self.params = {"s": torch.full((1, 4), 0.2)}

    def forward(self, inputs):
        self.inputs = inputs
        return inputs * self.params["s"].sqrt()

    def backward(self, grads):
        s = self.params["s"]
        self.grads["s"] = (grads * self.inputs).sum(0, keepdim=True) / (2 * s.sqrt())
        return grads * s.sqrt()


class NumpyDropout(Op):
    def __init__(self):
        self.source = np.random.default_rng(0)

    def forward(self, inputs):
        self.mask = torch.from_numpy(self.source.random(inputs.shape) < 0.5)
        return inputs * self.mask

    def backward(self, grads):
        return grads * self.mask


class WithAModule(Op):
    def __init__(self):
        self.numpy = np

    def forward(self, inputs):
        return inputs * self.numpy.pi

    def backward(self, grads):
        return grads * self.numpy.pi


class Embedding(Op):
    def __init__(self):
        self.params = {"W": torch.randn(7, 3)}

    def forward(self, inputs):
        self.inputs = inputs
        return self.params["W"][inputs]

    def backward(self, grads):
        dW = torch.zeros_like(self.params["W"])
        self.grads["W"] = dW.index_add(0, self.inputs.flatten(), grads.flatten(0, -2))


class Position(Op):
    def __init__(self):
        self.params = {"P": torch.randn(5, 4)}

    def forward(self, inputs):
        return inputs + self.params["P"]

    def backward(self, grads):
        self.grads["P"] = grads.sum(0)
        return grads.clone()


class Chain(Op):
    """A model without a list of layers."""

    def __init__(self, forgets=False):
        self.first, self.act, self.second = Linear(4, 5, "first"), Tanh(), Linear(5, 2)
        self.forgets = forgets

    def forward(self, X):
        return self.second.forward(self.act.forward(self.first.forward(X)))

    def backward(self, grads):
        grads = self.act.backward(self.second.backward(grads))
        return self.first.backward_inputs(grads) if self.forgets else self.first.backward(grads)


class LambdaOverItself(Op):
    def __init__(self):
        self.params = {"W": torch.randn(4, 3)}
        self.rule = lambda x: x @ self.params["W"]

    def forward(self, inputs):
        self.inputs = inputs
        return self.rule(inputs)

    def backward(self, grads):
        self.grads["W"] = self.inputs.T @ grads
        return grads @ self.params["W"].T


class HoldsALock(Linear):
    def __init__(self):
        super().__init__(4, 3)
        self.lock, self.counter = threading.Lock(), (i for i in range(10))

    def forward(self, inputs):
        with self.lock:
            return super().forward(inputs)


class Distances(Op):
    """d_ij = |x_i - x_j| by the three products of its square: rounding is all that d_ii holds."""

    def forward(self, inputs):
        self.inputs, squares = inputs, inputs.square().sum(-1, keepdim=True)
        self.outputs = (squares + squares.mT - 2 * inputs @ inputs.mT).clamp(min=0).sqrt()
        return self.outputs

    def backward(self, grads):
        share = (grads / self.outputs.clone().fill_diagonal_(1)).fill_diagonal_(0)
        share = share + share.mT
        return share.sum(-1, keepdim=True) * self.inputs - share @ self.inputs


class PlainLoss:
    """L = mean(f(p, y)), slope df(p, y) / n: in the style of the book."""

    def __init__(self, f, slope, model=None):
        self.f, self.slope, self.model = f, slope, model

    def forward(self, predicts, labels):
        self.kept = predicts, labels
        return self.f(predicts, labels).mean()

    def backward(self):
        self.model.backward(self.slope(*self.kept) / self.kept[0].numel())


class ConvertingLoss(PlainLoss):
    """The door converts labels, as those of opnet do."""

    def __call__(self, predicts, labels):
        return self.forward(predicts, torch.as_tensor(labels).to(predicts))


class OnlyCalled:
    """A loss that is called and has no forward."""

    model = None

    def __call__(self, predicts, labels):
        self.kept = predicts, labels
        return (predicts - labels).square().mean()

    def backward(self):
        p, y = self.kept
        self.model.backward(2 * (p - y) / p.numel())


class TwoOfOneName:
    """A model whose ops have one name, held in attributes."""

    def __init__(self):
        self.encode, self.decode = Linear(4, 3, "fc"), Linear(3, 4, "fc")

    def forward(self, inputs):
        return self.decode.forward(self.encode.forward(inputs))

    def backward(self, grads):
        return self.encode.backward(self.decode.backward(grads))


class OneBuffer(Op):
    """y = x^2 in memory that every forward uses again."""

    buffer = None

    def forward(self, inputs):
        self.inputs = inputs
        if self.buffer is None or self.buffer.shape != inputs.shape:
            self.buffer = torch.empty_like(inputs)
        return torch.square(inputs, out=self.buffer)

    def backward_inputs(self, grads):
        return 2 * self.inputs * grads


class Nothing(Linear):
    """Linear with a param of no elements."""

    def __init__(self):
        super().__init__(4, 3)
        self.params["none"], self.grads["none"] = torch.zeros(1, 0), torch.zeros(1, 0)


class Median(Op):
    def forward(self, inputs):
        self.inputs = inputs
        outputs, self.chosen = inputs.median(-1, keepdim=True)
        return outputs

    def backward_inputs(self, grads):
        return torch.zeros_like(self.inputs).scatter(-1, self.chosen, grads)


class FloatCoded(Op):
    """Rows of a table, by indices that come as floats."""

    def __init__(self):
        self.params = {"W": torch.randn(7, 3)}

    def forward(self, inputs):
        self.inputs = inputs
        return self.params["W"][inputs[..., 0].long()]

    def backward(self, grads):
        dW = torch.zeros_like(self.params["W"])
        self.grads["W"] = dW.index_add(0, self.inputs[..., 0].long(), grads)
        return torch.zeros_like(self.inputs)


def relu_of_clamp():
    return Rule(lambda x: x.clamp(min=0), lambda x: (x > 0).to(x))


def entropy(p, y):
    return -(y * p.log() + (1 - y) * (1 - p).log())


def entropy_slope(p, y):
    return (p - y) / (p * (1 - p))


def positive_only(x):
    if (x <= 0).any():
        raise ValueError("x must be positive")
    return x.log()


class AtMostEightRows(Tanh):
    def forward(self, inputs):
        if len(inputs) > 8:
            raise ValueError("at most 8 rows")
        return super().forward(inputs)


class UnitRows(Op):
    """y = x / max(|x|, 1e-12): very steep for a row of zeros."""

    def forward(self, inputs):
        self.inputs, self.size = inputs, inputs.norm(dim=-1, keepdim=True)
        return inputs / self.size.clamp(min=1e-12)

    def backward_inputs(self, grads):
        y = self.inputs / self.size.clamp(min=1e-12)
        along = y * (grads * y).sum(-1, keepdim=True) * (self.size > 1e-12)
        return (grads - along) / self.size.clamp(min=1e-12)


class Shares(Op):
    """y = sin(x) for rows whose sum is 1 only."""

    factor = 1.0

    def forward(self, inputs):
        self.inputs = inputs
        unfit = (inputs.sum(-1, keepdim=True) - 1).abs() > 1e-6
        return inputs.sin().masked_fill(unfit, torch.nan)

    def backward_inputs(self, grads):
        return self.factor * grads * self.inputs.cos()


class WrongShares(Shares):
    factor = 42.0


class SumOfSquares(Op):
    def forward(self, inputs):
        self.inputs = inputs
        return inputs.square().sum()

    def backward_inputs(self, grads):
        return 2 * self.inputs


class EvalScale(Op):
    """y = x / sqrt(v) in eval mode, v a running variance."""

    def __init__(self):
        self.buffers = {"v": torch.ones(4)}

    def forward(self, inputs):
        return inputs / 1.0 if self.training else inputs / self.buffers["v"].sqrt()

    def backward_inputs(self, grads):
        return grads / 1.0 if self.training else grads / self.buffers["v"]


class Slotted:
    __slots__ = ("outputs",)

    def forward(self, inputs):
        self.outputs = torch.tanh(inputs)
        return self.outputs

    def backward(self, grads):
        return grads * (1 - self.outputs**2)


class Pixels(Op):
    """Whole numbers from 0 to 255, from which nothing is sent back."""

    def __init__(self):
        self.params = {"W": torch.randn(6, 2)}

    def forward(self, inputs):
        self.inputs = inputs.to(self.params["W"]) / 255
        return self.inputs @ self.params["W"]

    def backward(self, grads):
        self.grads["W"] = self.inputs.T @ grads


SHARES = torch.tensor([[0.1, 0.2, 0.7], [0.3, 0.3, 0.4]], dtype=torch.float64)
RIGHT = {
    "at most eight rows": (AtMostEightRows, None),
    "steep for a row of zeros": (UnitRows, None),
    "rows of one sum only": (Shares, SHARES),
    "pixels": (Pixels, torch.arange(24, dtype=torch.uint8).reshape(4, 6)),
    "an op with slots": (lambda: Sequential(Linear(3, 2), Slotted()), None),
    "a param that must stay positive": (PositiveScale, None),
    "a NumPy generator": (NumpyDropout, None),
    "a module as an attribute": (WithAModule, None),
    "indices": (Embedding, torch.tensor([[0, 1], [2, 6]])),
    "as many rows as it has": (Position, torch.randn(2, 5, 4)),
    "a model without layers": (Chain, None),
    "a refused domain": (
        lambda: Rule(positive_only, lambda x: 1 / x),
        torch.tensor([[1e-5, 0.5], [2.0, 3.0]]),
    ),
    "nan": (Tanh, torch.tensor([[torch.nan, 1.0], [2.0, 0.5]])),
    "a steep slope": (
        lambda: Rule(lambda x: torch.sin(200 * x), lambda x: 200 * torch.cos(200 * x)),
        None,
    ),
    "a very steep slope": (
        lambda: Rule(lambda x: torch.tanh(1e5 * x), lambda x: 1e5 / torch.cosh(1e5 * x) ** 2),
        None,
    ),
    "a lambda over itself": (LambdaOverItself, None),
    "a lock and a generator": (HoldsALock, None),
    "distances to itself": (Distances, None),
    "a slope that is inf at the end of a domain": (
        lambda: Rule(torch.arcsin, lambda x: (1 - x * x).rsqrt()),
        torch.linspace(-0.9, 0.9, 12).reshape(3, 4),
    ),
    "a slope that is inf in the middle": (
        lambda: Rule(lambda x: x.sign() * x.abs() ** (1 / 3), lambda x: x.abs() ** (-2 / 3) / 3),
        None,
    ),
    "an overflow by right": (lambda: Rule(torch.exp, torch.exp), None),
    "a loss with a kink": (
        lambda: PlainLoss(lambda p, y: (p - y).abs(), lambda p, y: (p - y).sign()),
        None,
    ),
    "a loss of probabilities": (lambda: PlainLoss(entropy, entropy_slope), None),
    "a loss of clamped probabilities": (
        lambda: PlainLoss(
            lambda p, y: entropy(p.clamp(1e-7, 1 - 1e-7), y),
            lambda p, y: entropy_slope(p.clamp(1e-7, 1 - 1e-7), y),
        ),
        None,
    ),
    "labels that the door converts": (
        lambda: ConvertingLoss(lambda p, y: (p - y).square(), lambda p, y: 2 * (p - y)),
        (torch.randn(6, 2), torch.ones(6, 2, dtype=torch.bool)),
    ),
    "bool labels for a loss of opnet": (
        lambda: opnet.BinaryCrossEntropyLoss(opnet.Model_MLP_L2(2, 3, 1)),
        (torch.randn(6, 2), torch.ones(6, 1, dtype=torch.bool)),
    ),
    "a loss without forward": (OnlyCalled, (torch.randn(6, 2), torch.randn(6, 2))),
    "two ops of one name": (TwoOfOneName, None),
    "outputs in memory used again": (OneBuffer, None),
    "a param without elements": (Nothing, None),
    "inputs that are not contiguous": (lambda: Linear(4, 3), torch.randn(4, 5).T),
    "exact zeros": (relu_of_clamp, torch.randn(5, 4) * torch.tensor([0, 1, 0, 1])),
    "several equal inputs": (Median, torch.tensor([[0.0, 0, 0, 1], [2, 1, 1, 1], [3, 4, 5, 6]])),
    "indices that come as floats": (FloatCoded, torch.tensor([[0.0], [1], [2], [6]])),
    "poles far out": (
        lambda: Rule(torch.lgamma, torch.digamma),
        torch.linspace(0.3, 1.3, 12).reshape(3, 4),
    ),
    "many periods": (
        lambda: Rule(lambda x: torch.sin(1e4 * x), lambda x: 1e4 * torch.cos(1e4 * x)),
        None,
    ),
    "a gradient that is 0 but for rounding": (
        lambda: Sequential(Linear(3, 4), opnet.BatchNorm(4), Linear(4, 2)),
        None,
    ),
    "whole numbers for a real op": (lambda: Rule(lambda x: 2 * x, lambda x: 2.0), [[1, 2], [3, 4]]),
}


@pytest.mark.parametrize(("make", "inputs"), RIGHT.values(), ids=RIGHT.keys())
def test_an_odd_right_op_passes(make, inputs):
    for seed in range(5):
        report = opnet.check(make(), inputs, seed=seed)
        assert report.passed, report


def gap(x):
    return ((x.abs() < 7) | (x.abs() > 12)).to(x.dtype)


class ViewsRows(Linear):
    def backward_params(self, grads):
        rows = grads.view(-1, 3)
        self.grads["W"] = self.inputs.reshape(-1, 4).T @ rows
        self.grads["b"] = rows.sum(0, keepdim=True)


class Momentum(Linear):
    v = 0.0

    def backward_params(self, grads):
        super().backward_params(grads)
        self.v = 0.9 * self.v + self.grads["W"]
        self.grads["W"].copy_(self.v)


class TrainsItself(Linear):
    def backward_params(self, grads):
        super().backward_params(grads)
        self.params["W"].sub_(0.1 * self.grads["W"])


class CentresPredictions(opnet.MeanSquaredErrorLoss):
    def forward(self, predicts, labels):
        loss = super().forward(predicts, labels).clone()
        predicts.sub_(labels)
        return loss

    def backward_inputs(self):
        return 2 * self.inputs / self.inputs.numel()


class SteepAtOne(opnet.HingeLoss):
    def backward_inputs(self):
        at_one = (self.labels * self.inputs == 1) / self.inputs.numel()
        return super().backward_inputs() - 2 * self.labels * at_one


class LeansOnTheOtherHalf(Linear):
    def backward_params(self, grads):
        self.delta = grads * 2
        super().backward_params(grads)

    def backward_inputs(self, grads):
        return self.delta @ self.params["W"].T / 2


class SqueezesInBackward(Linear):
    def backward_params(self, grads):
        x, g = self.inputs.numpy().squeeze(), grads.numpy().squeeze()
        self.grads["W"] = torch.from_numpy(x.T @ g).reshape(4, 3)
        self.grads["b"] = grads.sum(0, keepdim=True)


class AbsoluteScale(Op):
    def __init__(self):
        self.params = {"s": torch.ones(1, 4)}

    def forward(self, inputs):
        self.inputs = inputs
        return inputs * self.params["s"]

    def backward_params(self, grads):
        self.grads["s"] = (grads * self.inputs).sum(0, keepdim=True)

    def backward_inputs(self, grads):
        return grads * self.params["s"].abs()


class RowNorm(Op):
    def forward(self, inputs):
        self.inputs, self.outputs = inputs, inputs.norm(dim=-1, keepdim=True)
        return self.outputs

    def backward_inputs(self, grads):
        return grads * self.inputs / self.outputs


class EvenRows(Op):
    def forward(self, inputs):
        self.inputs = inputs
        return 2 * inputs

    def backward_inputs(self, grads):
        dx = 2 * grads
        dx[len(dx) - 1 :] *= len(dx) % 2
        return dx


class ByAddress(Op):
    address = None

    def forward(self, inputs):
        if self.address != inputs.data_ptr():
            self.address, self.kept = inputs.data_ptr(), torch.tanh(inputs)
        return torch.tanh(inputs)

    def backward_inputs(self, grads):
        return grads * (1 - self.kept**2)


class CountsOnce(PlainLoss):
    """The count of the first batch stays."""

    count = None

    def backward(self):
        self.count = self.count or self.kept[0].numel()
        self.model.backward(self.slope(*self.kept) / self.count)


class SoftensLabels(PlainLoss):
    def forward(self, predicts, labels):
        return super().forward(predicts, labels.mul_(0.9).add_(0.05))


class LayersOutOfReach(Sequential):
    """A ReLU that is steep at 0, behind a layer that hardly ever gives 0."""

    def __init__(self):
        steep = Rule(torch.relu, lambda x: (x > 0) + 2.0 * (x == 0))
        super().__init__(Linear(3, 4, "fc1"), steep, Linear(4, 2, "fc2"))


class HalfForgotten(Sequential):
    def __init__(self):
        super().__init__(Linear(3, 4, "fc1"), Linear(4, 2, "fc2"))

    def backward_params(self, grads):
        self.layers[1].backward_params(grads)


class KeepsItsFirstWeights(Sequential):
    def __init__(self):
        super().__init__(Linear(3, 4, "fc1"), Tanh(), Linear(4, 2, "fc2"))
        self.kept = self.layers[0].params["W"].clone()

    def backward(self, grads):
        fc1, act, fc2 = self.layers
        grads = act.backward(fc2.backward(grads))
        fc1.backward_params(grads)
        return grads @ self.kept.T


def float32_between():
    narrow = Rule(lambda x: torch.tanh(x.float()).double(), lambda x: 1 / torch.cosh(x) ** 2)
    return Sequential(Linear(3, 4, "fc1"), narrow, Linear(4, 2, "fc2"))


def linear_then_tanh():
    return Sequential(Linear(3, 2, "fc1"), Tanh())


def squares(p, y):
    return (p - y).square()


def twice(p, y):
    return 2 * (p - y)


HIDDEN = {
    "whole numbers": (lambda: Rule(torch.tanh, lambda x: 2.0), [[1, 2], [3, 4]], "wrong-value"),
    "wrong for rows of one sum": (WrongShares, SHARES, "wrong-value"),
    "a number that ignores the upstream": (SumOfSquares, None, "ignores-upstream"),
    "wrong for another running variance": (EvalScale, None, "wrong-value"),
    "a half that leans on the other": (lambda: LeansOnTheOtherHalf(4, 3), None, "halves-disagree"),
    "a squeeze in backward": (lambda: SqueezesInBackward(4, 3), None, "fails-batch-of-one"),
    "wrong for a negative param": (AbsoluteScale, None, "wrong-elements"),
    "nan for a row of zeros": (RowNorm, None, "not-finite"),
    "wrong for an even number of rows": (EvenRows, None, "wrong-elements"),
    "the address for the values": (ByAddress, None, "stale-state"),
    "a clip of the upstream": (
        lambda: Clipped(lambda x: x * 1.0, torch.ones_like),
        None,
        "wrong-value",
    ),
    "a slope of a step": (lambda: Rule(torch.round, torch.ones_like), None, "missing-term"),
    "pi with seven digits": (
        lambda: Rule(lambda x: torch.sin(np.pi * x), lambda x: 3.141593 * torch.cos(np.pi * x)),
        None,
        "scaled",
    ),
    "another eps": (
        lambda: Rule(lambda x: torch.log(x + 1e-6), lambda x: 1 / x),
        torch.linspace(0.5, 1.0, 20).reshape(5, 4),
        "wrong-value",
    ),
    "the count of the first batch": (lambda: CountsOnce(squares, twice), None, "stale-state"),
    "the loss of float32 labels": (
        lambda: PlainLoss(squares, lambda p, y: twice(p, y.float().double())),
        None,
        "low-precision",
    ),
    "the loss of float32 labels of any size": (
        lambda: PlainLoss(squares, lambda p, y: twice(p, y.float().double())),
        (torch.randn(6, 2).double(), torch.randn(6, 2).double() / 3),
        "low-precision",
    ),
    "writes into labels": (lambda: SoftensLabels(squares, twice), None, "mutates-inputs"),
    "nan at the inputs given": (
        lambda: PlainLoss(entropy, entropy_slope),
        (torch.tensor([[1.0], [0.5]]), torch.tensor([[1.0], [0.0]])),
        "not-finite",
    ),
    "steep at 0 inside of a model": (LayersOutOfReach, None, "illegal-subgradient"),
    "half of a layer forgotten": (HalfForgotten, None, "halves-disagree"),
    "a model that keeps its first weights": (KeepsItsFirstWeights, None, "stale-state"),
    "float32 inside of a model": (float32_between, None, "low-precision"),
    "momentum in backward": (lambda: Momentum(4, 3), None, "accumulates"),
    "an update in backward": (lambda: TrainsItself(4, 3), None, "mutates-inputs"),
    "writes into predictions": (CentresPredictions, None, "mutates-inputs"),
    "writes into its model's outputs": (
        lambda: CentresPredictions(linear_then_tanh()),
        None,
        "mutates-inputs",
    ),
    "a hinge too steep at 1": (SteepAtOne, None, "illegal-subgradient"),
    "an absolute error too steep at 0": (
        lambda: PlainLoss(lambda p, y: (p - y).abs(), lambda p, y: (p - y).sign() + 2 * (p == y)),
        None,
        "illegal-subgradient",
    ),
    "a softplus that overflows": (
        lambda: Rule(lambda x: x.exp().log1p(), lambda x: x.exp() / (1 + x.exp())),
        None,
        "not-finite",
    ),
    "a loss of logits that overflows": (
        lambda: PlainLoss(lambda z, y: z.exp().log1p() - y * z, lambda z, y: z.sigmoid() - y),
        None,
        "not-finite",
    ),
    "a log of 0 behind a Logistic": (
        lambda: PlainLoss(entropy, entropy_slope, Sequential(Linear(2, 1, "fc1"), Logistic())),
        None,
        "not-finite",
    ),
    "a model without layers": (lambda: Chain(forgets=True), None, "zero"),
    "view on three axes": (lambda: ViewsRows(4, 3), torch.randn(2, 5, 4), "needs-contiguous"),
    "a gap where nothing is drawn": (lambda: Rule(lambda x: x * 1.0, gap), None, "wrong-elements"),
}


@pytest.mark.parametrize(("make", "inputs", "kind"), HIDDEN.values(), ids=HIDDEN.keys())
def test_a_wrong_op_that_hides_is_found(make, inputs, kind):
    for seed in range(3):
        report = opnet.check(make(), inputs, seed=seed)
        assert kind in [finding.kind for finding in report.findings], report


def test_a_reference_is_asked_far_out_too():
    relu = Rule(lambda x: x.clamp(min=0), lambda x: (x > 0).to(x.dtype))
    (finding,) = opnet.check(relu, reference=lambda x: x.clamp(0, 6)).findings
    assert finding.kind == "wrong-forward"


def test_labels_stay_as_they_are():
    class Meddles:
        model = None

        def forward(self, predicts, labels):
            labels += 1
            self.kept = predicts, labels
            return ((predicts - labels) ** 2).sum()

        def backward(self):
            p, y = self.kept
            self.model.backward(2 * (p - y))

    labels = torch.zeros(5, 2, dtype=torch.float64)
    opnet.check(Meddles(), (torch.randn(5, 2), labels))
    assert not labels.any()


def test_what_cannot_be_checked_is_refused_in_one_line():
    with pytest.raises(ValueError, match=r"inputs have shape \[0, 4\], wanted at least one row"):
        opnet.check(Tanh(), torch.empty(0, 4))
    with pytest.raises(TypeError, match=r"inputs are torch\.complex64, wanted real numbers"):
        opnet.check(Tanh(), torch.ones(3, 3) * 1j)
    with pytest.raises(TypeError, match="reference is 3, wanted a callable"):
        opnet.check(Tanh(), reference=3)
    with pytest.raises(TypeError, match="seed is 'a', wanted a whole number"):
        opnet.check(Tanh(), seed="a")
    with pytest.raises(ValueError, match="seed is 1152921504606846976, wanted at most"):
        opnet.check(Tanh(), seed=2**60)
    op = Tanh()
    op.params = {"a": 2.0}
    with pytest.raises(TypeError, match="param 'a' is a float, wanted a Tensor"):
        opnet.check(op)
    with pytest.raises(ValueError, match="reference is for ops and models"):
        opnet.check(opnet.MeanSquaredErrorLoss(), reference=lambda x: x)
