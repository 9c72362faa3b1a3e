"""Scores: predictions and labels to one number."""

from typing import Any

import torch
from torch import Tensor

from .tensors import as_tensor


def accuracy(predicts: Tensor, labels: Any, threshold: float = 0.5) -> Tensor:
    """mean(class of predicts = class of labels), a 0-d float32 tensor on their device.

    predicts [..., N, 1] are probabilities, or scores with a `threshold` of 0: class 1 from there
    on. Labels have the same shape, class 1 from 0.5 on. With C > 1 columns the class is the largest
    one's index; labels are then [..., N, C] or class indices [..., N]. nan where a prediction is
    nan. ValueError for shapes that differ (never broadcast to [N, N]) and for no rows.
    """
    labels = as_tensor("accuracy: labels", labels, predicts)
    columns = predicts.shape[-1] if predicts.ndim else 0
    indices = columns > 1 and labels.shape == predicts.shape[:-1]
    if not (indices or labels.shape == predicts.shape) or labels.numel() == 0:
        raise ValueError(
            f"accuracy: labels have shape {list(labels.shape)}, predictions {list(predicts.shape)}"
        )
    if columns > 1:
        right = predicts.argmax(dim=-1) == (labels if indices else labels.argmax(dim=-1))
    else:
        right = (predicts >= threshold) == (labels >= 0.5)
    nothing = (0 * predicts).sum()  # nan when a prediction is
    return right.mean(dtype=torch.float32) + nothing
