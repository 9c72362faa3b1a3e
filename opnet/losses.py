"""Ops that end the chain and start the backward walk."""

from typing import Any

import torch
from torch import Tensor

from .activations import Logistic
from .errors import NonFiniteError
from .numerics import LOWEST_LOG, cross_entropy_of_logits, logistic_slope
from .op import Op
from .tensors import as_tensor, first_of, same_tensor
from .walk import Seen, attributes, last_op


class Loss(Op):
    """L = forward(predicts, labels);  backward() walks dL/d predicts up through `model`.

    A subclass writes `forward` and `backward_inputs`; `check` may refuse values. Calling the loss
    is the door, where labels are converted and values looked at; the training step calls `forward`.
    `backward` returns dL/d inputs of the model and refuses (RuntimeError) when the model, or any op
    in it, has run or was changed since the loss was taken, and for predictions that are not the
    model's latest.
    """

    labels: Tensor
    _seen: Seen | None

    def __init__(self, model: Any = None) -> None:
        super().__init__()
        self.model = model

    def __call__(self, predicts: Tensor, labels: Any) -> Tensor:
        with torch.no_grad():
            if not isinstance(predicts, Tensor):
                came = type(predicts).__name__
                raise TypeError(f"{self}: predictions are a {came}, wanted a Tensor")
            predicts = predicts.detach()
            loss = self.forward(predicts, self.check(predicts, labels))
            self._seen = Seen(self.model)
            return loss

    def check(self, predicts: Tensor, labels: Any) -> Tensor:
        """`labels` as `forward` wants them. ValueError, TypeError for what the loss is not for."""
        return labels_like(f"{self}", predicts, labels)

    def forward(self, predicts: Tensor, labels: Tensor) -> Tensor:  # type: ignore[override]
        raise NotImplementedError(f"{self}: has no forward")

    def backward(self) -> Tensor:  # type: ignore[override]
        if self.model is None:
            raise RuntimeError(f"{self}: backward needs a model: {self}(model)")
        grads = self.backward_inputs()
        if self._seen is not None and self._seen != Seen(self.model):
            raise RuntimeError(f"{self}: the model has run or was changed since the loss was taken")
        if isinstance(self.model, Op) and not same_tensor(
            attributes(self.model).get("outputs", self.inputs), self.inputs
        ):
            raise RuntimeError(f"{self}: the predictions are not what the model put out last")
        sent_back = self.model.backward(grads)
        self._seen = None if self._seen is None else Seen(self.model)  # backward may run again
        return sent_back

    def backward_inputs(self) -> Tensor:  # type: ignore[override]
        raise NotImplementedError(f"{self}: has no backward")


class BinaryCrossEntropyLoss(Loss):
    """L = -mean(y log p + (1 - y) log(1 - p)),  dL/dp = (p - y) / (p (1 - p)) / n.

    p, y [..., N, O]; n is the number of their elements.
    Labels have the predictions' shape and lie in [0, 1], soft ones too; int, bool, float64, NumPy
    are converted. Where p comes from the model's own Logistic, L is taken from its logits, and
    value and gradient are exact at any of them; elsewhere log p and log(1 - p) are held above -100,
    as torch does.
    Source: NNDL 4.2, binary cross-entropy; (p - y) / n behind a Logistic: Bishop 2006, eq. 4.91.
    """

    def check(self, predicts: Tensor, labels: Any) -> Tensor:
        labels = super().check(predicts, labels)
        if (nan := predicts.isnan()).any():
            raise NonFiniteError(f"{self}: predictions{first_of(nan, predicts)[0]}")
        _refuse_outside(f"{self}: predictions", predicts, "end the model with a Logistic")
        _refuse_outside(f"{self}: labels", labels, _mend_of(labels))
        return labels

    def forward(self, predicts: Tensor, labels: Tensor) -> Tensor:  # type: ignore[override]
        self.inputs, self.labels, self._seen = predicts, labels, None
        head = last_op(self.model)
        if _is_logistic(head) and same_tensor(attributes(head).get("outputs"), predicts):
            head.floored = True
            losses = cross_entropy_of_logits(head.inputs, labels)
        else:
            log_p = torch.log(predicts).clamp_min_(LOWEST_LOG)
            log_q = torch.log1p(-predicts).clamp_min_(LOWEST_LOG)
            losses = -(labels * log_p + (1 - labels) * log_q)
        self.outputs = losses.mean()
        return self.outputs

    def backward_inputs(self) -> Tensor:  # type: ignore[override]
        p, y = self.inputs, self.labels
        return (p - y).div_(logistic_slope(p)).div_(p.numel())


def labels_like(who: str, predicts: Tensor, labels: Any) -> Tensor:
    """`labels` in dtype and on the device of the predictions. Another shape would broadcast."""
    labels = as_tensor(f"{who}: labels", labels, predicts)
    came, wanted = list(labels.shape), list(predicts.shape)
    if came != wanted:
        raise ValueError(f"{who}: labels have shape {came}, predictions {wanted}")
    if labels.is_complex():
        raise TypeError(f"{who}: labels are {labels.dtype}, wanted real numbers")
    if labels.numel() == 0:
        raise ValueError(f"{who}: labels have shape {came}, wanted at least one row")
    return labels.to(predicts)


def _is_logistic(op: Any) -> bool:
    return isinstance(op, Logistic) and type(op).forward is Logistic.forward


def _refuse_outside(who: str, values: Tensor, mend: str) -> None:
    """ValueError for the first of `values` that is not in [0, 1] (nan is not), and the mend."""
    outside = ~((values >= 0) & (values <= 1))
    if outside.any():
        first, count = first_of(outside, values)
        raise ValueError(f"{who}{first} ({count} outside [0, 1]); {mend}")


def _mend_of(labels: Tensor) -> str:
    match labels.unique()[:3].tolist():
        case [-1.0, 1.0]:
            return "write (y + 1) / 2"
        case [1.0, 2.0]:
            return "write y - 1"
    return "a label is the probability of class 1"
