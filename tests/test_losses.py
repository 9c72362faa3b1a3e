"""Losses: the laws of all; the binary cross-entropy is exact at any logit and strict on labels."""

import copy

import numpy as np
import pytest
import torch
from cases import LOGITS, LOSS_CASES, model_of
from hypothesis import given, settings
from hypothesis import strategies as st
from witness import close, grads_of

from opnet import (
    BinaryCrossEntropyLoss,
    CrossEntropyLoss,
    HalfSquaredErrorLoss,
    HingeLoss,
    Linear,
    Logistic,
    LogSoftmax,
    MeanSquaredErrorLoss,
    Model_MLP_L2,
    NonFiniteError,
    Sequential,
    Softmax,
    Tanh,
    WeightedLoss,
)

F = torch.nn.functional
BCE_WITH_LOGITS = F.binary_cross_entropy_with_logits


def with_logits(z, y):
    """Value and dL/dz by torch's autograd in float64: in float32 torch's own sum cancels."""
    leaf = z.detach().double().requires_grad_()
    loss = BCE_WITH_LOGITS(leaf, y.double())
    loss.backward()
    return loss.detach().to(z.dtype), leaf.grad.to(z.dtype)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
@pytest.mark.parametrize("label", [0.0, 1.0, 0.25])
@pytest.mark.parametrize("logit", LOGITS)
def test_value_and_gradient_are_exact_at_any_logit(logit, label, dtype, tolerance):
    z, y = torch.full((1, 1), logit, dtype=dtype), torch.full((1, 1), label, dtype=dtype)
    model = Sequential(Logistic())
    loss_fn = BinaryCrossEntropyLoss(model)
    value, slope = with_logits(z, y)
    torch.testing.assert_close(loss_fn(model(z), y), value, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(loss_fn.backward(), slope, rtol=tolerance, atol=tolerance)


def test_soft_labels_at_large_logits_do_not_cancel():
    z, y = torch.tensor([[-4112.9375], [4112.9375]]), torch.tensor([[1 / 256], [255 / 256]])
    model = Sequential(Logistic())
    expected, _ = with_logits(z, y)
    torch.testing.assert_close(
        BinaryCrossEntropyLoss(model)(model(z), y), expected, rtol=1e-6, atol=0
    )


@given(
    logits=st.lists(st.floats(-1e4, 1e4, width=32), min_size=1, max_size=12),
    labels=st.lists(st.floats(0, 1, width=32), min_size=12, max_size=12),
)
@settings(max_examples=100, deadline=None)
def test_a_batch_of_any_logits_in_float32(logits, labels):
    z = torch.tensor(logits).reshape(-1, 1)
    y = torch.tensor(labels[: len(logits)]).reshape(-1, 1)
    model = Sequential(Logistic())
    loss_fn = BinaryCrossEntropyLoss(model)
    value, slope = with_logits(z, y)
    torch.testing.assert_close(loss_fn(model(z), y), value, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(loss_fn.backward(), slope, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("batch", [(), (3,), (2, 3)])
def test_the_whole_model_and_loss_equal_autograd(batch):
    model = Model_MLP_L2(2, 5, 3, dtype=torch.float64)
    X = torch.randn(*batch, 7, 2, dtype=torch.float64)
    y = torch.rand(*batch, 7, 3, dtype=torch.float64)
    loss_fn = BinaryCrossEntropyLoss(model)
    loss = loss_fn(model(X), y)
    dX = loss_fn.backward()

    params = [layer.params[key] for layer in (model.fc1, model.fc2) for key in ("W", "b")]
    leaves = [t.detach().clone().requires_grad_() for t in (X, *params)]
    x, W1, b1, W2, b2 = leaves
    witness = BCE_WITH_LOGITS(torch.sigmoid(x @ W1 + b1) @ W2 + b2, y)
    slopes = torch.autograd.grad(witness, leaves)
    close(loss, witness.detach())
    close(dX, slopes[0])
    grads = [layer.grads[key] for layer in (model.fc1, model.fc2) for key in ("W", "b")]
    close(grads, list(slopes[1:]))


@pytest.mark.parametrize("model", [None, Sequential(Linear(1, 1, "fc1"))], ids=["none", "linear"])
def test_without_a_logistic_of_the_model_log_p_is_floored_as_torchs_is(model):
    p = torch.tensor([[0.0], [1e-30], [0.3], [1.0]])
    y = torch.tensor([[1.0], [1.0], [0.5], [0.0]])
    expected = torch.nn.functional.binary_cross_entropy(p, y)
    torch.testing.assert_close(BinaryCrossEntropyLoss(model)(p, y), expected)


@pytest.mark.parametrize(
    "labels",
    [
        torch.tensor([[1], [0], [1]]),
        torch.tensor([[True], [False], [True]]),
        torch.tensor([[1.0], [0.0], [1.0]], dtype=torch.float64),
        np.array([[1], [0], [1]]),
        np.array([[1.0], [0.0], [1.0]]),
        [[1], [0], [1]],
    ],
    ids=["int", "bool", "float64", "NumPy int", "NumPy float64", "list"],
)
def test_labels_of_any_kind_are_converted(labels):
    model = Sequential(Logistic())
    loss_fn = BinaryCrossEntropyLoss(model)
    p = model(torch.randn(3, 1))
    expected = loss_fn(p, torch.tensor([[1.0], [0.0], [1.0]]))
    assert torch.equal(loss_fn(p, labels), expected)
    assert loss_fn.backward().dtype == torch.float32


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (torch.ones(3), r"labels have shape \[3\], predictions \[3, 1\]"),
        (torch.ones(1, 3), r"\[1, 3\], predictions \[3, 1\]"),
        (torch.ones(2, 1), r"\[2, 1\], predictions \[3, 1\]"),
        (torch.ones(3, 2), r"\[3, 2\], predictions \[3, 1\]"),
        (torch.tensor([[-1.0], [1.0], [1.0]]), r"labels\[0, 0\] is -1 .*\(y \+ 1\) / 2"),
        (torch.tensor([[1], [2], [1]]), r"labels\[1, 0\] is 2 \(1 of 3 .*y - 1"),
        (torch.tensor([[0.0], [torch.nan], [1.0]]), r"labels\[1, 0\] is nan"),
        (torch.tensor([[0.0], [1.0], [1.5]]), r"labels\[2, 0\] is 1.5"),
    ],
)
def test_labels_that_do_not_fit_are_named(labels, said):
    with pytest.raises(ValueError, match=said):
        BinaryCrossEntropyLoss()(torch.full((3, 1), 0.5), labels)


def test_what_is_no_labels_or_no_probability_is_named():
    loss_fn = BinaryCrossEntropyLoss()
    with pytest.raises(TypeError, match="labels is a list, wanted a Tensor"):
        loss_fn(torch.full((1, 1), 0.5), [["yes"]])
    with pytest.raises(TypeError, match="predictions are a list"):
        loss_fn([[0.5]], [[1]])
    with pytest.raises(ValueError, match=r"predictions\[0, 0\] is 3 .*Logistic"):
        loss_fn(torch.full((1, 1), 3.0), torch.ones(1, 1))
    with pytest.raises(NonFiniteError, match=r"predictions\[0, 0\] is nan"):
        loss_fn(torch.full((1, 1), torch.nan), torch.ones(1, 1))
    with pytest.raises(TypeError, match=r"labels are torch.complex64"):
        loss_fn(torch.full((1, 1), 0.5), torch.ones(1, 1) + 1j)
    with pytest.raises(ValueError, match="at least one row"):
        loss_fn(torch.empty(0, 1), torch.empty(0, 1))


def test_backward_needs_a_model_and_a_forward():
    loss_fn = BinaryCrossEntropyLoss()
    with pytest.raises(RuntimeError, match="needs a model"):
        loss_fn.backward()
    with pytest.raises(RuntimeError, match="BinaryCrossEntropyLoss: backward before forward"):
        BinaryCrossEntropyLoss(Sequential(Logistic())).backward()
    with pytest.raises(RuntimeError, match="BinaryCrossEntropyLoss: backward before forward"):
        loss_fn.backward_inputs()


@pytest.mark.parametrize(
    "meddle",
    [
        lambda model, X: model(torch.randn(3, 2)),
        lambda model, X: model.fc1(torch.randn(3, 2)),
        lambda model, X: model.act_fn2(torch.randn(3, 1)),
        lambda model, X: X.zero_(),
        lambda model, X: model.fc2.params["W"].add_(1),
        lambda model, X: model.fc2.params.update(W=torch.ones(5, 1)),
    ],
    ids=["the model", "its first op", "its last op", "X", "a param in place", "a param rebound"],
)
def test_what_changes_between_loss_and_backward_is_refused(meddle):
    model, X = Model_MLP_L2(2, 5, 1), torch.randn(3, 2)
    loss_fn = BinaryCrossEntropyLoss(model)
    loss_fn(model(X), torch.ones(3, 1))
    meddle(model, X)
    with pytest.raises(RuntimeError, match="has run or was changed since"):
        loss_fn.backward()


def test_an_op_that_remembers_under_other_names_is_watched_too():
    class Learner:
        def forward(self, x):
            self.x = x
            return x * 1.0

        def backward(self, grads):
            return grads

    learner = Learner()
    model = Sequential(learner, Linear(2, 1, "fc1"), Logistic())
    loss_fn = BinaryCrossEntropyLoss(model)
    loss_fn(model(torch.randn(3, 2)), torch.ones(3, 1))
    loss_fn.backward()
    loss_fn.backward()
    learner.forward(torch.randn(3, 2))
    with pytest.raises(RuntimeError, match="has run or was changed since"):
        loss_fn.backward()


def test_predictions_that_are_not_the_latest_are_refused_and_detached_ones_are_not():
    model = Model_MLP_L2(2, 5, 1)
    loss_fn = BinaryCrossEntropyLoss(model)
    old = model(torch.randn(3, 2))
    new = model(torch.randn(3, 2))
    for wrong in (old, new.clone()):
        loss_fn(wrong, torch.ones(3, 1))
        with pytest.raises(RuntimeError, match="are not what the model put out last"):
            loss_fn.backward()
    loss_fn(new.detach(), torch.ones(3, 1))
    loss_fn.backward()


def test_a_copied_loss_walks_its_copied_model():
    loss_fn = BinaryCrossEntropyLoss(Model_MLP_L2(2, 5, 1))
    loss_fn(loss_fn.model(torch.randn(3, 2)), torch.ones(3, 1))
    twin = copy.deepcopy(loss_fn)
    assert torch.equal(twin.backward(), loss_fn.backward())


def test_logits_are_taken_only_where_they_are_those_of_the_predictions():
    class Squeezed(Logistic):
        def forward(self, inputs):
            self.outputs = 0.8 * super().forward(inputs) + 0.1
            return self.outputs

    y = torch.rand(3, 3)
    for model, view in ((Sequential(Squeezed()), lambda p: p), (Sequential(Logistic()), torch.t)):
        p = view(model(torch.randn(3, 3)))
        loss = BinaryCrossEntropyLoss(model)(p, y)
        torch.testing.assert_close(loss, torch.nn.functional.binary_cross_entropy(p, y))


def test_a_logistic_is_floored_only_while_it_feeds_a_cross_entropy():
    op = Logistic()
    model = Sequential(op)
    BinaryCrossEntropyLoss(model)(model(torch.randn(3, 1)), torch.ones(3, 1))
    assert op.floored
    op(torch.randn(3, 1))
    assert not op.floored


# --- the laws of all losses


def indices(z):
    return torch.randint(z.shape[-1], z.shape[:-1])


def distributions(z):
    return torch.randn_like(z).softmax(dim=-1)


def signs(z):
    return torch.randn_like(z).sign()


def by_rows(function):
    """Torch's function of [N, C] and labels, for any batch axes."""
    return lambda z, y: function(z.flatten(0, -2), y.flatten(0, z.ndim - 2))


def hinge(z, y):
    return (1 - y * z).clamp_min(0).mean()


# loss, the model's last op, labels for its inputs z, the same in torch on z
LOSSES = [
    (BinaryCrossEntropyLoss, Logistic, torch.rand_like, BCE_WITH_LOGITS),
    (MeanSquaredErrorLoss, Tanh, torch.randn_like, lambda z, y: F.mse_loss(z.tanh(), y)),
    (HalfSquaredErrorLoss, Tanh, torch.randn_like, lambda z, y: F.mse_loss(z.tanh(), y) / 2),
    (HingeLoss, Tanh, signs, lambda z, y: hinge(z.tanh(), y)),
    (CrossEntropyLoss, Softmax, indices, by_rows(F.cross_entropy)),
    (CrossEntropyLoss, Softmax, distributions, by_rows(F.cross_entropy)),
    (CrossEntropyLoss, LogSoftmax, indices, by_rows(F.cross_entropy)),
    (CrossEntropyLoss, LogSoftmax, distributions, by_rows(F.cross_entropy)),
    (CrossEntropyLoss, Tanh, indices, by_rows(lambda z, y: F.cross_entropy(z.tanh(), y))),
    (CrossEntropyLoss, Tanh, distributions, by_rows(lambda z, y: F.cross_entropy(z.tanh(), y))),
]
every_loss = pytest.mark.parametrize(
    ("make", "head", "label", "torchs"),
    LOSSES,
    ids=[f"{make.__name__}, {head.__name__}, {label.__name__}" for make, head, label, _ in LOSSES],
)


@pytest.mark.parametrize("batch", [(), (3,), (2, 3)])
@every_loss
def test_every_loss_and_its_gradient_are_torchs(make, head, label, torchs, batch):
    model, z = Sequential(head()), 3 * torch.randn(*batch, 7, 4, dtype=torch.float64)
    loss_fn, y = make(model), label(z)
    leaf = z.clone().requires_grad_()
    expected = torchs(leaf, y)
    loss = loss_fn(model(z), y)
    assert (loss.shape, loss.dtype) == ((), torch.float64)
    close(loss, expected.detach())
    close(loss_fn.backward(), torch.autograd.grad(expected, leaf)[0])


@every_loss
def test_every_loss_repeats_itself_and_writes_to_nothing(make, head, label, torchs):
    model, z = Sequential(head()), torch.randn(7, 4, dtype=torch.float64)
    loss_fn, y = make(model), label(z)
    predicts = model(z)
    before = predicts.clone(), y.clone()
    loss_fn(predicts, y)
    grads = loss_fn.backward_inputs().clone()
    loss_fn.backward()
    assert torch.equal(loss_fn.backward_inputs(), grads)
    assert torch.equal(predicts, before[0])
    assert torch.equal(y, before[1])
    loss = loss_fn.outputs
    assert torch.equal(loss_fn(predicts, y.numpy()), loss)
    assert torch.equal(loss_fn.forward(predicts, loss_fn.labels), loss)


@every_loss
def test_every_loss_refuses_what_is_no_label_for_its_predictions(make, head, label, torchs):
    model, z = Sequential(head()), torch.randn(7, 4)
    loss_fn, y, predicts = make(model), label(z), model(z)
    for unfit in (y[:-1], y[None], torch.ones(7, 1), torch.ones(4, 7)):
        with pytest.raises(ValueError, match=f"{make.__name__}: labels have shape") as error:
            loss_fn(predicts, unfit)
        assert str(list(unfit.shape)) in str(error.value)
    with pytest.raises(TypeError, match=r"labels are (torch\.)?complex64"):
        loss_fn(predicts, y + 0j)
    with pytest.raises(ValueError, match="at least one row"):
        loss_fn(predicts[:0], y[:0])
    with pytest.raises(NonFiniteError, match=r"predictions\[0, 0\] is nan"):
        loss_fn(predicts * torch.nan, y)
    with pytest.raises(RuntimeError, match="needs a model"):
        make().backward()
    with pytest.raises(RuntimeError, match=f"{make.__name__}: backward before forward"):
        make(model).backward()


@pytest.mark.parametrize(
    ("make", "y", "said"),
    [
        (
            MeanSquaredErrorLoss,
            [[0.0], [torch.nan], [1]],
            r"labels\[1, 0\] is nan \(1 of 3 .* not f",
        ),
        (HalfSquaredErrorLoss, [[torch.inf], [0], [1]], r"labels\[0, 0\] is inf"),
        (HingeLoss, [[1], [2], [1]], r"labels\[1, 0\] is 2 \(1 of 3 values neither -1, 0 nor 1"),
        (HingeLoss, [[1], [0], [-1]], r"labels\[1, 0\] is 0 where others are -1"),
    ],
)
def test_values_that_are_no_labels_are_named(make, y, said):
    with pytest.raises(ValueError, match=said):
        make()(torch.zeros(3, 1), y)


def test_the_hinge_takes_0_for_minus_1_and_has_slope_0_at_its_kink():
    s = torch.tensor([[1.0], [-1.0], [0.5], [torch.inf], [-torch.inf]])
    loss_fn, twin = HingeLoss(), HingeLoss()
    assert loss_fn(s, [[1], [0], [0], [1], [0]]) == twin(s, [[1], [-1], [-1], [1], [-1]]) == 0.3
    assert loss_fn.labels.flatten().tolist() == [1, -1, -1, 1, -1]
    assert loss_fn.backward_inputs().flatten().tolist() == pytest.approx([0, 0, 0.2, 0, 0])


def test_half_the_squared_error_is_half():
    p, y = torch.randn(5, 2), torch.randn(5, 2)
    whole, half = MeanSquaredErrorLoss(), HalfSquaredErrorLoss()
    assert half(p, y) == whole(p, y) / 2
    assert torch.equal(half.backward_inputs(), whole.backward_inputs() / 2)


# --- weights of rows


@pytest.mark.parametrize(
    "case", [c for c in LOSS_CASES if "weighted" in c.name], ids=lambda c: c.name
)
def test_a_weight_says_how_often_a_row_is_there(case):
    model, X = model_of(case), torch.randn(6, 3, dtype=torch.float64)
    y, times = case.labels(model(X))[:, :-1], torch.tensor([2, 0, 1, 1, 3, 0])
    weighted = case.make(model)
    loss = weighted(model(X), torch.cat([y, (times / times.double().mean())[:, None]], dim=1))
    dX = weighted.backward()
    grads = [grad.clone() for grad in grads_of(model)]
    rows = torch.arange(6).repeat_interleave(times)
    close(weighted.loss(model(X[rows]), y[rows]), loss)
    repeated = weighted.loss.backward()
    close(grads, grads_of(model))
    close(dX, torch.zeros_like(X).index_add(0, rows, repeated) * len(rows) / 7)


def test_weights_of_1_change_nothing():
    model, X, y = Model_MLP_L2(2, 5, 1), torch.randn(7, 2), torch.rand(7, 1)
    plain = BinaryCrossEntropyLoss(model)
    loss, dX = plain(model(X), y), plain.backward()
    weighted = WeightedLoss(BinaryCrossEntropyLoss(model))
    assert torch.equal(weighted(model(X), torch.cat([y, torch.ones(7, 1)], 1)), loss)
    assert torch.equal(weighted.backward(), dX)


class OwnForward(MeanSquaredErrorLoss):
    """A loss that is no mean of its `losses`."""

    rowwise = True

    def forward(self, predicts, labels):
        return super().forward(predicts - 1, labels)


class Coupling(MeanSquaredErrorLoss):
    """A loss of a learner's, who does not say that it takes the rows apart."""


@pytest.mark.parametrize(
    ("refused", "error", "said"),
    [
        (lambda: WeightedLoss(torch.nn.functional.mse_loss), TypeError, "wanted a Loss"),
        (lambda: WeightedLoss(OwnForward()), ValueError, "OwnForward is no mean of losses"),
        (lambda: WeightedLoss(Coupling()), ValueError, "Coupling is no mean of losses"),
        (lambda: on_weights([[1.0]]), ValueError, r"labels are float32 \[1, 1\], wanted \[y, w\]"),
        (lambda: on_weights(1.0), ValueError, r"labels are float32 \[\], wanted \[y, w\]"),
        (
            lambda: on_weights([[1.0, -2.0]]),
            ValueError,
            r"weights\[0, 0\] is -2 \(1 of 1 values not",
        ),
        (lambda: on_weights([[1.0, torch.inf]]), ValueError, r"weights\[0, 0\] is inf"),
        (lambda: on_weights([[1.5, 1.0]]), ValueError, r"labels\[0, 0\] is 1.5"),
        (
            lambda: on_weights([[0, 1, 1]]),
            ValueError,
            r"labels have shape \[1, 2\], predictions \[1, 1\]",
        ),
    ],
)
def test_what_cannot_be_weighted_is_named(refused, error, said):
    with pytest.raises(error, match=said):
        refused()


def on_weights(labels):
    return WeightedLoss(BinaryCrossEntropyLoss())(torch.full((1, 1), 0.5), labels)
