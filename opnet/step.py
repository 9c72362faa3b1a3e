"""THE training step: forward, backward, update. What makes it faster wraps it."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from .op import forward_of, has_halves
from .walk import named_ops, untouched


def training_step(
    model: Any, loss_fn: Any, optimizer: Any, X: Tensor, y: Tensor
) -> tuple[Tensor, Tensor]:
    """One step on the rows X, y: predictions and loss of the weights before the update.

    Nothing in it reads a tensor back.
    """
    predicts, loss = evaluation(model, loss_fn, X, y)
    if has_halves(loss_fn):
        walk = model.backward_params if has_halves(model) else model.backward
        walk(loss_fn.backward_inputs())
    else:
        loss_fn.backward()
    optimizer.step()
    return predicts, loss


def evaluation(model: Any, loss_fn: Any, X: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Predictions and their loss."""
    predicts = predictions(model, X)
    return predicts, forward_of(loss_fn)(predicts, y)


def predictions(model: Any, X: Tensor) -> Tensor:
    """The model's outputs."""
    return forward_of(model)(X)


def first_non_finite(model: Any, X: Tensor) -> str | None:
    """The first op, in the order in which they run, whose output for X is not finite, by name."""
    culprits: list[str] = []
    with untouched(model):  # which also takes the watchers off again
        for name, op in named_ops(model).items():
            if hasattr(op, "forward"):
                op.forward = _watched(name, op.forward, culprits)
        predictions(model, X)
    return culprits[0] if culprits else None


def _watched(
    name: str, forward: Callable[..., Tensor], culprits: list[str]
) -> Callable[..., Tensor]:
    def watched(*inputs: Tensor) -> Tensor:
        outputs = forward(*inputs)
        if not outputs.isfinite().all():
            culprits.append(name)
        return outputs

    return watched
