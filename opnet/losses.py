"""Ops that end the chain and start the backward walk."""

from typing import Any

import torch
from torch import Tensor

from .errors import NonFiniteError
from .op import Op, sent_through
from .tensors import as_tensor, check_dense, described, first_of, mask_of, same_tensor
from .walk import Seen, attributes, check_model


class Loss(Op):
    """L = forward(predicts, labels);  backward() walks dL/d predicts up through `model`.

    A subclass writes `forward` and `backward_inputs`; `check` may refuse values. Calling the loss
    is the door, where labels are converted and values looked at, with a NonFiniteError for nan
    among the predictions; the training step calls `forward`.
    `backward` returns dL/d inputs of the model and refuses (RuntimeError) when the model, or any op
    in it, has run or was changed since the loss was taken, and for predictions that are not the
    model's latest.
    """

    labels: Tensor
    _seen: Seen | None

    def __init__(self, model: Any = None) -> None:
        super().__init__()
        if model is not None:
            check_model(f"{self}", model)
        self.model = model

    def __call__(self, predicts: Tensor, labels: Any) -> Tensor:
        with torch.no_grad():
            loss = self.forward(*self.admitted(predicts, labels))
            self._seen = Seen(self.model)
            return loss

    def admitted(self, predicts: Tensor, labels: Any) -> tuple[Tensor, Tensor]:
        """Both as `forward` wants them. NonFiniteError, TypeError, ValueError for what is unfit."""
        if not isinstance(predicts, Tensor):
            came = type(predicts).__name__
            raise TypeError(f"{self}: predictions are a {came}, wanted a Tensor")
        check_dense(f"{self}: predictions", predicts)
        if not predicts.is_floating_point():
            raise TypeError(f"{self}: predictions are {described(predicts)}, wanted floating point")
        predicts = predicts.detach()
        nan = mask_of(predicts, torch.isnan)
        if nan is not None:
            raise NonFiniteError(f"{self}: predictions{first_of(nan, predicts)[0]}")
        return predicts, self.check(predicts, labels)

    def check(self, predicts: Tensor, labels: Any) -> Tensor:
        """`labels` as `forward` wants them. ValueError, TypeError for what the loss is not for."""
        return labels_like(f"{self}", predicts, labels)

    def forward(self, predicts: Tensor, labels: Tensor) -> Tensor:  # type: ignore[override]
        raise NotImplementedError(f"{self}: has no forward")

    def backward(self) -> Tensor:  # type: ignore[override]
        if self.model is None:
            raise RuntimeError(f"{self}: backward needs a model: {self}(model)")
        through = self.through_head()
        grads = self.backward_inputs() if through is None else through
        if self._seen is not None and self._seen != Seen(self.model):
            raise RuntimeError(f"{self}: the model has run or was changed since the loss was taken")
        if isinstance(self.model, Op) and not same_tensor(
            attributes(self.model).get("outputs", self.inputs), self.inputs
        ):
            raise RuntimeError(f"{self}: the predictions are not what the model put out last")
        if through is None:
            sent_back = self.model.backward(grads)
        else:
            sent_back = sent_through(self.model.layers[:-1], grads)
        self._seen = None if self._seen is None else Seen(self.model)  # backward may run again
        return sent_back

    def backward_inputs(self) -> Tensor:  # type: ignore[override]
        raise NotImplementedError(f"{self}: has no backward")

    def through_head(self) -> Tensor | None:
        """dL/d inputs of the model's last op, where the two rules make a simpler one; else None."""
        return None


class MeanSquaredErrorLoss(Loss):
    """L = mean((p - y)^2),  dL/dp = 2 (p - y) / n.

    p, y [..., N, O]; n is the number of their elements, the mean is over rows and outputs. Labels
    have the predictions' shape and are finite.
    Source: NNDL 2.2, the quadratic loss; Bishop 2006, eq. 1.2 for its sum.
    """

    rowwise = True
    factor = 1.0

    def check(self, predicts: Tensor, labels: Any) -> Tensor:
        labels = super().check(predicts, labels)
        unfit = mask_of(labels, lambda part: ~part.isfinite())
        if unfit is not None:
            first, count = first_of(unfit, labels)
            raise ValueError(f"{self}: labels{first} ({count} not finite)")
        return labels

    def forward(self, predicts: Tensor, labels: Tensor) -> Tensor:  # type: ignore[override]
        self.inputs, self.labels, self._seen = predicts, labels, None
        self.outputs = (predicts - labels).square_().mean().mul_(self.factor)
        return self.outputs

    def backward_inputs(self) -> Tensor:  # type: ignore[override]
        return (self.inputs - self.labels).mul_(2 * self.factor / self.inputs.numel())


class HalfSquaredErrorLoss(MeanSquaredErrorLoss):
    """L = mean((p - y)^2 / 2),  dL/dp = (p - y) / n.

    p, y, n and labels as for MeanSquaredErrorLoss, of which it is the half.
    Source: NNDL 2.2, the quadratic loss.
    """

    factor = 0.5


class HingeLoss(Loss):
    """L = mean(max(0, 1 - t s)),  dL/ds = -t [t s < 1] / n.

    s (scores), t [..., N, O]; n is the number of their elements. Labels have the scores' shape and
    are -1 or 1, or else 0 or 1: `check` makes -1 of 0. At the kink t s = 1 the slope is 0. Class 1
    is predicted from s = 0 on: `partial(accuracy, threshold=0)` scores it.
    Source: Bishop 2006, section 7.1; Cortes, Vapnik 1995.
    """

    rowwise = True

    def check(self, predicts: Tensor, labels: Any) -> Tensor:
        labels = super().check(predicts, labels)
        unfit = mask_of(labels, lambda part: (part.abs() != 1) & (part != 0))
        if unfit is not None:
            first, count = first_of(unfit, labels)
            raise ValueError(f"{self}: labels{first} ({count} neither -1, 0 nor 1)")
        if (zero := labels == 0).any() and (labels == -1).any():
            first, _ = first_of(zero, labels)
            raise ValueError(f"{self}: labels{first} where others are -1: wanted -1, 1 or 0, 1")
        return labels.masked_fill(zero, -1)

    def forward(self, predicts: Tensor, labels: Tensor) -> Tensor:  # type: ignore[override]
        self.inputs, self.labels, self._seen = predicts, labels, None
        self.outputs = (1 - labels * predicts).relu_().mean()
        return self.outputs

    def backward_inputs(self) -> Tensor:  # type: ignore[override]
        s, t = self.inputs, self.labels
        return (-t).masked_fill_(t * s >= 1, 0).div_(s.numel())


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
