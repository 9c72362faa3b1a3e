"""Data sets as float32 tensors, their split into train, dev and test rows, and mini-batches."""

import logging
import secrets
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .errors import check_count, check_flag, check_rate
from .npy import from_npy  # noqa: F401  opnet.data.from_npy
from .rows import Source, as_labels, is_source
from .rows import as_features as as_source
from .tensors import as_tensor, check_dense, check_finite

Rows = list[Tensor]  # [X, y]

HIGHEST_SEED = 2**32 - 1  # what scikit-learn takes

_log = logging.getLogger(__name__)


def make_moons(
    n_samples: int | tuple[int, int] = 1000,
    shuffle: bool = True,
    noise: float | None = None,
    *,
    seed: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Class 0 (cos t, sin t), class 1 (1 - cos t, 1/2 - sin t), t in [0, pi], plus N(0, noise^2).

    X [N, 2] and y [N, 1], float32, row by row those of sklearn.datasets.make_moons with
    `random_state=seed`. `n_samples` may be (n of class 0, n of class 1). `seed=None` draws one
    from fresh entropy and logs it; no global random state is touched.
    """
    import numpy as np
    from sklearn.datasets import make_moons as sklearn_moons

    counts = n_samples if isinstance(n_samples, tuple) else (n_samples,)
    if len(counts) not in (1, 2):
        wanted = "wanted a number of rows, or one for each class"
        raise ValueError(f"make_moons: n_samples is {n_samples!r}, {wanted}")
    for count in counts:
        check_count("make_moons: n_samples", count)
    check_flag("make_moons: shuffle", shuffle)
    if noise is not None:
        noise = check_rate("make_moons: noise", noise)
    random_state = np.random.RandomState(_seed("make_moons", seed))
    X, y = sklearn_moons(n_samples, shuffle=shuffle, noise=noise, random_state=random_state)
    return torch.from_numpy(X).float(), torch.from_numpy(y).float().reshape(-1, 1)


def split(
    X: Tensor, y: Tensor, sizes: tuple[int, ...] = (640, 160, 200), *, seed: int | None = None
) -> tuple[Rows, ...]:
    """Disjoint sets of rows, [X, y] each, drawn without replacement in a seeded order.

    ValueError when `sizes` ask for more rows than there are, or X and y differ in length.
    """
    _check_tensors("split", X, y)
    if not isinstance(sizes, tuple):
        raise TypeError(f"split: sizes is {sizes!r}, wanted a tuple, as (640, 160, 200)")
    if not sizes:
        raise ValueError("split: sizes is (), wanted at least one, as (640, 160, 200)")
    for size in sizes:
        check_count("split: size", size)
    if len(X) != len(y):
        raise ValueError(f"split: X has {len(X)} rows, y has {len(y)}")
    if sum(sizes) > len(X):
        raise ValueError(f"split: sizes {sizes} need {sum(sizes)} rows, X has {len(X)}")
    generator = torch.Generator().manual_seed(_seed("split", seed))
    order = torch.randperm(len(X), generator=generator).to(X.device)
    parts = order[: sum(sizes)].split(list(sizes))
    return tuple([X[rows], y[rows]] for rows in parts)


class Batch(NamedTuple):
    """Rows of a data set, and where they stand in it: X[rows], y[rows], rows."""

    X: Tensor
    y: Tensor
    rows: Tensor


def mini_batches(
    X: Tensor, y: Tensor, batch_size: int, generator: torch.Generator
) -> Iterator[Batch]:
    """Each row of X [..., N, I] and y [..., N, O] or [..., N] once, in an order drawn anew.

    Batches have `batch_size` rows, the last one what is left. ValueError or TypeError, before the
    first batch is asked for, unless X has rows and y as many.
    """
    batch_size = check_count("mini_batches: batch_size", batch_size)
    _check_tensors("mini_batches", X, y)
    _check_features("mini_batches", X)
    _check_rows("mini_batches", X, y)
    if not isinstance(generator, torch.Generator):
        raise TypeError(f"mini_batches: generator is {generator!r}, wanted a torch.Generator")
    return _drawn(X, y, batch_size, generator)


def _drawn(X: Tensor, y: Tensor, batch_size: int, generator: torch.Generator) -> Iterator[Batch]:
    for rows in drawn_rows(X, batch_size, generator):
        yield batch_of(X, y, rows)


def drawn_rows(X: Tensor, batch_size: int, generator: torch.Generator) -> tuple[Tensor, ...]:
    """The numbers of the rows of each batch, of all rows once, in an order drawn anew."""
    order = torch.randperm(X.shape[X.ndim - 2], generator=generator, device=generator.device)
    return order.to(X.device).split(batch_size)


def batch_of(X: Tensor, y: Tensor, rows: Tensor) -> Batch:
    axis = X.ndim - 2
    return Batch(X.index_select(axis, rows), y.index_select(axis, rows), rows)


def _check_tensors(who: str, X: Any, y: Any) -> None:
    for name, part in (("X", X), ("y", y)):
        if not isinstance(part, Tensor):
            raise TypeError(f"{who}: {name} is a {type(part).__name__}, wanted a Tensor")
        check_dense(f"{who}: {name}", part)
        if part.ndim == 0:
            raise ValueError(f"{who}: {name} has shape [], wanted rows")


def _check_features(who: str, X: Tensor) -> None:
    if X.ndim < 2 or X.numel() == 0:
        shape = list(X.shape)
        raise ValueError(f"{who}: X has shape {shape}, wanted [..., N, features] with N >= 1")


def _check_rows(who: str, X: Tensor | Source, y: Tensor) -> None:
    if y.shape[: X.ndim - 1] != X.shape[:-1]:
        raise ValueError(f"{who}: X has shape {list(X.shape)}, y {list(y.shape)}: rows differ")


def fresh_generator(who: str) -> torch.Generator:
    """A generator seeded from the system's entropy; the seed is logged."""
    return torch.Generator().manual_seed(_seed(who, None))


def _seed(who: str, seed: int | None) -> int:
    """The seed; for None one from the system's entropy, logged, so that it can be used again."""
    if seed is None:
        seed = secrets.randbelow(2**31)
        _log.info("%s: seed=%d", who, seed)
    if check_count(f"{who}: seed", seed, lowest=0) > HIGHEST_SEED:
        raise ValueError(f"{who}: seed is {seed}, wanted at most {HIGHEST_SEED}")
    return seed


def as_rows(who: str, data_set: Any, like: Tensor) -> Rows:
    """A pair [X, y] of tensors from what a user passes as a data set.

    NumPy arrays and lists get dtype and device of `like`, but whole-number labels stay whole;
    tensors stay as they are. X that is kept elsewhere is a `Source`, read block by block; such y is
    read at once. ValueError or TypeError unless X has rows, as many as y, all finite.
    """
    try:
        X, y = data_set
    except (TypeError, ValueError):
        came = type(data_set).__name__
        raise ValueError(f"{who} is a {came}, wanted two items: [X, y]") from None
    X = as_features(who, X, like)
    y = as_labels(f"{who}: y", y, like)[:] if is_source(y) else as_tensor(f"{who}: y", y, like)
    _check_rows(who, X, y)
    return [X, y]


def as_features(who: str, X: Any, like: Tensor) -> Any:
    """X as a Tensor, an array of any numbers in the dtype of `like`; it has rows, all finite.

    What is read block by block is a `Source`, and its values are looked at as they come.
    """
    if is_source(X):
        return as_source(f"{who}: X", X, like)
    features = as_tensor(f"{who}: X", X, like)
    if features.is_complex():
        raise TypeError(f"{who}: X is {features.dtype}, wanted real numbers")
    if not isinstance(X, Tensor):
        features = features.to(like.dtype)
    _check_features(who, features)
    check_finite(f"{who}: X", features)
    return features
