"""Labels, predictions and models of losses and metrics."""

import numpy as np
import torch

from opnet import (
    BinaryCrossEntropyLoss,
    CrossEntropyLoss,
    HalfSquaredErrorLoss,
    HingeLoss,
    MeanSquaredErrorLoss,
    Model_MLP_L2,
    NonFiniteError,
    accuracy,
)

from .row import INF, NAN, Bad, P, X, Y


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
        ("dates", np.array([["2020-01-01"]] * 4, dtype="M8[D]"), TypeError,
         "labels is a ndarray, wanted a Tensor or"),
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
        ("too high", torch.tensor([0, 1, 2, 3]), ValueError,
         r"labels\[3\] is 3 \(1 of 4 values outside 0 to 2\)"),
        ("from 1 on", torch.tensor([1, 2, 3, 1]), ValueError, "write y - 1"),
        ("negative", [0, 1, -1, 0], ValueError, r"labels\[2\] is -1"),
        ("real indices", torch.zeros(4), TypeError, r"wanted whole numbers: .long\(\)"),
        ("[N, 1]", torch.zeros(4, 1).long(), ValueError,
         r"have shape \[4, 1\], wanted class indices \[4\]"),
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


LOSSES = [*to_losses(), *to_metrics()]
