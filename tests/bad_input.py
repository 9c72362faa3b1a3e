# ruff: noqa: E501 - a row is a line
"""Bad input to ops, losses, metric, optimizers: a row is a call and what it is told."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch

from opnet import (
    ELU,
    GELU,
    Adagrad,
    Adam,
    BatchGD,
    BatchNorm,
    BinaryCrossEntropyLoss,
    Constant,
    Cosine,
    CrossEntropyLoss,
    Dropout,
    Exponential,
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
    Momentum,
    ReduceOnPlateau,
    ReLU,
    RMSprop,
    Sequential,
    Softmax,
    Softplus,
    StepDecay,
    Swish,
    Tanh,
    WarmUp,
    accuracy,
)
from runners import EarlyStopping

NAN, INF = math.nan, math.inf
X = torch.tensor([[0.5, -1.0], [2.0, 0.0], [-0.5, 1.5], [1.0, 1.0]])
Y = torch.tensor([[0.0], [1.0], [1.0], [0.0]])
P = torch.full((4, 1), 0.5)


class Bad(NamedTuple):
    """A call on a world (test_bad_input.py), the error it must end in, what that must say."""

    name: str
    call: Callable[[Any], Any]
    error: type[Exception]
    said: str


def seeded():
    return torch.Generator().manual_seed(0)


def to_an_op():
    """Inputs that are no [..., N, 2] of float32, and upstream gradients that are not [4, .]."""
    for make in (
        lambda: Linear(2, 3, "op", generator=seeded()),
        lambda: LayerNorm(2, "op"),
        lambda: BatchNorm(2, "op"),
    ):
        kind = f"{type(make()).__name__} 'op': inputs"
        for name, x, error, said in (
            ("columns", torch.ones(4, 3), ValueError, "have 3 columns, W wants 2"),
            ("a row", X[0], ValueError, r"are float32 \[2\], wanted .*reshape"),
            ("a number", torch.tensor(1.0), ValueError, r"are float32 \[\], wanted"),
            ("int64", X.long(), TypeError, r"are torch.int64, W is torch.float32: .to\("),
            ("bool", X > 0, TypeError, "are torch.bool, W is torch.float32"),
            ("float64", X.double(), TypeError, "are torch.float64, W is torch.float32"),
            ("complex", X.cfloat(), TypeError, "are torch.complex64, W is"),
            ("NumPy", X.numpy(), TypeError, "are a ndarray, wanted a Tensor"),
            ("a list", X.tolist(), TypeError, "are a list, wanted a Tensor"),
            ("a string", "ab", TypeError, "are a str, wanted a Tensor"),
            ("None", None, TypeError, "are a NoneType, wanted a Tensor"),
            ("sparse", X.to_sparse(), TypeError, "came sparse_coo, wanted a dense"),
            ("device", X.to("meta"), ValueError, "are on meta, W is on cpu"),
        ):
            yield Bad(f"{kind} {name}", lambda w, m=make, x=x: m()(x), error, kind + ".*" + said)
    for make in (
        *(Logistic, Tanh, ReLU, LeakyReLU, ELU, Softplus, Swish, GELU, HardTanh, HardLogistic),
        *(Softmax, LogSoftmax),
    ):
        for came, x in {
            "list": [[1.0]],
            "str": "a",
            "NoneType": None,
            "sparse_coo": X.to_sparse(),
        }.items():
            said = f"^{make.__name__}: inputs: came (a )?{came}, wanted a"
            yield Bad(f"{make.__name__}: {came}", lambda w, m=make, x=x: m()(x), TypeError, said)
    for make in (
        lambda: Linear(2, 2, "op", generator=seeded()),
        Tanh,
        Softmax,
        lambda: LayerNorm(2),
        lambda: Model_MLP_L2(2, 3, 2, generator=seeded()),
    ):
        who = type(make()).__name__
        yield Bad(
            f"{who}: no forward",
            lambda w, m=make: m().backward(X),
            RuntimeError,
            "backward before forward",
        )
        for name, g, error, said in (
            ("shape", torch.ones(4, 7), ValueError, r"is float32 \[4, 7\], wanted float32 \[4, 2\]"),
            ("a column", torch.ones(4, 1), ValueError, r"is float32 \[4, 1\], wanted float32 \[4, 2\]"),
            ("float64", X.double(), ValueError, r"is float64 \[4, 2\], wanted float32 \[4, 2\]"),
            ("a list", [[1.0]], TypeError, ": came a list, wanted a Tensor"),
            ("None", None, TypeError, ": came a NoneType, wanted a Tensor"),
            ("a string", "a", TypeError, ": came a str, wanted a Tensor"),
        ):  # fmt: skip
            yield Bad(
                f"{who}: grads {name}",
                lambda w, m=make, g=g: sent_back(m(), g),
                error,
                f"{who}.*: upstream gradient {said}".replace("t :", "t:"),
            )


def sent_back(op, grads):
    op(X)
    op.backward(grads)


def to_construction():
    whole = {
        0: ValueError,
        -1: ValueError,
        2.5: TypeError,
        "2": TypeError,
        True: TypeError,
        None: TypeError,
    }
    for size, error in whole.items():
        said = f"size is {size!r}, wanted a whole number >= 1"
        yield Bad(
            f"Linear({size!r}, 1)", lambda w, s=size: Linear(s, 1), error, f"Linear: input_{said}"
        )
        yield Bad(
            f"Linear(1, {size!r})", lambda w, s=size: Linear(1, s), error, f"Linear: output_{said}"
        )
        yield Bad(
            f"Model_MLP_L2, {size!r}",
            lambda w, s=size: Model_MLP_L2(2, s, 1),
            error,
            f"'fc1': output_{said}",
        )
    for name in ("", "a/b", "../x", ".a", "a b", "a\n", "é", "x" * 300):
        yield Bad(
            f"name {name[:9]!r}",
            lambda w, n=name: Linear(2, 1, n),
            ValueError,
            "^Linear: name is '.*', wanted 1 to 100 of A-Z",
        )
    for name in (3, b"a", ["a"]):
        yield Bad(
            f"name {name!r}",
            lambda w, n=name: Tanh(n),
            TypeError,
            "^Tanh: name is .*, wanted a string",
        )
    rows = [
        ("weight_init", 3, TypeError, "weight_init is 3, wanted a callable"),
        ("bias_init", 3, TypeError, "initialiser of b is 3, wanted a callable"),
        ("weight_init", lambda s: torch.ones(1), ValueError, r"of W returned float32 \[1\], wanted shape \[2, 3\]"),
        ("bias_init", lambda s: torch.ones(3), ValueError, r"of b returned float32 \[3\], wanted shape \[1, 3\]"),
        ("weight_init", lambda s: [1], TypeError, "returned a list, wanted a Tensor"),
        ("weight_init", lambda s: torch.ones(s).long(), TypeError, r"returned int64 .*floating point"),
        ("weight_init", lambda s: torch.ones(s).to_sparse(), TypeError, "came sparse_coo, wanted a dense"),
        ("generator", 7, TypeError, "generator is 7, wanted a torch.Generator"),
        ("device", "gpu", ValueError, "device is 'gpu', wanted auto, cpu"),
        ("device", [1], TypeError, r"device is \[1\], wanted a string"),
        ("dtype", "float64", TypeError, "dtype is 'float64', wanted floating point"),
        ("dtype", torch.int64, TypeError, "dtype is torch.int64, wanted floating point"),
    ]  # fmt: skip
    for key, value, error, said in rows:
        yield Bad(
            f"Linear, {key}: {said}",
            lambda w, k=key, v=value: Linear(2, 3, "fc1", **({"generator": seeded()} | {k: v})),
            error,
            said,
        )
    for target in (None, float, "gpu", torch.int64):
        yield Bad(
            f"to({target})", lambda w, t=target: w.model.to(t), (TypeError, ValueError), "wanted"
        )
    same = Tanh()
    for name, layers, error, said in (
        ("no layers", (), ValueError, "has no layers, wanted at least one op"),
        ("one name", (Linear(2, 2, "a"), Tanh(), Linear(2, 2, "a")), ValueError, "layers 0 and 2 are both named 'a'"),
        ("one name but for case", (Linear(2, 2, "a"), Linear(2, 2, "A")), ValueError, "layers 0 and 1 are both named 'A'"),
        ("one op twice", (same, same), ValueError, "Tanh.* stands in two places"),
        ("a class", (Linear,), TypeError, "layer 0 is the class Linear, wanted an op of it"),
        ("a number", (Tanh(), 3), TypeError, r"layer 1 \(int\) has no forward, wanted an op"),
        ("a list", ([Tanh()],), TypeError, r"layer 0 \(list\) has no forward"),
        ("a function", (torch.tanh,), TypeError, "has no forward"),
        ("no backward", (torch.nn.Linear(2, 2),), TypeError, r"layer 0 \(Linear\) has no backward"),
    ):  # fmt: skip
        yield Bad(f"Sequential: {name}", lambda w, a=layers: Sequential(*a), error, said)
    numbers = [
        (LeakyReLU, "negative_slope", ">= 0"), (ELU, "alpha", ">= 0"), (Swish, "beta", ">= 0"),
        (HardLogistic, "slope", "> 0"), (Dropout, "p", "0 <= p < 1"),
    ]  # fmt: skip
    for make, key, wanted in numbers:
        for value, error in {
            -1: ValueError,
            NAN: ValueError,
            INF: ValueError,
            "1": TypeError,
            None: TypeError,
            True: TypeError,
        }.items():
            yield Bad(
                f"{make.__name__}, {key} {value!r}",
                lambda w, m=make, k=key, v=value: m(**{k: v}),
                error,
                f"{make.__name__}: {key} is .*, wanted .*{wanted}",
            )


def to_losses():
    binary = [
        ("[N]", Y[:, 0], ValueError, r"labels have shape \[4\], predictions \[4, 1\]"),
        ("[1, N]", Y.T, ValueError, r"labels have shape \[1, 4\], predictions \[4, 1\]"),
        ("[N-1, 1]", Y[1:], ValueError, r"labels have shape \[3, 1\], predictions \[4, 1\]"),
        ("[N, 2]", Y.expand(4, 2), ValueError, r"labels have shape \[4, 2\], predictions \[4, 1\]"),
        ("a number", torch.tensor(1.0), ValueError, r"labels have shape \[\], predictions"),
        ("nan", Y * NAN, ValueError, r"labels\[0, 0\] is nan \(4 of 4 values"),
        ("a string", "ab", TypeError, "labels is a str, wanted a Tensor or an array of numbers"),
        ("None", None, TypeError, "labels is a NoneType, wanted a Tensor"),
        ("strings", np.array([["a"]] * 4), TypeError, "labels is a ndarray, wanted"),
        ("ragged", [[1], [1, 2]], TypeError, "labels is a list, wanted"),
        ("too large", [[2**70]] * 4, TypeError, "labels is a list, wanted"),
        ("dates", np.array([["2020-01-01"]] * 4, dtype="M8[D]"), TypeError, "labels is a ndarray, wanted a Tensor or"),
        ("complex", Y.cfloat(), TypeError, "labels are .*complex64, wanted real numbers"),
        ("sparse", Y.to_sparse(), TypeError, "labels: came sparse_coo, wanted a dense Tensor"),
        ("no values", Y.to("meta"), TypeError, "labels: came a meta tensor, wanted one that holds"),
    ]  # fmt: skip
    for make in (BinaryCrossEntropyLoss, MeanSquaredErrorLoss, HalfSquaredErrorLoss, HingeLoss):
        for name, labels, error, said in binary:
            yield Bad(
                f"{make.__name__}: labels {name}",
                lambda w, m=make, y=labels: m()(P, y),
                error,
                f"^{make.__name__}: {said}",
            )
    losses = (
        BinaryCrossEntropyLoss,
        MeanSquaredErrorLoss,
        HalfSquaredErrorLoss,
        HingeLoss,
        CrossEntropyLoss,
    )
    from opnet import NonFiniteError

    for make in losses:
        for name, p, error, said in (
            ("a list", [[0.5]], TypeError, "are a list, wanted a Tensor"),
            ("NumPy", P.numpy(), TypeError, "are a ndarray, wanted a Tensor"),
            ("int64", P.long(), TypeError, r"are int64 \[4, 1\], wanted floating point"),
            ("bool", P > 0, TypeError, r"are bool \[4, 1\], wanted floating point"),
            ("complex", P.cfloat(), TypeError, r"are complex64 \[4, 1\], wanted floating point"),
            ("sparse", P.to_sparse(), TypeError, ": came sparse_coo, wanted a dense"),
            ("no values", P.to("meta"), TypeError, ": came a meta tensor"),
            ("nan", P * NAN, NonFiniteError, r"\[0, 0\] is nan"),
        ):  # fmt: skip
            yield Bad(
                f"{make.__name__}: predictions {name}",
                lambda w, m=make, p=p: m()(p, Y),
                error,
                f"^{make.__name__}: predictions ?{said}",
            )
        for model in (3, "m", [1], Model_MLP_L2):
            yield Bad(
                f"{make.__name__}({model})",
                lambda w, m=make, model=model: m(model),
                TypeError,
                f"^{make.__name__}: model is .*, wanted a model",
            )
        yield Bad(
            f"{make.__name__}: no model",
            lambda w, m=make: lost(m),
            RuntimeError,
            "backward needs a model",
        )
    mend = {
        "-1, 1": (2 * Y - 1, r"is -1 .*\(y \+ 1\) / 2"),
        "1, 2": (Y + 1, "is 2 .*write y - 1"),
        "inf": (Y + INF, "is inf .*outside"),
    }
    for name, (labels, said) in mend.items():
        yield Bad(f"labels {name}", lambda w, y=labels: w.loss(w.model(X), y), ValueError, said)
    yield Bad("hinge 1, 2", lambda w: HingeLoss()(P, Y + 1), ValueError, r"labels\[\d, 0\] is 2")
    C = torch.ones(4, 3) / 3
    for name, labels, error, said in (
        ("too high", torch.tensor([0, 1, 2, 3]), ValueError, r"labels\[3\] is 3 \(1 of 4 values outside 0 to 2\)"),
        ("from 1 on", torch.tensor([1, 2, 3, 1]), ValueError, "write y - 1"),
        ("negative", [0, 1, -1, 0], ValueError, r"labels\[2\] is -1"),
        ("real indices", torch.zeros(4), TypeError, r"wanted whole numbers: .long\(\)"),
        ("[N, 1]", torch.zeros(4, 1).long(), ValueError, r"have shape \[4, 1\], wanted class indices \[4\]"),
        ("sums", torch.ones(4, 3), ValueError, r"sum of labels\[0\] is 3"),
        ("shares", C * NAN, ValueError, r"labels\[0, 0\] is nan"),
        ("strings", list("abca"), TypeError, "labels is a list, wanted"),
        ("sparse", C.to_sparse(), TypeError, "labels: came sparse_coo"),
    ):  # fmt: skip
        yield Bad(
            f"classes: {name}",
            lambda w, y=labels: CrossEntropyLoss()(C, y),
            error,
            f"^CrossEntropyLoss: .*{said}",
        )
    none = torch.ones(0, 1)
    for make in losses[:4]:
        yield Bad(
            f"{make.__name__}: no rows",
            lambda w, m=make: m()(none, none),
            ValueError,
            "wanted at least one row",
        )


def lost(make):
    p = torch.full((4, 2), 0.5)
    loss = make()
    loss(p, torch.full((4, 2), 0.5) if make is not HingeLoss else p.ceil())
    loss.backward()


def to_metrics():
    for name, p, y, error, said in (
        ("[N]", P, Y[:, 0], ValueError, r"labels have shape \[4\], predictions \[4, 1\]"),
        ("[1, N]", P, Y.T, ValueError, r"labels have shape \[1, 4\], predictions \[4, 1\]"),
        ("no rows", P[:0], Y[:0], ValueError, r"labels have shape \[0, 1\]"),
        ("a string", P, "ab", TypeError, "labels is a str, wanted"),
        ("predicted strings", "ab", Y, TypeError, "predictions is a str, wanted"),
        ("nothing predicted", None, Y, TypeError, "predictions is a NoneType, wanted"),
        ("sparse labels", P, Y.to_sparse(), TypeError, "labels: came sparse_coo"),
        ("sparse predictions", P.to_sparse(), Y, TypeError, "predictions: came sparse_coo"),
        ("complex labels", P, Y.cfloat(), TypeError, "labels are torch.complex64, wanted real"),
        ("complex", P.cfloat(), Y, TypeError, "predictions are torch.complex64, wanted real"),
        ("no values", P.to("meta"), Y, TypeError, "predictions: came a meta tensor"),
    ):  # fmt: skip
        yield Bad(
            f"accuracy: {name}", lambda w, p=p, y=y: accuracy(p, y), error, f"^accuracy: {said}"
        )
    for value, error in {
        NAN: ValueError,
        INF: ValueError,
        "0": TypeError,
        None: TypeError,
        True: TypeError,
    }.items():
        yield Bad(
            f"accuracy: threshold {value!r}",
            lambda w, v=value: accuracy(P, Y, threshold=v),
            error,
            "^accuracy: threshold is",
        )


def to_optimizers():
    bad = {
        NAN: ValueError,
        INF: ValueError,
        -1: ValueError,
        "0.2": TypeError,
        None: TypeError,
        True: TypeError,
    }
    own = {
        BatchGD: (),
        Momentum: ("rho",),
        Adagrad: ("epsilon",),
        RMSprop: ("beta", "epsilon"),
        Adam: ("beta1", "beta2", "epsilon"),
    }
    for make, keys in own.items():
        who = make.__name__
        for value, error in bad.items():
            yield Bad(
                f"{who}: lr {value!r}",
                lambda w, m=make, v=value: m(v, w.model),
                error,
                f"^{who}: init_lr is .*, wanted a finite number >= 0",
            )
            for key in ("weight_decay", "clip_value", "clip_norm", *keys):
                if value is not None or key[:4] != "clip":
                    yield Bad(
                        f"{who}: {key} {value!r}",
                        lambda w, m=make, k=key, v=value: m(0.1, w.model, **{k: v}),
                        error,
                        f"^{who}: {key} is .*, wanted",
                    )
        yield Bad(
            f"{who}: decay_biases",
            lambda w, m=make: m(0.1, w.model, decay_biases=1),
            TypeError,
            "decay_biases is 1, wanted True or False",
        )
        for model in (None, 3, "m", [1], Model_MLP_L2):
            yield Bad(
                f"{who}: model {model}",
                lambda w, m=make, model=model: m(0.1, model),
                TypeError,
                f"^{who}: model is .*, wanted",
            )
        b = torch.ones(1, 5)
        for name, grad, error, said in (
            ("missing", None, ValueError, "is missing, its param is float32"),
            ("too long", torch.ones(1, 6), ValueError, r"is float32 \[1, 6\], its param is float32 \[1, 5\]"),
            ("too high", torch.ones(2, 5), ValueError, r"is float32 \[2, 5\], its param is"),
            ("complex", b.cfloat(), ValueError, r"is complex64 \[1, 5\], its param is float32"),
            ("sparse", b.to_sparse(), ValueError, r"is float32 \[1, 5\] \(sparse\), its param is"),
            ("elsewhere", b.to("meta"), ValueError, r"is float32 \[1, 5\] on meta, its param is"),
            ("NumPy", b.numpy(), TypeError, "is a ndarray, wanted a Tensor"),
            ("a list", b.tolist(), TypeError, "is a list, wanted a Tensor"),
        ):  # fmt: skip
            yield Bad(
                f"{who}: gradient {name}",
                lambda w, m=make, g=grad: stepped(m(0.1, w.model), g),
                error,
                f"^{who}: gradient 'b' of 'fc1' {said}",
            )
    yield Bad(
        "Momentum: nesterov",
        lambda w: Momentum(0.1, w.model, nesterov="no"),
        TypeError,
        "nesterov is 'no', wanted True or False",
    )
    yield Bad(
        "a state of another",
        lambda w: w.optimizer.load_state({"fc1.W.mean": X}),
        ValueError,
        "^Momentum: state: ",
    )


def stepped(optimizer, grad):
    """A step with one bad gradient behind good ones."""
    fc1 = optimizer.model.fc1
    fc1.grads = {"W": torch.ones(2, 5), "b": grad}
    optimizer.step()


def to_schedules():
    number = {NAN: ValueError, -1: ValueError, "1": TypeError, None: TypeError}
    for make, key, good in (
        (Constant, "init_lr", {}),
        (StepDecay, "init_lr", {"step_size": 1}), (StepDecay, "gamma", {"init_lr": 1, "step_size": 1}),
        (StepDecay, "step_size", {"init_lr": 1}),
        (Exponential, "gamma", {"init_lr": 1}),
        (Cosine, "num_epochs", {"init_lr": 1}), (Cosine, "min_lr", {"init_lr": 1, "num_epochs": 1}),
        (WarmUp, "num_epochs", {"schedule": Constant(1.0)}), (WarmUp, "schedule", {"num_epochs": 1}),
        (ReduceOnPlateau, "factor", {"init_lr": 1}), (ReduceOnPlateau, "patience", {"init_lr": 1}),
        (ReduceOnPlateau, "threshold", {"init_lr": 1}), (ReduceOnPlateau, "min_lr", {"init_lr": 1}),
        (EarlyStopping, "patience", {}), (EarlyStopping, "min_delta", {"patience": 1}),
    ):  # fmt: skip
        for value in number:
            yield Bad(
                f"{make.__name__}, {key} {value!r}",
                lambda w, m=make, k=key, v=value, g=good: m(**g, **{k: v}),
                (ValueError, TypeError),
                f"^{make.__name__}: {key} is .*, wanted",
            )


BAD = [
    *to_an_op(),
    *to_construction(),
    *to_losses(),
    *to_metrics(),
    *to_optimizers(),
    *to_schedules(),
]
