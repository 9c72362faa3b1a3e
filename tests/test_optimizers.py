"""Each optimizer is torch's own, step for step; what is refused before anything has moved."""

import copy
import re

import pytest
import torch
from book import BookGD, BookModel, PlainLinear
from hypothesis import given, settings
from hypothesis import strategies as st
from witness import close

from opnet import (
    Adagrad,
    Adam,
    BatchGD,
    Linear,
    Logistic,
    Model_MLP_L2,
    Momentum,
    Op,
    Optimizer,
    RMSprop,
    Sequential,
)
from opnet.walk import state

EQUAL = [  # ours, torch's; the rules in all their own options
    (BatchGD, {}, torch.optim.SGD, {}),
    (Momentum, {}, torch.optim.SGD, {"momentum": 0.9}),
    (Momentum, {"rho": 0.5}, torch.optim.SGD, {"momentum": 0.5}),
    (Momentum, {"nesterov": True}, torch.optim.SGD, {"momentum": 0.9, "nesterov": True}),
    (Adagrad, {}, torch.optim.Adagrad, {}),
    (Adagrad, {"epsilon": 0.1}, torch.optim.Adagrad, {"eps": 0.1}),
    (RMSprop, {}, torch.optim.RMSprop, {}),
    (RMSprop, {"beta": 0.5, "epsilon": 0.1}, torch.optim.RMSprop, {"alpha": 0.5, "eps": 0.1}),
    (Adam, {}, torch.optim.Adam, {}),
    (
        Adam,
        {"beta1": 0.5, "beta2": 0.9, "epsilon": 0.1},
        torch.optim.Adam,
        {"betas": (0.5, 0.9), "eps": 0.1},
    ),
    (Adam, {"beta1": 0.0, "beta2": 0.0}, torch.optim.Adam, {"betas": (0.0, 0.0)}),
]
SHARED = [
    {},
    {"weight_decay": 0.1},
    {"weight_decay": 0.1, "decay_biases": True},
    {"decay_biases": True},
    {"clip_value": 0.5},
    {"clip_norm": 2.0},
    {"weight_decay": 0.1, "clip_value": 1.0, "clip_norm": 2.0},
]
RULES = [BatchGD, Momentum, Adagrad, RMSprop, Adam]
STATEFUL = RULES[1:]


def two_layers(sizes=(3, 4, 2), dtype=torch.float64):
    i, h, o = sizes
    return Sequential(Linear(i, h, "fc1", dtype=dtype), Logistic(), Linear(h, o, "fc2", dtype=dtype))


def draw_grads(model, scale=1.0):
    """Put new gradients into `model`; return copies."""
    grads = [grad.normal_(0, scale) for op in model.layers for grad in op.grads.values()]
    return [grad.clone() for grad in grads]


class Torch:
    """What a user of torch writes for the same options."""

    def __init__(self, kind, lr, model, arguments, options):
        self.leaves = [tensor.clone().requires_grad_() for tensor in state(model)]
        decay = options.get("weight_decay", 0.0)
        on_biases = decay if options.get("decay_biases") else 0.0
        groups = [
            {"params": self.leaves[0::2], "weight_decay": decay},
            {"params": self.leaves[1::2], "weight_decay": on_biases},
        ]
        self.optimizer, self.options = kind(groups, lr=lr, **arguments), options

    def step(self, grads):
        for leaf, grad in zip(self.leaves, grads, strict=True):
            leaf.grad = grad
        if "clip_value" in self.options:
            torch.nn.utils.clip_grad_value_(self.leaves, self.options["clip_value"])
        if "clip_norm" in self.options:
            torch.nn.utils.clip_grad_norm_(self.leaves, self.options["clip_norm"])
        self.optimizer.step()
        return [leaf.detach() for leaf in self.leaves]


# --- torch's own steps


@pytest.mark.parametrize("options", SHARED, ids=str)
@pytest.mark.parametrize(
    ("ours", "arguments", "theirs", "their_arguments"),
    EQUAL,
    ids=[f"{row[0].__name__}-{row[1]}" for row in EQUAL],
)
def test_two_hundred_steps_are_torchs(ours, arguments, theirs, their_arguments, options):
    model = two_layers()
    optimizer = ours(0.05, model, **arguments, **options)
    witness = Torch(theirs, 0.05, model, their_arguments, options)
    for i in range(200):
        grads = draw_grads(model, scale=(0.01, 1, 5)[i % 3])
        optimizer.step()
        assert all(map(torch.equal, [g for op in model.layers for g in op.grads.values()], grads))
        close(state(model), witness.step(grads))


@settings(max_examples=60, deadline=None)
@given(
    row=st.sampled_from(EQUAL),
    options=st.sampled_from(SHARED),
    sizes=st.tuples(*[st.integers(1, 7)] * 3),
    lr=st.floats(0, 2),
    scales=st.lists(st.sampled_from([0.0, 1e-150, 1e-9, 1e-3, 1.0, 1e3, 1e9]), max_size=6),
    seed=st.integers(0, 2**31),
)
def test_any_shapes_rates_and_gradients_step_as_torchs(row, options, sizes, lr, scales, seed):
    ours, arguments, theirs, their_arguments = row
    torch.manual_seed(seed)
    model = two_layers(sizes)
    optimizer = ours(lr, model, **arguments, **options)
    witness = Torch(theirs, lr, model, their_arguments, options)
    for scale in scales:
        grads = draw_grads(model, scale)
        optimizer.step()
        close(state(model), witness.step(grads))


def test_a_layer_of_nested_containers_steps_as_torchs():
    model = Sequential(Sequential(Linear(3, 4, "a"), name := Logistic()), Linear(4, 2, "a2"))
    assert name.params == {}
    params = state(model)
    leaves = [p.clone().requires_grad_() for p in params]
    ours, theirs = Adam(0.1, model), torch.optim.Adam(leaves, lr=0.1)
    for _ in range(5):
        for op in (model.layers[0].layers[0], model.layers[1]):
            for grad in op.grads.values():
                grad.normal_()
        ops = (model.layers[0].layers[0], model.layers[1])
        for leaf, grad in zip(leaves, [g for op in ops for g in op.grads.values()], strict=True):
            leaf.grad = grad.clone()
        ours.step()
        theirs.step()
    close(params, [leaf.detach() for leaf in leaves], 1e-6)
