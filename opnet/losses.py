"""Ops that end the chain and start the backward walk."""

from typing import Any

import torch
from torch import Tensor

from .blocks import is_rowwise
from .errors import NonFiniteError
from .op import Op, sent_through
from .tensors import as_tensor, check_dense, described, first_of, mask_of, same_tensor
from .walk import Seen, attributes, check_model


class Loss(Op):
    """L = forward(predicts, labels);  backward() walks dL/d predicts up through `model`.

    A subclass writes `losses` and `backward_inputs`, of the `inputs` and `labels` that `forward`
    has remembered; `check` may refuse values. Calling the loss is the door, where labels are
    converted and values looked at, with a NonFiniteError for nan among the predictions; the
    training step calls `forward`, the mean of the losses.
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
        self.remember(predicts, labels)
        self.outputs = self.losses().mean()
        return self.outputs

    def remember(self, predicts: Tensor, labels: Tensor) -> None:
        self.inputs, self.labels, self._seen = predicts, labels, None

    def losses(self) -> Tensor:
        """Of each row, and of each output where it has one: [..., N, O] or [..., N, 1]."""
        raise NotImplementedError(f"{self}: has no losses")

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
    have the predictions' shape and are finite. `factor` multiplies both: 1 / var(y) makes the loss
    free of the unit that y is in.
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

    def losses(self) -> Tensor:
        return (self.inputs - self.labels).square_().mul_(self.factor)

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

    def losses(self) -> Tensor:
        return (1 - self.labels * self.inputs).relu_()

    def backward_inputs(self) -> Tensor:  # type: ignore[override]
        s, t = self.inputs, self.labels
        return (-t).masked_fill_(t * s >= 1, 0).div_(s.numel())


class WeightedLoss(Loss):
    """L = mean(w_n l_n),  dL/dp_n = w_n dl_n/dp_n / n,  where another loss is mean(l_n).

    Labels carry the weights w of their rows as a last column, [y, w] [..., N, O + 1], so that both
    go together through splits, batches and blocks; y [..., N, O] is what the other `loss` takes,
    class indices written as probabilities. A row of weight 2 is as two rows, one of 0 as none,
    where the weights have mean 1 over all rows; so a loss does not depend on their scale.
    ValueError for a loss that couples the rows, and for weights that are not finite or below 0.
    Source: Horvitz, Thompson 1952, the sum over a sample with weights.
    """

    rowwise = True

    def __init__(self, loss: Loss) -> None:
        if not isinstance(loss, Loss):
            raise TypeError(f"WeightedLoss: loss is {loss!r:.80}, wanted a Loss")
        if type(loss).forward is not Loss.forward or not is_rowwise(loss):
            raise ValueError(f"WeightedLoss: {loss} is no mean of losses that it has row by row")
        super().__init__(loss.model)
        self.loss = loss

    def check(self, predicts: Tensor, labels: Any) -> Tensor:
        labels = as_tensor(f"{self}: labels", labels, predicts)
        if not labels.ndim or labels.shape[-1] < 2:
            raise ValueError(f"{self}: labels are {described(labels)}, wanted [y, w] side by side")
        y, w = labels[..., :-1], labels[..., -1:].to(predicts)
        if (unfit := ~(w.isfinite() & (w >= 0))).any():
            first, count = first_of(unfit, w)
            raise ValueError(f"{self}: weights{first} ({count} not finite or below 0)")
        return torch.cat([self.loss.check(predicts, y), w], dim=-1)

    def remember(self, predicts: Tensor, labels: Tensor) -> None:
        super().remember(predicts, labels)
        self.loss.remember(predicts, labels[..., :-1])

    def losses(self) -> Tensor:
        return self.loss.losses() * self._weights()

    def backward_inputs(self) -> Tensor:  # type: ignore[override]
        return self.loss.backward_inputs() * self._weights()

    def through_head(self) -> Tensor | None:
        grads = self.loss.through_head()
        return None if grads is None else grads * self._weights()

    def _weights(self) -> Tensor:
        return self.labels[..., -1:]


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
