"""Odd input that is accepted: it gives what the clean input gives, to the last bit."""

import numpy as np
import pytest
import torch
from bad_input import X, Y

from opnet import (
    BatchGD,
    BinaryCrossEntropyLoss,
    Model_MLP_L2,
    Momentum,
    accuracy,
    make_moons,
    plots,
    split,
)
from opnet.walk import state
from runners import RunnerV2_1


def read_only(values):
    array = values.numpy().copy()
    array.setflags(write=False)
    return array


def strided(values):
    """Every other column of a wider array."""
    return np.repeat(values.numpy(), 2, axis=1)[:, ::2]


def backwards(values):
    return values.numpy()[::-1].copy()[::-1]


def transposed(values):
    return values.T.contiguous().T


def wanting_grad(values):
    return values.clone().requires_grad_()


FEATURES = {
    "NumPy": lambda x: x.numpy(),
    "NumPy float64": lambda x: x.double().numpy(),
    "NumPy, read-only": read_only,
    "NumPy, not contiguous": strided,
    "NumPy, negative strides": backwards,
    "a list": lambda x: x.tolist(),
    "a Tensor, not contiguous": transposed,
    "a Tensor that requires grad": wanting_grad,
    "a Tensor in inference mode": lambda x: torch.inference_mode()(x.clone)(),
}
LABELS = FEATURES | {
    "int64": torch.Tensor.long,
    "int8": lambda y: y.to(torch.int8),
    "bool": torch.Tensor.bool,
    "float64": torch.Tensor.double,
    "NumPy int": lambda y: y.numpy().astype(int),
    "NumPy bool": lambda y: y.numpy().astype(bool),
    "a list of int": lambda y: y.long().tolist(),
}


def trained(train_set, dev_set=(X, Y), **arguments):
    """All that a short training leaves: histories, weights, the score and loss of an evaluation."""
    model = Model_MLP_L2(2, 5, 1, generator=torch.Generator().manual_seed(0))
    runner = RunnerV2_1(model, Momentum(0.5, model), accuracy, BinaryCrossEntropyLoss(model))
    runner.train(train_set, dev_set, num_epochs=4, log_epochs=0, keep="last", **arguments)
    weights = [tensor.tolist() for tensor in state(model)]
    return runner.histories, weights, runner.evaluate(train_set), runner.predict(X).tolist()


@pytest.mark.parametrize("make", FEATURES.values(), ids=FEATURES)
def test_odd_features_train_and_predict_as_clean_ones(make):
    x = make(X)
    assert trained([x, Y], [x, Y]) == trained([X, Y])
    batches = {"batch_size": 3}
    odd, clean = (
        trained([rows, Y], generator=torch.Generator().manual_seed(1), **batches) for rows in (x, X)
    )
    assert odd == clean


@pytest.mark.parametrize("make", LABELS.values(), ids=LABELS)
def test_odd_labels_train_as_clean_ones(make):
    y = make(Y)
    assert trained([X, y], [X, y]) == trained([X, Y])
    assert accuracy(Y, y) == 1


@pytest.mark.parametrize("rows", [1, 2])
@pytest.mark.parametrize("label", [0.0, 1.0])
def test_one_row_and_one_class_train(rows, label):
    x, y = X[:rows], torch.full((rows, 1), label)
    (_, train_loss, *_), *_ = trained([x, y], [x, y])
    assert train_loss == sorted(train_loss, reverse=True)
    assert trained([x.numpy(), y.bool().tolist()], [x, y]) == trained([x, y], [x, y])


def test_a_learning_rate_of_0_leaves_the_weights():
    model = Model_MLP_L2(2, 5, 1)
    before = [tensor.clone() for tensor in state(model)]
    runner = RunnerV2_1(model, BatchGD(0, model), accuracy, BinaryCrossEntropyLoss(model))
    runner.train([X, Y], [X, Y], num_epochs=3, log_epochs=0)
    assert all(map(torch.equal, state(model), before))
    assert len(set(runner.train_loss)) == 1


@pytest.mark.parametrize("as_text", [True, False])
@pytest.mark.parametrize("place", ["run", "a/b/c/d", "with space/Größe"])
def test_a_deep_save_dir_is_made_and_changes_nothing(tmp_path, place, as_text):
    directory = tmp_path / place
    assert trained([X, Y], save_dir=str(directory) if as_text else directory) == trained([X, Y])
    assert {path.name for path in directory.iterdir()} >= {"fc1.pdparams", "fc2.pdparams"}


def test_counts_and_numbers_may_be_numpys():
    few, many = np.int64(2), np.int32(3)
    clean = split(*make_moons(8, noise=0.1, seed=3), (2, 3), seed=4)
    odd = split(*make_moons(np.int64(8), noise=np.float32(0.1), seed=3), (few, many), seed=4)
    for (x, y), (odd_x, odd_y) in zip(clean, odd, strict=True):
        torch.testing.assert_close(x, odd_x, atol=1e-6, rtol=0)
        assert torch.equal(y, odd_y)


@pytest.mark.parametrize("make", FEATURES.values(), ids=FEATURES)
def test_odd_sets_are_drawn_as_clean_ones(make):
    def drawn(x, y):
        display = plots.DecisionBoundary(lambda x: x[:, :1].sigmoid(), {"a": (x, y)})
        return [part.tolist() for part in display.rows["a"]]

    assert drawn(make(X), make(Y)) == drawn(X, Y)


@pytest.mark.parametrize("values", [(1.0, 2.0), np.array([1, 2]), torch.tensor([1.0, 2.0])])
def test_odd_histories_are_drawn_as_clean_ones(values):
    lines = plots.curves({"a": [1.0, 2.0], "b": values}).axes[0].lines
    assert [list(line.get_ydata()) for line in lines] == [[1, 2], [1, 2]]
