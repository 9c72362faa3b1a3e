"""The first op whose output, or whose gradient, is not finite: ops and models of every style."""

import numpy as np
import pytest
import torch
from sound_ops import SlottedSquare
from test_diagnosis import Whole, job
from test_ranks import drawn, moons

from opnet import (
    BinaryCrossEntropyLoss,
    Linear,
    Logistic,
    MeanSquaredErrorLoss,
    Sequential,
    from_npy,
)
from opnet.data import as_rows
from opnet.nonfinite import first_bad_gradient, first_bad_output
from opnet.walk import state


class Stubborn(Linear):
    """It takes no more than 64 rows, and no bad ones."""

    def forward(self, *, inputs):
        if len(inputs) > 64 or not inputs.isfinite().all():
            raise ValueError("wanted other rows")
        return super().forward(inputs)


class Own(Sequential):
    """A model that walks its own way, through an op without a __dict__ and one that is frozen."""

    def __init__(self, spoilt):
        self.spoilt = spoilt
        super().__init__(
            Linear(2, 3, "fc1", generator=drawn()),
            SlottedSquare(),
            Frozen(3, 1, "fc2"),
            Stubborn(1, 1, "fc3"),
        )

    def forward(self, inputs):
        for layer in self.layers[:-1]:
            inputs = layer.forward(inputs)
        return self.layers[-1].forward(inputs=inputs)

    def backward(self, grads):
        for place, layer in reversed([*enumerate(self.layers)]):
            grads = layer.backward(grads * (torch.nan if place == self.spoilt else 1))


class Frozen(Linear):
    """Its gradients are of no interest, and bad from the start."""

    def __init__(self, *args):
        super().__init__(*args, generator=drawn())
        self.grads["W"].fill_(torch.nan)

    def backward_params(self, grads):
        pass


@pytest.mark.parametrize("size", [None, 7])
@pytest.mark.parametrize(("spoilt", "said"), [(0, "fc1"), (1, "fc2"), (3, "fc3"), (None, None)])
def test_what_no_op_has_done_is_said_of_the_first_one_that_meets_it(spoilt, said, size):
    model = Own(spoilt)
    X, y = (part[:60] for part in moons()[0])
    found = first_bad_gradient(model, MeanSquaredErrorLoss(model), X, y, size)
    if spoilt == 1:
        assert found == "in the gradient that 'fc1' is given"  # the op between cannot be watched
    else:
        assert found == (said and f"in the gradient that {said!r} is given")


class InTraining(Whole):
    """Its derivative is bad where rows are trained on."""

    def backward(self, grads):
        return super().backward(grads * (torch.nan if self.training else 1))


def test_the_walk_back_is_that_of_a_training_also_through_rows_on_disk(tmp_path):
    X, y = moons()[0]
    np.save(tmp_path / "X.npy", X.numpy())
    model = Sequential(Linear(2, 1, "fc1"), InTraining("here"), Logistic())
    for rows in (X, from_npy(tmp_path / "X.npy")):
        row_set = as_rows("train_set", [rows, y], X)
        found = first_bad_gradient(model.eval(), BinaryCrossEntropyLoss(model), *row_set, 50)
        assert found == "in the gradient of 'here'"


@pytest.mark.parametrize("size", [None, 64])
def test_nothing_is_found_where_all_is_finite_and_nothing_is_left_behind(size):
    runner, _ = job("fc1", "")
    model, loss_fn, (X, y) = runner.model, runner.loss_fn, moons()[0]
    parts = [model, loss_fn, *model.layers]
    before = [vars(part).copy() for part in parts]
    weights = [tensor.clone() for tensor in state(model)]
    assert first_bad_output(model, loss_fn, X, y, size) is None
    assert first_bad_gradient(model, loss_fn, X, y, size) is None
    assert all(map(torch.equal, weights, state(model)))
    assert [vars(part) for part in parts] == before
