"""What a figure is to be drawn from, looked at before work starts. Draws nothing."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..data import Rows, as_rows
from ..errors import check_count, check_number
from ..tensors import as_tensor, first_of

HISTORIES = ("train_scores", "train_loss", "dev_scores", "dev_loss")
MOST_DRAWN = 1000  # rows of a set: of more, marks cover each other and the boundary
ROUNDING = 1e-4  # a sum of exponentials may leave a probability so far beyond 1

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


def histories_of(who: str, history: Any) -> dict[str, Tensor]:
    """{name: values [epochs]} on the CPU, of a mapping, a runner, or the four lists of one."""
    if not isinstance(history, Mapping):
        if all(hasattr(history, name) for name in HISTORIES):
            history = [getattr(history, name) for name in HISTORIES]
        elif not isinstance(history, (list, tuple)) or len(history) != len(HISTORIES):
            wanted = "a runner, {name: values} or the lists " + ", ".join(HISTORIES)
            raise TypeError(f"{who}: history is a {type(history).__name__}, wanted {wanted}")
        history = dict(zip(HISTORIES, history, strict=True))
    found = {label: finite(f"{who}: {label}", values) for label, values in history.items()}
    for label, values in found.items():
        if values.ndim != 1:
            raise ValueError(f"{who}: {label} has shape {list(values.shape)}, wanted [epochs]")
    lengths = {label: len(values) for label, values in found.items()}
    if len(set(lengths.values())) != 1 or 0 in lengths.values():
        raise ValueError(f"{who}: histories have lengths {lengths}, wanted one length >= 1")
    return {label: values.cpu() for label, values in found.items()}


def sets_of(who: str, sets: Any, most: int, features: int, like: Tensor | None) -> dict[str, Rows]:
    """Up to `most` sets: X [N, features], of the dtype of `like` where it is given, and y."""
    check_mapping(f"{who}: sets", sets, "{name: [X, y]}")
    if len(sets) > most:
        raise ValueError(f"{who}: {len(sets)} sets, wanted at most {most}")
    return {name: _set_of(f"{who}: {name}", rows, features, like) for name, rows in sets.items()}


def _set_of(who: str, rows: Any, features: int, like: Tensor | None) -> Rows:
    X, y = as_rows(who, rows, _LIKE if like is None else like)
    if X.ndim != 2:
        raise ValueError(f"{who} has X {list(X.shape)}, wanted [N, {features}]")
    if X.shape[1] != features:
        wanted = f"wanted {features}: two in `features`, a value for each other one in `fixed`"
        raise ValueError(f"{who} has {X.shape[1]} features, {wanted}")
    X = X if isinstance(X, Tensor) else X[:]  # rows kept elsewhere are read at once
    return [X if like is None else X.to(like), finite(f"{who}: y", y)]


def labels_of(who: str, y: Tensor, rows: int, classes: int) -> Tensor:
    """The class of each row [N]: of y [N], [N, 1], or of columns [N, classes] the largest."""
    if y.numel() == rows:
        labels = y.flatten()
        if classes == 2 and ((labels >= 0) & (labels <= 1)).all():
            labels = (labels >= 0.5).long()
    elif list(y.shape) == [rows, classes]:
        labels = y.argmax(dim=1)
    else:
        columns = "" if classes == 2 else f" or [N, {classes}]"
        raise ValueError(f"{who} has y {list(y.shape)}, wanted [N, 1], [N]{columns}")
    unfit = (labels != labels.long()) | (labels < 0) | (labels >= classes)
    if unfit.any():
        first, _ = first_of(unfit, labels)
        raise ValueError(f"{who} has y where y{first}, wanted a class below {classes}")
    return labels.long()


def features_of(who: str, features: Any, fixed: Any) -> tuple[list[int], dict[int, float]]:
    """Two columns to draw, and a number for each other one. TypeError, ValueError."""
    check_mapping(f"{who}: fixed", fixed, "{column: value}")
    try:
        first, second = features
    except (TypeError, ValueError):
        raise ValueError(f"{who}: features is {features!r}, wanted two columns") from None
    shown = [check_count(f"{who}: features", column, lowest=0) for column in (first, second)]
    held = {
        check_count(f"{who}: fixed", column, lowest=0): check_number(f"{who}: fixed", value)
        for column, value in fixed.items()
    }
    if sorted([*shown, *held]) != list(range(2 + len(held))):
        wanted = "wanted each column once, from 0 on"
        raise ValueError(f"{who}: features={tuple(shown)}, fixed={held}, {wanted}")
    return shown, held


def probabilities(who: str, predict: Callable[..., Any], X: Tensor) -> Tensor:
    """predict(X), p of class 1 [N, 1] or of each class [N, C]: float64 [N, C >= 2] on the CPU."""
    p = as_tensor(f"{who}: what it gave", predict(X), _LIKE)
    if p.ndim != 2 or len(p) != len(X) or p.numel() == 0:
        raise ValueError(f"{who} gave {list(p.shape)}, wanted [{len(X)}, 1] or [{len(X)}, classes]")
    p = p.detach().cpu()
    if p.is_complex():
        raise ValueError(f"{who} gave complex values, wanted probabilities")
    if not ((p >= -ROUNDING) & (p <= 1 + ROUNDING)).all():
        unfit = "nan" if p.isnan().any() else f"values from {p.min():g} to {p.max():g}"
        raise ValueError(f"{who} gave {unfit}, wanted probabilities")
    p = p.double()
    return p if p.shape[1] > 1 else torch.cat([1 - p, p], dim=1)


def winners(p: Tensor) -> Tensor:
    """The most probable class of each row of p [N, C]; class 1 of two from 1/2 on."""
    return (p[:, 1] >= p[:, 0]).long() if p.shape[1] == 2 else p.argmax(dim=1)


def predict_of(who: str, estimator: Any) -> tuple[Callable[[Tensor], Any], list[Any]]:
    """What gives p [N, C] by a fitted scikit-learn classifier, and the names of its classes."""
    classes = getattr(estimator, "classes_", None)
    if classes is None or not hasattr(estimator, "predict"):
        came = type(estimator).__name__
        raise TypeError(f"{who}: estimator is a {came}, wanted a fitted classifier (classes_)")
    classes = np.asarray(classes).tolist()

    def predict(X: Tensor) -> Any:
        if hasattr(estimator, "predict_proba"):
            return estimator.predict_proba(X.cpu().numpy())
        said = estimator.predict(X.cpu().numpy())
        return torch.tensor([[float(one == k) for k in classes] for one in said])

    return predict, classes


def names_of(who: str, classes: Any) -> list[Any]:
    try:
        return list(classes)
    except TypeError:
        raise TypeError(f"{who}: classes is {classes!r}, wanted a sequence of names") from None


def named(who: str, sets: Any) -> list[tuple[str, Any]]:
    """The items of {name: [X, y]}; none of None."""
    sets = {} if sets is None else sets
    check_mapping(f"{who}: sets", sets, "{name: [X, y]}")
    return list(sets.items())


def indexed(who: str, rows: Any, classes: Sequence[Any]) -> list[Any]:
    """[X, y] with the place of each label among the `classes` for y."""
    try:
        X, y = rows
        labels = y.tolist() if hasattr(y, "tolist") else list(y)
    except (TypeError, ValueError):
        raise ValueError(f"{who} is a {type(rows).__name__}, wanted two items: [X, y]") from None
    labels = [
        label[0] if isinstance(label, list) and len(label) == 1 else label for label in labels
    ]
    if strange := [label for label in labels if label not in classes]:
        raise ValueError(f"{who} has the label {strange[0]!r}, the classes are {classes}")
    return [X, torch.tensor([classes.index(label) for label in labels])]


def check_axes(who: str, axes: Any) -> None:
    from matplotlib.axes import Axes

    if not isinstance(axes, Axes):
        raise TypeError(f"{who} is {axes!r}, wanted Axes")


def check_predicts(who: str, predicts: Any) -> None:
    check_mapping(f"{who}: predicts", predicts, "{title: predict}")
    if not predicts:
        raise ValueError(f"{who}: predicts are empty, wanted at least one")


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


def range_of(who: str, ends: Any) -> tuple[float, float]:
    """A pair (low, high). ValueError for anything else."""
    try:
        low, high = map(float, ends)
        fits = low < high and math.isfinite(high - low)
    except (TypeError, ValueError):
        fits = False
    if not fits:
        raise ValueError(f"{who} is {ends!r}, wanted (low, high)")
    return low, high


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


def thinned(*parts: Tensor) -> list[Tensor]:
    """MOST_DRAWN rows of each where there are more: drawn by lot, the same ones each time."""
    rows = torch.arange(count := len(parts[0]))
    if count > MOST_DRAWN:
        lot = torch.Generator().manual_seed(0)
        rows = torch.randperm(count, generator=lot)[:MOST_DRAWN].sort().values
    return [part[rows] for part in parts]
