"""opnet: neural networks whose every gradient is written by hand, and proven."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .activations import (
        ELU,
        GELU,
        HardLogistic,
        HardTanh,
        LeakyReLU,
        Logistic,
        ReLU,
        Softplus,
        Swish,
        Tanh,
    )
    from .cross_entropy import BinaryCrossEntropyLoss, CrossEntropyLoss
    from .data import make_moons, split
    from .dropout import Dropout
    from .errors import CheckpointError, NonFiniteError
    from .gradcheck import check
    from .linear import Linear
    from .losses import HalfSquaredErrorLoss, HingeLoss, MeanSquaredErrorLoss, WeightedLoss
    from .metrics import accuracy
    from .models import Model_MLP_L2
    from .normalisation import BatchNorm, LayerNorm, Rescale
    from .npy import from_npy
    from .op import Op, Sequential
    from .optimizer import Optimizer
    from .optimizers import Adagrad, Adam, BatchGD, Momentum, RMSprop
    from .paddle import load_paddle
    from .restore import load, register, save_paddle
    from .schedules import Constant, Cosine, Exponential, ReduceOnPlateau, StepDecay, WarmUp
    from .softmax import LogSoftmax, Softmax
    from .tracing import trace

_ROOMS = {
    "Adagrad": "optimizers",
    "Adam": "optimizers",
    "BatchGD": "optimizers",
    "BatchNorm": "normalisation",
    "BinaryCrossEntropyLoss": "cross_entropy",
    "CheckpointError": "errors",
    "Constant": "schedules",
    "Cosine": "schedules",
    "CrossEntropyLoss": "cross_entropy",
    "Dropout": "dropout",
    "ELU": "activations",
    "Exponential": "schedules",
    "GELU": "activations",
    "HalfSquaredErrorLoss": "losses",
    "HardLogistic": "activations",
    "HardTanh": "activations",
    "HingeLoss": "losses",
    "LayerNorm": "normalisation",
    "LeakyReLU": "activations",
    "Linear": "linear",
    "LogSoftmax": "softmax",
    "Logistic": "activations",
    "MeanSquaredErrorLoss": "losses",
    "Model_MLP_L2": "models",
    "Momentum": "optimizers",
    "NonFiniteError": "errors",
    "Op": "op",
    "Optimizer": "optimizer",
    "RMSprop": "optimizers",
    "ReLU": "activations",
    "ReduceOnPlateau": "schedules",
    "Rescale": "normalisation",
    "Sequential": "op",
    "Softmax": "softmax",
    "Softplus": "activations",
    "StepDecay": "schedules",
    "Swish": "activations",
    "Tanh": "activations",
    "WarmUp": "schedules",
    "WeightedLoss": "losses",
    "accuracy": "metrics",
    "check": "gradcheck",
    "from_npy": "npy",
    "load": "restore",
    "load_paddle": "paddle",
    "make_moons": "data",
    "register": "restore",
    "save_paddle": "restore",
    "split": "data",
    "trace": "tracing",
}
__all__ = list(_ROOMS)
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module 'opnet' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_ROOMS[name]}", "opnet"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
