"""THE training step: forward, backward, update. What makes it faster wraps it.

A set of rows may go through the model block by block. The mean over all rows is that of the means
of the blocks, each weighed by its rows: loss and gradient stay exact, and the memory of a step does
not grow with the rows. On a CPU it is faster too: the next op finds in the cache what one has left.
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from .ahead import blocks
from .blocks import Gradient, Tally, Together, reusing
from .doors import without_graph
from .op import forward_of, has_halves, walk_back
from .rows import Source

OfRows = Callable[[Tensor, Tensor], Tensor]  # a score row by row


@without_graph
def training_step(
    model: Any,
    loss_fn: Any,
    optimizer: Any,
    X: Tensor | Source,
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
        walk_back_from(model, loss_fn)
    else:
        predicts, loss = _by_blocks(model, loss_fn, X, y, block_size, of_rows, Gradient(model))
    optimizer.step()
    return predicts, loss


def evaluation(
    model: Any,
    loss_fn: Any,
    X: Tensor | Source,
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


def predictions(model: Any, X: Tensor | Source, block_size: int | None = None) -> Tensor:
    """The model's outputs."""
    if _is_one_block(X, block_size):
        return forward_of(model)(X)
    together = Together(len(X))
    with reusing(model):
        for block in blocks(X, None, block_size or len(X)):
            together.put(forward_of(model)(block.X), block.rows)
    return together.outputs


def _is_one_block(X: Tensor | Source, block_size: int | None) -> bool:
    fits = block_size is None or X.ndim != 2 or len(X) <= block_size
    return fits and isinstance(X, Tensor)


def _by_blocks(
    model: Any,
    loss_fn: Any,
    X: Tensor | Source,
    y: Tensor,
    block_size: int | None,
    of_rows: OfRows | None,
    gradient: Gradient | None = None,
) -> tuple[Tensor, Tensor]:
    count, size = len(X), block_size or len(X)
    tally = Tally(count, size, of_rows is not None)
    with reusing(model):
        for X_block, y_block, rows in blocks(X, y, size):
            predicts, loss = evaluation(model, loss_fn, X_block, y_block)
            if gradient:
                walk_back_from(model, loss_fn)
                gradient.add(len(X_block) / count)
            left = of_rows(predicts, y_block).sum() if of_rows else predicts  # whole: exact
            tally.put(left, loss, rows)
    if gradient:
        gradient.write()
    return tally.read()


def walk_back_from(model: Any, loss_fn: Any) -> None:
    """Every `grads` of the model, but not dL/d inputs of its first op."""
    through_head = getattr(loss_fn, "through_head", None)
    if through_head and (grads := through_head()) is not None:
        walk_back(model.layers[:-1], grads)
    elif has_halves(loss_fn):
        walk = model.backward_params if has_halves(model) else model.backward
        walk(loss_fn.backward_inputs())
    else:
        loss_fn.backward()
