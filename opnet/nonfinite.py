"""Where numbers go bad: a step once more, without its update, under the eyes of a watcher."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from .op import has_halves
from .rows import Source
from .step import predictions, training_step
from .walk import attributes, dict_of, every_part, named_ops, set_training, untouched

HALVES = ("backward_params", "backward_inputs")


class NoUpdate:
    """In the place of an optimizer: the params stay."""

    def step(self) -> None: ...


def first_bad_output(model: Any, X: Tensor | Source, block_size: int | None = None) -> str | None:
    """The first op, in the order in which they run, whose output for X is not finite, by name."""
    found: list[str] = []
    with untouched(model):  # which also takes the watchers off again
        for name, op in named_ops(model).items():
            if hasattr(op, "forward"):
                op.forward = _watched_forward(name, op.forward, found)
        predictions(model, X, block_size)
    return found[0] if found else None


def first_bad_gradient(
    model: Any, loss_fn: Any, X: Tensor | Source, y: Tensor, block_size: int | None = None
) -> str | None:
    """The first op, in the order in which a step walks back, with a gradient that is not finite.

    By name; the loss by its class. What stands in `grads` is written over.
    """
    found: list[str] = []
    with untouched(model, loss_fn):
        set_training(every_part(model), True)
        for name, op in named_ops(model).items():
            for rule in HALVES if has_halves(op) else ("backward",):
                watched = _watched_backward(type(loss_fn).__name__, name, op, rule, found)
                attributes(op)[rule] = watched
        training_step(model, loss_fn, NoUpdate(), X, y, block_size)
    return found[0] if found else None


def _watched_forward(
    name: str, forward: Callable[..., Tensor], found: list[str]
) -> Callable[..., Tensor]:
    def watched(*inputs: Tensor) -> Tensor:
        outputs = forward(*inputs)
        if not outputs.isfinite().all():
            found.append(name)
        return outputs

    return watched


def _watched_backward(
    loss: str, name: str, op: Any, rule: str, found: list[str]
) -> Callable[[Tensor], Any]:
    """That rule of an op. What is bad before any op has been found bad comes from the loss."""
    backward = getattr(op, rule)

    def watched(grads: Tensor) -> Any:
        if not grads.isfinite().all():
            found.append(loss)
        sent_back = backward(grads)
        written = () if rule == "backward_inputs" else dict_of(op, "grads").values()
        if not all(g.isfinite().all() for g in (sent_back, *written) if isinstance(g, Tensor)):
            found.append(name)
        return sent_back

    return watched
