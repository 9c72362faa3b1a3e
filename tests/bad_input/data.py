"""Moons, splits, mini-batches, and devices that are not there."""

from functools import partial

import numpy as np
import torch

from opnet import Linear, make_moons, split
from opnet.data import mini_batches

from .row import INF, NAN, Bad, X, Y, seeded

WHOLE = {-1: ValueError, 2.5: TypeError, "a": TypeError, True: TypeError, NAN: TypeError}


def moons_of(arguments, w):
    make_moons(**{"n_samples": 4, "seed": 0} | arguments)


def split_of(arguments, w):
    split(**{"X": X, "y": Y, "sizes": (2, 1), "seed": 0} | arguments)


def batches_of(arguments, w):
    mini_batches(**{"X": X, "y": Y, "batch_size": 2, "generator": seeded()} | arguments)


def to_moons():
    for key, value, error, said in (
        *(("n_samples", value, error, "is") for value, error in WHOLE.items()),
        *(("seed", value, error, "is") for value, error in WHOLE.items()),
        ("n_samples", 0, ValueError, "is 0, wanted a whole number >= 1"),
        ("n_samples", None, TypeError, "is None, wanted a whole number"),
        ("n_samples", (), ValueError, r"is \(\), wanted a number of rows, or one for each class"),
        ("n_samples", (1, 2, 3), ValueError, r"is \(1, 2, 3\), wanted a number of rows, or one"),
        ("n_samples", (3, "a"), TypeError, "is 'a', wanted a whole number >= 1"),
        ("shuffle", "no", TypeError, "is 'no', wanted True or False"),
        ("shuffle", 1, TypeError, "is 1, wanted True or False"),
        ("shuffle", None, TypeError, "is None, wanted True or False"),
        ("noise", NAN, ValueError, "is nan, wanted a finite number >= 0"),
        ("noise", INF, ValueError, "is inf, wanted a finite number >= 0"),
        ("noise", -0.1, ValueError, "is -0.1, wanted a finite number >= 0"),
        ("noise", "a", TypeError, "is 'a', wanted a finite number >= 0"),
        ("seed", 2**70, ValueError, "is 1180591620717411303424, wanted at most"),
    ):
        call = partial(moons_of, {key: value})
        yield Bad(f"make_moons: {key} {value!r}", call, error, f"^make_moons: {key} {said}")


def to_a_split():
    for name, key, value, error, said in (
        *((f"size {v!r}", "sizes", (2, v), error, "size is") for v, error in WHOLE.items()),
        *((f"seed {v!r}", "seed", v, error, "seed is") for v, error in WHOLE.items()),
        ("no sizes", "sizes", (), ValueError, r"sizes is \(\), wanted at least one"),
        ("a size of 0", "sizes", (2, 0), ValueError, "size is 0"),
        ("a number", "sizes", 3, TypeError, "sizes is 3, wanted a tuple"),
        ("a string", "sizes", "12", TypeError, "sizes is '12', wanted a tuple"),
        ("too large", "sizes", (4, 1), ValueError, r"sizes \(4, 1\) need 5 rows, X has 4"),
        ("a list as X", "X", X.tolist(), TypeError, "X is a list, wanted a Tensor"),
        ("NumPy as y", "y", Y.numpy(), TypeError, "y is a ndarray, wanted a Tensor"),
        ("None as y", "y", None, TypeError, "y is a NoneType, wanted a Tensor"),
        ("a number as X", "X", torch.tensor(1.0), ValueError, r"X has shape \[\], wanted rows"),
        ("a number as y", "y", torch.tensor(1.0), ValueError, r"y has shape \[\], wanted rows"),
        ("lengths", "y", Y[1:], ValueError, "X has 4 rows, y has 3"),
        ("sparse X", "X", X.to_sparse(), TypeError, "X: came sparse_coo, wanted a dense"),
        ("no values", "y", Y.to("meta"), TypeError, "y: came a meta tensor"),
    ):
        call = partial(split_of, {key: value})
        yield Bad(f"split: {name}", call, error, f"^split: {said}")


def to_batches():
    for name, key, value, error, said in (
        *((f"{v!r}", "batch_size", v, error, "batch_size is") for v, error in WHOLE.items()),
        ("0", "batch_size", 0, ValueError, "batch_size is 0, wanted a whole number >= 1"),
        ("None", "batch_size", None, TypeError, "batch_size is None"),
        ("lengths", "y", Y[1:], ValueError, r"X has shape \[4, 2\], y \[3, 1\]: rows differ"),
        ("more rows", "X", X[1:], ValueError, r"X has shape \[3, 2\], y \[4, 1\]: rows differ"),
        ("a row", "X", X[0], ValueError, r"X has shape \[2\], wanted \[..., N, features\]"),
        ("no rows", "X", X[:0], ValueError, r"X has shape \[0, 2\], wanted .* N >= 1"),
        ("a list", "X", X.tolist(), TypeError, "X is a list, wanted a Tensor"),
        ("no y", "y", None, TypeError, "y is a NoneType, wanted a Tensor"),
        ("sparse", "X", X.to_sparse(), TypeError, "X: came sparse_coo"),
        ("none", "generator", None, TypeError, "generator is None, wanted a torch.Generator"),
        ("seed", "generator", 3, TypeError, "generator is 3, wanted a torch.Generator"),
        ("NumPy's", "generator", np.random.default_rng(0), TypeError, "generator is .*, wanted"),
    ):
        call = partial(batches_of, {key: value})
        name = f"mini_batches: {key}: {name}"
        yield Bad(name, call, error, f"^mini_batches: {said}")


def to_devices():
    for device in ("xpu", "hpu", "cuda:99", "mps:7"):
        said = f"^device is '{device}': this machine or this torch has none"
        call = partial(Linear, 2, 1, "fc1", device=device)
        yield Bad(f"device {device}", lambda w, call=call: call(), ValueError, said)


DATA = [*to_moons(), *to_a_split(), *to_batches(), *to_devices()]
