"""THE training step: forward, backward, update. What makes it faster wraps it.

A set of rows may go through the model block by block. The mean over all rows is that of the means
of the blocks, each weighed by its rows: loss and gradient stay exact, and the memory of a step does
not grow with the rows. On a CPU it is faster too: the next op finds in the cache what one has left.
"""

import os
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from .op import forward_of, has_halves, is_rowwise, reusing
from .walk import attributes, dict_of, leaf_ops, named_ops, state, untouched

FEWEST_ROWS = 64  # in a block: below, a matrix product waits for the weights
USUAL_CACHE = 2**20  # bytes, where the system does not tell

OfRows = Callable[[Tensor, Tensor], Tensor]  # a score row by row


def training_step(
    model: Any,
    loss_fn: Any,
    optimizer: Any,
    X: Tensor,
    y: Tensor,
    block_size: int | None = None,
    of_rows: OfRows | None = None,
) -> tuple[Tensor, Tensor]:
    """One step on the rows X, y: predictions and loss of the weights before the update.

    In blocks of `block_size` rows, if there are more. With `of_rows` they are scored block by block
    and the mean over the rows comes in the place of the predictions. Nothing reads a tensor back.
    """
    if _is_one_block(X, block_size):
        predicts, loss = evaluation(model, loss_fn, X, y, of_rows=of_rows)
        _walk_back(model, loss_fn)
    else:
        predicts, loss = _by_blocks(model, loss_fn, X, y, block_size, of_rows, Gradient(model))
    optimizer.step()
    return predicts, loss


def evaluation(
    model: Any,
    loss_fn: Any,
    X: Tensor,
    y: Tensor,
    block_size: int | None = None,
    of_rows: OfRows | None = None,
) -> tuple[Tensor, Tensor]:
    """Predictions, or their mean score, and their loss, in blocks as `training_step`."""
    if _is_one_block(X, block_size):
        predicts = forward_of(model)(X)
        loss = forward_of(loss_fn)(predicts, y)
        return of_rows(predicts, y).mean() if of_rows else predicts, loss
    return _by_blocks(model, loss_fn, X, y, block_size, of_rows)


def predictions(model: Any, X: Tensor, block_size: int | None = None) -> Tensor:
    """The model's outputs."""
    if _is_one_block(X, block_size):
        return forward_of(model)(X)
    together = Together(len(X))
    with reusing(model):
        for block in X.split(block_size):
            together.put(forward_of(model)(block))
    return together.outputs


def block_rows(model: Any, X: Tensor, *others: Any) -> int | None:
    """How many rows to a block: as many as leave the widest outputs of an op in the cache.

    None, for all at once, where the rows do not go through the model and `others`, its loss, each
    by itself, and where the order of draws would be another; on a GPU, which wants much at once.
    """
    draws = [id(a["generator"]) for a in map(attributes, leaf_ops(model)) if "generator" in a]
    apart = all(is_rowwise(part) for part in (model, *others)) and len(set(draws)) == len(draws)
    if X.ndim != 2 or X.device.type != "cpu" or not apart:
        return None
    width = max(X.shape[1], *(max(tensor.shape, default=1) for tensor in state(model)), 1)
    cache = cache_bytes() * torch.get_num_threads()
    return max(FEWEST_ROWS, cache // (width * X.element_size()))


def cache_bytes() -> int:
    """What a core has for itself: its second-level cache."""
    try:
        return os.sysconf("SC_LEVEL2_CACHE_SIZE") or USUAL_CACHE
    except (AttributeError, ValueError, OSError):
        return USUAL_CACHE


class Gradient:
    """dL/dp = sum over blocks of (rows of the block / all rows) dL_block/dp, for every param p."""

    def __init__(self, model: Any) -> None:
        self.ops = [op for op in leaf_ops(model) if dict_of(op, "params")]
        self.sums: list[Tensor] = []

    def add(self, weight: float) -> None:
        """Take what stands in `grads` into the sums."""
        grads = self._grads()
        if self.sums:
            torch._foreach_add_(self.sums, grads, alpha=weight)
        else:
            self.sums = list(torch._foreach_mul(grads, weight))

    def write(self) -> None:
        torch._foreach_copy_(self._grads(), self.sums)

    def _grads(self) -> list[Tensor]:
        return [op.grads[key] for op in self.ops for key in op.params]


class Together:
    """What blocks of rows [b, ...] leave one after the other, as one tensor [N, ...]."""

    def __init__(self, count: int) -> None:
        self.count, self.filled = count, 0

    def put(self, outputs: Tensor) -> None:
        if not self.filled:
            self.outputs = outputs.new_empty((self.count, *outputs.shape[1:]))
        rows = slice(self.filled, self.filled + len(outputs))
        self.outputs[rows], self.filled = outputs, rows.stop


def _is_one_block(X: Tensor, block_size: int | None) -> bool:
    return block_size is None or X.ndim != 2 or len(X) <= block_size


def _by_blocks(
    model: Any,
    loss_fn: Any,
    X: Tensor,
    y: Tensor,
    block_size: int | None,
    of_rows: OfRows | None,
    gradient: Gradient | None = None,
) -> tuple[Tensor, Tensor]:
    count, together = len(X), Together(len(X))
    losses, scores, weights = [], [], []
    with reusing(model):
        for X_block, y_block in _blocks(X, y, block_size):
            weights.append(len(X_block) / count)
            predicts, loss = evaluation(model, loss_fn, X_block, y_block, of_rows=of_rows)
            losses.append(loss)
            if gradient:
                _walk_back(model, loss_fn)
                gradient.add(weights[-1])
            scores.append(predicts) if of_rows else together.put(predicts)
    if gradient:
        gradient.write()
    predicts = _weighed(scores, weights) if of_rows else together.outputs
    return predicts, _weighed(losses, weights)


def _blocks(X: Tensor, y: Tensor, block_size: int | None) -> Iterator[tuple[Tensor, Tensor]]:
    return zip(X.split(block_size), y.split(block_size), strict=True)


def _weighed(means: list[Tensor], weights: list[float]) -> Tensor:
    stacked = torch.stack(means)
    return stacked.dot(stacked.new_tensor(weights))


def _walk_back(model: Any, loss_fn: Any) -> None:
    """Every `grads` of the model, but not dL/d inputs of its first op."""
    if has_halves(loss_fn):
        walk = model.backward_params if has_halves(model) else model.backward
        walk(loss_fn.backward_inputs())
    else:
        loss_fn.backward()


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
