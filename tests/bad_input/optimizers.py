"""Rates, models, gradients and states of optimizers; schedules."""

import torch

from opnet import (
    Adagrad,
    Adam,
    BatchGD,
    Constant,
    Cosine,
    Exponential,
    Model_MLP_L2,
    Momentum,
    ReduceOnPlateau,
    RMSprop,
    StepDecay,
    WarmUp,
)
from runners import EarlyStopping

from .row import INF, NAN, Bad, X


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
            ("too long", torch.ones(1, 6), ValueError,
             r"is float32 \[1, 6\], its param is float32 \[1, 5\]"),
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
        (StepDecay, "init_lr", {"step_size": 1}),
        (StepDecay, "gamma", {"init_lr": 1, "step_size": 1}),
        (StepDecay, "step_size", {"init_lr": 1}),
        (Exponential, "gamma", {"init_lr": 1}),
        (Cosine, "num_epochs", {"init_lr": 1}), (Cosine, "min_lr", {"init_lr": 1, "num_epochs": 1}),
        (WarmUp, "num_epochs", {"schedule": Constant(1.0)}),
        (WarmUp, "schedule", {"num_epochs": 1}),
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


OPTIMIZERS = [*to_optimizers(), *to_schedules()]
