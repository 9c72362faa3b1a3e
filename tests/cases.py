"""The table of ops: a case is a row, a law (test_laws.py) is run over every row."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F

from opnet import (
    ELU,
    GELU,
    BatchNorm,
    BinaryCrossEntropyLoss,
    CrossEntropyLoss,
    Dropout,
    HalfSquaredErrorLoss,
    HardLogistic,
    HardTanh,
    HingeLoss,
    LayerNorm,
    LeakyReLU,
    Linear,
    Logistic,
    LogSoftmax,
    MeanSquaredErrorLoss,
    Model_MLP_L2,
    ReLU,
    Rescale,
    Sequential,
    Softmax,
    Softplus,
    Swish,
    Tanh,
    WeightedLoss,
)

WIDE = {"dtype": torch.float64}


class Case(NamedTuple):
    """An op in float64 and the shape of the inputs that it takes, without batch axes."""

    name: str
    make: Callable[[], Any]
    shape: tuple[int, int]


def drawn(op):
    """`op` with weights and running statistics that are not those of the start."""
    for tensors in (op.params, op.buffers):
        for tensor in tensors.values():
            tensor.uniform_(0.5, 2)
    return op


def mixed():
    """Ops that draw, couple rows and couple columns, behind one another."""
    fc1, fc2 = Linear(3, 4, "a", **WIDE), Linear(4, 2, "b", **WIDE)
    norm = drawn(BatchNorm(4, "bn", **WIDE))
    return Sequential(fc1, norm, Tanh(), Dropout(0.3), fc2, Softmax())


CASES = [
    Case("Linear", lambda: Linear(3, 4, "fc1", **WIDE), (5, 3)),
    Case("Linear, one row", lambda: Linear(3, 4, "fc1", **WIDE), (1, 3)),
    Case("Linear, no b", lambda: Linear(3, 4, "fc1", bias_init=None, **WIDE), (5, 3)),
    Case("Linear, 1 input, many outputs", lambda: Linear(1, 130, "fc1", **WIDE), (5, 1)),
    Case("Linear, 2 inputs, many outputs", lambda: Linear(2, 130, "fc1", **WIDE), (5, 2)),
    Case("Linear, many outputs", lambda: Linear(3, 40, "fc1", **WIDE), (5, 3)),
    Case("Linear, b drawn", lambda: Linear(2, 1, "fc1", bias_init=torch.randn, **WIDE), (5, 2)),
    Case("Logistic", Logistic, (5, 3)),
    Case("Tanh", Tanh, (5, 3)),
    Case("ReLU", ReLU, (5, 3)),
    Case("LeakyReLU", LeakyReLU, (5, 3)),
    Case("LeakyReLU of 0", lambda: LeakyReLU(0), (5, 3)),
    Case("HardLogistic", HardLogistic, (5, 3)),
    Case("HardLogistic, steep", lambda: HardLogistic(0.7, -0.1), (5, 3)),
    Case("HardTanh", HardTanh, (5, 3)),
    Case("ELU", ELU, (5, 3)),
    Case("ELU of 0.3", lambda: ELU(0.3), (5, 3)),
    Case("Softplus", Softplus, (5, 3)),
    Case("Swish", Swish, (5, 3)),
    Case("Swish of 0", lambda: Swish(0), (5, 3)),
    Case("Swish of 1.7", lambda: Swish(1.7), (5, 3)),
    Case("GELU", GELU, (5, 3)),
    Case("Softmax", Softmax, (5, 3)),
    Case("LogSoftmax", LogSoftmax, (5, 3)),
    Case("LogSoftmax, one class", LogSoftmax, (5, 1)),
    Case("Dropout", lambda: Dropout(0.4), (5, 3)),
    Case("Dropout in eval mode", lambda: Dropout(0.4).eval(), (5, 3)),
    Case("LayerNorm", lambda: drawn(LayerNorm(4, **WIDE)), (5, 4)),
    Case("LayerNorm, one row", lambda: drawn(LayerNorm(4, **WIDE)), (1, 4)),
    Case("LayerNorm, one feature", lambda: drawn(LayerNorm(1, **WIDE)), (5, 1)),
    Case("BatchNorm, one row", lambda: drawn(BatchNorm(3, **WIDE)), (1, 3)),
    Case("BatchNorm", lambda: drawn(BatchNorm(3, **WIDE)), (5, 3)),
    Case("BatchNorm in eval mode", lambda: drawn(BatchNorm(3, **WIDE)).eval(), (5, 3)),
    Case("Rescale", lambda: drawn(Rescale(3, **WIDE)), (5, 3)),
    Case("Sequential of three kinds", mixed, (5, 3)),
    Case("Sequential", lambda: Sequential(Linear(3, 2, "a", **WIDE), Logistic()), (5, 3)),
    Case(
        "Sequential in a Sequential",
        lambda: Sequential(
            Sequential(Logistic(), Linear(3, 2, "a", **WIDE)), Linear(2, 2, "b", **WIDE)
        ),
        (5, 3),
    ),
    Case("Model_MLP_L2", lambda: Model_MLP_L2(2, 5, 1, **WIDE), (7, 2)),
]


class LossCase(NamedTuple):
    """A loss, the head of its model, labels for predictions, and the loss as torch has it."""

    name: str
    make: Callable[[Any], Any]
    heads: tuple[Callable[[], Any], ...]
    labels: Callable[[torch.Tensor], torch.Tensor]
    witness: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def model_of(case):
    return Sequential(Linear(3, 4, "fc1", **WIDE), *(make() for make in case.heads))


def classes(p):
    return torch.arange(len(p)) % p.shape[-1]


def shares(p):
    return torch.rand_like(p).softmax(-1)


def signs(p):
    return torch.randn_like(p).sign()


def weighted(loss):
    return lambda model: WeightedLoss(loss(model))


def with_weights(labels):
    """Labels that carry a weight for each row, 0 for one of three, in a last column."""
    return lambda p: torch.cat([y := labels(p).to(p), weights_like(y)], dim=-1)


def weights_like(y):
    return torch.arange(len(y)).remainder(3).mul(torch.rand(len(y))).to(y).reshape(-1, 1)


def by_weight(losses):
    return lambda p, y: (losses(p, y[:, :-1]).reshape(len(y), -1) * y[:, -1:]).mean()


def cross_entropies(p, y):
    return F.cross_entropy(p, y, reduction="none")


LOSS_CASES = [
    LossCase(
        "binary", BinaryCrossEntropyLoss, (Logistic,), torch.rand_like, F.binary_cross_entropy
    ),
    LossCase("squares", MeanSquaredErrorLoss, (), torch.randn_like, F.mse_loss),
    LossCase(
        "half squares",
        HalfSquaredErrorLoss,
        (Tanh,),
        torch.randn_like,
        lambda p, y: F.mse_loss(p, y) / 2,
    ),
    LossCase("hinge", HingeLoss, (), signs, lambda s, t: F.relu(1 - t * s).mean()),
    LossCase("logits", CrossEntropyLoss, (), classes, F.cross_entropy),
    LossCase("soft labels", CrossEntropyLoss, (), shares, F.cross_entropy),
    LossCase(
        "probabilities",
        CrossEntropyLoss,
        (Softmax,),
        classes,
        lambda p, y: F.nll_loss(p.log(), y),
    ),
    LossCase("logs", CrossEntropyLoss, (LogSoftmax,), classes, F.nll_loss),
    LossCase(
        "weighted binary",
        weighted(BinaryCrossEntropyLoss),
        (Logistic,),
        with_weights(torch.rand_like),
        by_weight(lambda p, y: F.binary_cross_entropy(p, y, reduction="none")),
    ),
    LossCase(
        "weighted squares",
        weighted(MeanSquaredErrorLoss),
        (),
        with_weights(torch.randn_like),
        by_weight(lambda p, y: (p - y) ** 2),
    ),
    LossCase(
        "weighted hinge",
        weighted(HingeLoss),
        (),
        with_weights(signs),
        by_weight(lambda s, t: F.relu(1 - t * s)),
    ),
    LossCase(
        "weighted logits",
        weighted(CrossEntropyLoss),
        (),
        with_weights(shares),
        by_weight(cross_entropies),
    ),
    LossCase(
        "weighted probabilities",
        weighted(CrossEntropyLoss),
        (Softmax,),
        with_weights(shares),
        by_weight(lambda p, y: cross_entropies(p.log(), y)),
    ),
]

# logits at which p has and has not rounded to 0 or 1, with each label
LOGITS = [0.0, 1e-8, -1e-8, 17.0, -17.0, 20.0, -20.0, 90.0, -90.0, 1e4, -1e4]
