"""What a figure is to be drawn from, looked at before work starts. Knows no matplotlib."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from .data import Rows, as_rows
from .tensors import as_tensor, first_of

_LIKE = torch.empty(0)


def check_mapping(who: str, values: Any, wanted: str) -> None:
    if not isinstance(values, Mapping):
        raise TypeError(f"{who} are a {type(values).__name__}, wanted {wanted}")


def check_callable(who: str, value: Any) -> None:
    if not callable(value):
        raise TypeError(f"{who} is {value!r}, wanted a callable")


def finite(who: str, values: Any) -> Tensor:
    """`values` as a Tensor of real numbers. TypeError for others, ValueError for nan, inf."""
    tensor = as_tensor(who, values, _LIKE.double())
    if tensor.is_complex():
        raise TypeError(f"{who} is {tensor.dtype}, wanted real numbers")
    unfit = ~tensor.isfinite()
    if unfit.any():
        first, count = first_of(unfit, tensor)
        raise ValueError(f"{who}{first} ({count} not finite)")
    return tensor


def histories_of(who: str, histories: Any) -> dict[str, Tensor]:
    """Two histories of one length, each [epochs] on the CPU."""
    check_mapping(f"{who}: histories", histories, "{label: values}")
    found = {label: finite(f"{who}: {label}", values) for label, values in histories.items()}
    for label, values in found.items():
        if values.ndim != 1:
            raise ValueError(f"{who}: {label} has shape {list(values.shape)}, wanted [epochs]")
    lengths = {label: len(values) for label, values in found.items()}
    if len(lengths) != 2 or len(set(lengths.values())) != 1 or 0 in lengths.values():
        raise ValueError(f"{who}: histories have lengths {lengths}, wanted two of one length >= 1")
    return {label: values.cpu() for label, values in found.items()}


def sets_of(who: str, sets: Any, most: int) -> dict[str, Rows]:
    """Up to `most` sets: X [N, 2], and y of N values."""
    check_mapping(f"{who}: sets", sets, "{name: [X, y]}")
    if len(sets) > most:
        raise ValueError(f"{who}: {len(sets)} sets, wanted at most {most}")
    return {name: _in_the_plane(f"{who}: {name}", rows) for name, rows in sets.items()}


def _in_the_plane(who: str, rows: Any) -> Rows:
    X, y = as_rows(who, rows, _LIKE)
    if X.ndim != 2 or X.shape[1] != 2:
        raise ValueError(f"{who} has X {list(X.shape)}, wanted [N, 2]")
    if y.numel() != len(X):
        raise ValueError(f"{who} has y {list(y.shape)}, wanted [N, 1] or [N]")
    return [X, finite(f"{who}: y", y)]


def check_predicts(who: str, predicts: Any) -> None:
    check_mapping(f"{who}: predicts", predicts, "{title: predict}")
    if not predicts:
        raise ValueError(f"{who}: predicts are empty, wanted at least one")
    for predict in predicts.values():
        check_callable(f"{who}: predict", predict)


def given_by(who: str, f: Callable[..., Any], *inputs: Tensor, shape: Sequence[int]) -> Tensor:
    """f(*inputs): a Tensor of that `shape` that holds no nan."""
    outputs = f(*inputs)
    if not isinstance(outputs, Tensor):
        raise TypeError(f"{who} gave a {type(outputs).__name__}, wanted a Tensor")
    if list(outputs.shape) != list(shape):
        raise ValueError(f"{who} gave {list(outputs.shape)}, wanted {list(shape)}")
    if outputs.isnan().any():
        raise ValueError(f"{who} gave nan")
    return outputs.detach()


def paths_of(who: str, paths: Any) -> dict[str, Tensor]:
    """Paths [steps, 2] on the CPU, of at least one step."""
    check_mapping(f"{who}: paths", paths, "{name: path}")
    found = {name: finite(f"{who}: {name}", path).cpu() for name, path in paths.items()}
    for name, path in found.items():
        if path.ndim != 2 or path.shape[1] != 2 or len(path) == 0:
            raise ValueError(f"{who}: {name} has shape {list(path.shape)}, wanted [steps, 2]")
    return found


def check_window(who: str, window: Any) -> None:
    try:
        fits = all(low < high and math.isfinite(high - low) for low, high in window)
        fits = fits and len(window) == 2
    except (TypeError, ValueError):
        fits = False
    if not fits:
        raise ValueError(f"{who} is {window!r}, wanted ((low, high), (low, high))")


def check_points(who: str, points: Any) -> None:
    try:
        fits = all(math.isfinite(x1 + x2) for x1, x2 in points)
    except (TypeError, ValueError):
        fits = False
    if not fits:
        raise ValueError(f"{who} is {points!r}, wanted points (x1, x2)")
