"""Scores: predictions and labels to one number."""

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor

from .errors import check_number
from .tensors import as_tensor, check_dense

Metric = TypeVar("Metric", bound=Callable[..., Any])
_WIDEST = torch.empty(0, dtype=torch.float64)


def over_rows(of_rows: Callable[..., Tensor]) -> Callable[[Metric], Metric]:
    """Mark a metric as the mean of `of_rows(predicts, labels)` [..., N] over the rows.

    Then epochs are scored together, predictions [K, N, O] in one call, and blocks of rows apart.
    TypeError unless `of_rows` can be called, and the metric is a function that can be marked.
    """
    if not callable(of_rows):
        raise TypeError(f"over_rows: came {of_rows!r}, wanted a function of predictions and labels")

    def marked(metric: Metric) -> Metric:
        if not hasattr(metric, "__dict__"):
            raise TypeError(
                f"over_rows: {metric!r} cannot be marked, wanted a function written by def"
            )
        vars(metric)["of_rows"] = of_rows
        return metric

    return marked


def right_rows(predicts: Any, labels: Any, threshold: float = 0.5) -> Tensor:
    """[class of predicts = class of labels] for every row, as `accuracy` takes them: 1, 0 or nan.

    A float32 tensor [..., N] on the device of the predictions.
    """
    if threshold != 0.5:
        threshold = check_number("accuracy: threshold", threshold)
    if not isinstance(predicts, Tensor):
        predicts = as_tensor("accuracy: predictions", predicts, _WIDEST)
    check_dense("accuracy: predictions", predicts)
    labels = as_tensor("accuracy: labels", labels, predicts)
    for who, values in (("predictions", predicts), ("labels", labels)):
        if values.is_complex():
            raise TypeError(f"accuracy: {who} are {values.dtype}, wanted real numbers")
    columns = predicts.shape[-1] if predicts.ndim else 0
    indices = columns > 1 and labels.shape == predicts.shape[:-1]
    if not (indices or labels.shape == predicts.shape) or labels.numel() == 0:
        raise ValueError(
            f"accuracy: labels have shape {list(labels.shape)}, predictions {list(predicts.shape)}"
        )
    if columns > 1:
        right = predicts.argmax(dim=-1) == (labels if indices else labels.argmax(dim=-1))
    else:
        right = ((predicts >= threshold) == (labels >= 0.5)).squeeze(-1)
    unknown = (predicts + (labels.unsqueeze(-1) if indices else labels)).isnan()
    unknown = unknown.any(dim=-1) if columns > 1 else unknown.squeeze(-1)
    return right.float().masked_fill_(unknown, torch.nan)


@over_rows(right_rows)
def accuracy(predicts: Any, labels: Any, threshold: float = 0.5) -> Tensor:
    """mean(class of predicts = class of labels), a 0-d float32 tensor on their device.

    predicts [..., N, 1] are probabilities, or scores with a `threshold` of 0: class 1 from there
    on. Labels have the same shape, class 1 from 0.5 on. With C > 1 columns the class is the largest
    one's index; labels are then [..., N, C] or class indices [..., N]. nan where a prediction or a
    label is nan. NumPy arrays and lists are taken too. ValueError for shapes that differ (never
    broadcast to [N, N]), for no rows and for a threshold that is not finite; TypeError for what is
    no number.
    """
    return right_rows(predicts, labels, threshold).mean()


def _squared_error(predicts: Tensor, labels: Tensor) -> Tensor:
    return (predicts - labels).square_().mean(dim=-1).neg_()


@over_rows(_squared_error)
def negative_squared_error(predicts: Tensor, labels: Tensor) -> Tensor:
    """-mean((p - y)^2), a 0-d tensor: a score, the higher the better.    p, y [..., N, O]."""
    return _squared_error(predicts, labels).mean()


def weighted(metric: Any) -> Callable[[Any, Any], Tensor]:
    """mean(w_n s_n) for a metric that is mean(s_n), of labels [y, w] as WeightedLoss takes them.

    ValueError for a metric that is not marked by `over_rows`.
    """
    if (rows := getattr(metric, "of_rows", None)) is None:
        raise ValueError(f"weighted: {metric!r:.80} is no mean over rows: mark it by over_rows")

    def of_rows(predicts: Tensor, labels: Tensor) -> Tensor:
        scores: Tensor = rows(predicts, labels[..., :-1])
        return scores * labels[..., -1]

    @over_rows(of_rows)
    def score(predicts: Tensor, labels: Tensor) -> Tensor:
        return of_rows(predicts, labels).mean()

    return score
