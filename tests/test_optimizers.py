"""Gradient descent: torch's own step, and what is refused before anything has moved."""

import pytest
import torch
from witness import close

from opnet import BatchGD, Linear, Model_MLP_L2, Optimizer, Sequential
from opnet.walk import state


def test_batch_gd_equals_torch_optim_step_for_step():
    model = Model_MLP_L2(2, 5, 1, dtype=torch.float64)
    leaves = [tensor.clone().requires_grad_() for tensor in state(model)]
    ours, theirs = BatchGD(0.1, model), torch.optim.SGD(leaves, lr=0.1)
    for _ in range(20):
        for layer in (model.fc1, model.fc2):
            for grad in layer.grads.values():
                grad.normal_()
        grads = [layer.grads[key] for layer in (model.fc1, model.fc2) for key in ("W", "b")]
        for leaf, grad in zip(leaves, grads, strict=True):
            leaf.grad = grad.clone()
        ours.step()
        theirs.step()
        close(state(model), [leaf.detach() for leaf in leaves])


def test_before_the_first_backward_a_step_changes_nothing():
    model = Model_MLP_L2(2, 5, 1)
    before = [tensor.clone() for tensor in state(model)]
    BatchGD(1.0, model).step()
    assert all(map(torch.equal, state(model), before))


def test_lr_is_the_current_rate_and_init_lr_stays():
    model = Sequential(Linear(1, 1, "fc1", torch.ones))
    optimizer = BatchGD(0.5, model)
    model.layers[0].grads["W"].fill_(1)
    optimizer.lr = 0.25
    optimizer.step()
    assert model.layers[0].params["W"].item() == 0.75
    assert optimizer.init_lr == 0.5


@pytest.mark.parametrize("lr", [float("nan"), float("inf"), -0.1, 10**400])
def test_a_rate_out_of_range_is_refused(lr):
    with pytest.raises(ValueError, match=r"BatchGD: init_lr is .* finite number >= 0"):
        BatchGD(lr, Model_MLP_L2(2, 5, 1))


@pytest.mark.parametrize("lr", ["0.2", None, True, torch.tensor([0.1, 0.2])])
def test_a_rate_that_is_no_number_is_refused(lr):
    with pytest.raises(TypeError, match="BatchGD: init_lr is"):
        BatchGD(lr, Model_MLP_L2(2, 5, 1))


@pytest.mark.parametrize(
    ("grads", "said"),
    [
        (
            {"W": torch.ones(5, 1)},
            r"gradient 'b' of 'fc2' is missing, its param is float32 \[1, 1\]",
        ),
        ({"W": torch.ones(3), "b": torch.ones(1)}, r"'W' of 'fc2' is float32 \[3\], its param"),
        ({"W": torch.ones(2, 5, 1), "b": torch.ones(1)}, r"'W' of 'fc2' is float32 \[2, 5, 1\]"),
    ],
)
def test_a_gradient_that_does_not_fit_is_named_and_nothing_has_moved(grads, said):
    model = Model_MLP_L2(2, 5, 1)
    model.fc1.grads["W"].fill_(1)
    model.fc2.grads = grads
    before = [tensor.clone() for tensor in state(model)]
    with pytest.raises(ValueError, match=said):
        BatchGD(1.0, model).step()
    assert all(map(torch.equal, state(model), before))


def test_an_optimizer_wants_a_model():
    with pytest.raises(TypeError, match="BatchGD: model is None"):
        BatchGD(0.1, None)


def test_an_optimizer_without_a_step_says_so():
    with pytest.raises(NotImplementedError, match="Optimizer: has no step"):
        Optimizer(0.1, Model_MLP_L2(2, 5, 1)).step()
