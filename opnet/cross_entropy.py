"""Losses of probabilities, exact behind the op that makes those probabilities of logits.

Such a head multiplies by its slope and the loss divides by it. Where both would be 0 they hold it
at one floor, and take the value from the logits: `_own_head` finds the head and sets it so.
"""

from typing import Any

import torch
from torch import Tensor

from .activations import Logistic
from .losses import Loss
from .numerics import (
    LOWEST_LOG,
    cross_entropy_of_logits,
    held_above_0,
    log_softmax,
    logistic_slope,
    softmax,
)
from .op import Op, is_plain
from .softmax import LogSoftmax, Softmax
from .tensors import as_tensor, described, first_of, mask_of, same_tensor
from .walk import attributes, last_op


class BinaryCrossEntropyLoss(Loss):
    """L = -mean(y log p + (1 - y) log(1 - p)),  dL/dp = (p - y) / (p (1 - p)) / n.

    p, y [..., N, O]; n is the number of their elements.
    Labels have the predictions' shape and lie in [0, 1], soft ones too; int, bool, float64, NumPy
    are converted. Where p comes from the model's own Logistic, L is taken from its logits, and
    value and gradient are exact at any of them; elsewhere log p and log(1 - p) are held above -100,
    as torch does.
    Source: NNDL 4.2, binary cross-entropy; (p - y) / n behind a Logistic: Bishop 2006, eq. 4.91.
    """

    rowwise = True

    def check(self, predicts: Tensor, labels: Any) -> Tensor:
        labels = super().check(predicts, labels)
        _refuse_outside(f"{self}: predictions", predicts, "end the model with a Logistic")
        _refuse_outside(f"{self}: labels", labels)
        return labels

    def losses(self) -> Tensor:
        p, y = self.inputs, self.labels
        if (head := _own_head(self, Logistic)) is not None:
            return cross_entropy_of_logits(head.inputs, y)
        log_p = torch.log(p).clamp_min_(LOWEST_LOG)
        log_q = torch.log1p(-p).clamp_min_(LOWEST_LOG)
        return -(y * log_p + (1 - y) * log_q)

    def backward_inputs(self) -> Tensor:  # type: ignore[override]
        p, y = self.inputs, self.labels
        return (p - y).div_(logistic_slope(p)).div_(p.numel())

    def through_head(self) -> Tensor | None:
        """dL/dz = (p - y) / n, where the Logistic at the end of the model has made p of z."""
        head = self.model.layers[-1] if is_plain(self.model) else None
        if type(head) is Logistic and head.floored and same_tensor(head.outputs, self.inputs):
            return (self.inputs - self.labels).div_(self.inputs.numel())
        return None


class CrossEntropyLoss(Loss):
    """L = -mean_n(sum_j y_j log p_j),  dL/dp = -y / p / N,  and dL/dz = (p - y) / N.

    p = softmax(z), z, y [..., N, C] with C >= 2 classes; the mean is over rows. Labels are class
    indices [..., N], whole numbers from 0 to C - 1, or probabilities [..., N, C] whose rows sum to
    1; `labels` keeps the one or the other.
    The model's last op tells what its predictions are: behind a Softmax p, behind a LogSoftmax
    log p, behind any other (a LogSoftmax with a forward of its own is one) and without a model the
    logits z. Value and gradient are exact at any logits; where a Softmax made p from logits that
    are not at hand, log p is held above -100.
    Source: NNDL 3.3; Bishop 2006, eq. 4.108 and 4.109.
    """

    rowwise = True

    def check(self, predicts: Tensor, labels: Any) -> Tensor:
        if not predicts.ndim or predicts.shape[-1] < 2:
            came = f"predictions are {described(predicts)}"
            raise ValueError(f"{self}: {came}, wanted [..., N, C] with a column for each of C >= 2")
        if isinstance(last_op(self.model), Softmax):
            _refuse_outside(f"{self}: predictions", predicts, "no Softmax has made them")
        labels = as_tensor(f"{self}: labels", labels, predicts)
        if labels.shape != predicts.shape:
            return _class_indices(f"{self}: labels", predicts, labels)
        labels = super().check(predicts, labels)
        _refuse_outside(f"{self}: labels", labels, "a label is the probability of its class")
        sums = labels.sum(dim=-1)
        if (unfit := (sums - 1).abs() > 1e-3).any():
            first, count = first_of(unfit, sums)
            raise ValueError(f"{self}: sum of labels{first} ({count} not 1)")
        return labels

    def losses(self) -> Tensor:
        y = self._y()
        losses = torch.where(y > 0, -y * self._log_p(), 0)  # 0 * log 0 is 0
        return losses.sum(dim=-1, keepdim=True)

    def backward_inputs(self) -> Tensor:  # type: ignore[override]
        p, y = self.inputs, self._y()
        rows = p.numel() // p.shape[-1]
        head = last_op(self.model)
        if isinstance(head, Softmax):
            return (y / held_above_0(p)).div_(-rows)
        if _is_own(head, LogSoftmax):
            return y.div(-rows)
        return (softmax(p) * y.sum(dim=-1, keepdim=True)).sub_(y).div_(rows)

    def _log_p(self) -> Tensor:
        if (own := _own_head(self, Softmax)) is not None:
            return log_softmax(own.inputs)
        head = last_op(self.model)
        if isinstance(head, Softmax):
            return torch.log(self.inputs).clamp_min_(LOWEST_LOG)
        return self.inputs if _is_own(head, LogSoftmax) else log_softmax(self.inputs)

    def _y(self) -> Tensor:
        """The labels as probabilities [..., N, C]."""
        if self.labels.shape == self.inputs.shape:
            return self.labels
        return torch.zeros_like(self.inputs).scatter_(-1, self.labels.unsqueeze(-1), 1)


def _own_head(loss: Loss, kind: type[Op]) -> Any:
    """The model's last op, from now on floored, if it is of this kind and made the predictions."""
    head = last_op(loss.model)
    if _is_own(head, kind) and same_tensor(attributes(head).get("outputs"), loss.inputs):
        head.floored = True
        return head
    return None


def _is_own(op: Any, kind: type[Op]) -> bool:
    """Whether the outputs of `op` are those of this kind: not where a subclass wrote `forward`."""
    return isinstance(op, kind) and type(op).forward is kind.forward


def _class_indices(who: str, predicts: Tensor, labels: Tensor) -> Tensor:
    """`labels` as int64 on the predictions' device. TypeError, ValueError for what is no index."""
    rows, classes = list(predicts.shape[:-1]), predicts.shape[-1]
    if list(labels.shape) != rows:
        came, wanted = list(labels.shape), f"class indices {rows}"
        raise ValueError(
            f"{who} have shape {came}, wanted {wanted} or probabilities {[*rows, classes]}"
        )
    if labels.is_floating_point() or labels.is_complex():
        raise TypeError(f"{who} are {described(labels)}, wanted whole numbers: .long()")
    if labels.numel() == 0:
        raise ValueError(f"{who} have shape {rows}, wanted at least one row")
    labels = labels.to(predicts.device, torch.int64)
    unfit = mask_of(labels, lambda part: (part < 0) | (part >= classes))
    if unfit is not None:
        first, count = first_of(unfit, labels)
        mend = "; write y - 1" if (labels.min(), labels.max()) == (1, classes) else ""
        raise ValueError(f"{who}{first} ({count} outside 0 to {classes - 1}){mend}")
    return labels


def _refuse_outside(who: str, values: Tensor, mend: str = "") -> None:
    """ValueError for the first of `values` that is not in [0, 1] (nan is not), and the mend.

    Without one, that of labels; it sorts them all, so it is looked for only where it is needed.
    """
    outside = mask_of(values, lambda part: ~((part >= 0) & (part <= 1)))
    if outside is not None:
        first, count = first_of(outside, values)
        raise ValueError(f"{who}{first} ({count} outside [0, 1]); {mend or _mend_of(values)}")


def _mend_of(labels: Tensor) -> str:
    match labels.unique()[:3].tolist():
        case [-1.0, 1.0]:
            return "write (y + 1) / 2"
        case [1.0, 2.0]:
            return "write y - 1"
    return "a label is the probability of class 1"
