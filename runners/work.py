"""What an epoch computes: the steps on the train set, then a look at the dev set."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from torch import Tensor

from opnet.captured import Steps, is_steady
from opnet.data import Batch, Rows
from opnet.step import OfRows, evaluation, training_step
from opnet.walks import Walk

from .replays import Plan


class Work:
    """Steps on each of `batches()` or on all rows at once; recorded where there is a plan to.

    Each half gives predictions and loss; with `of_rows` a mean score in the place of predictions.
    """

    def __init__(
        self,
        runner: Any,
        optimizer: Any,
        train_set: Rows,
        dev_set: Rows,
        batches: Callable[[], Iterator[Batch]] | None,
        of_rows: OfRows | None,
        plan: Plan,
        alone: bool = False,
    ) -> None:
        block_size = plan.block_size
        model, loss_fn, self.optimizer = runner.model, runner.loss_fn, optimizer
        self.X, self.y = train_set
        self.batches, self.of_rows = batches, of_rows
        step: Any = partial(training_step, model, loss_fn, self.optimizer, block_size=block_size)
        self.step, self.all_rows = step, partial(step, *train_set, of_rows=of_rows)
        X_dev, y_dev = dev_set
        self.judge: Callable[[], tuple[Any, Any]]
        self.judge = partial(evaluation, model, loss_fn, X_dev, y_dev, block_size, of_rows)
        self.recorded = plan.what is not None
        if plan.training and plan.what == "steps":
            self.step = Steps(plan.training, alone and is_steady(optimizer))
        elif plan.training and plan.what == "blocks":
            walk = partial(Walk, plan.training, of_rows=of_rows, lanes=plan.lanes)
            self.all_rows = partial(_walked, walk(train_set, back=True), self.optimizer)
            self.judge = walk(dev_set)

    def moved(self) -> bool:
        """Whether gradients are no longer where a recording writes them."""
        return isinstance(self.step, Steps) and self.step.moved()

    def train(self) -> tuple[Any, Any]:
        """Predictions and loss, each before its update.

        The loss is the mean over the rows: that of a batch weighs as many as it has.
        """
        if self.batches is None:
            walked: tuple[Any, Any] = self.all_rows()
            return walked
        count, axis = self.X.shape[-2], self.X.ndim - 2
        predicts: Any = None
        score: Any = 0.0
        loss: Any = 0.0
        for X_batch, y_batch, rows in self.batches():
            outputs, batch_loss = self.step(X_batch, y_batch)
            loss = loss + batch_loss * (len(rows) / count)
            if self.of_rows:
                score = score + self.of_rows(outputs, y_batch).mean() * (len(rows) / count)
                continue
            if predicts is None:
                predicts = _of_as_many_rows(outputs, axis, count)
            predicts.index_copy_(axis, rows, outputs)
        return score if self.of_rows else predicts, loss


def _walked(walk: Walk, optimizer: Any) -> tuple[Tensor, Tensor]:
    walked = walk()
    optimizer.step()
    return walked


def _of_as_many_rows(outputs: Tensor, axis: int, count: int) -> Tensor:
    """An empty tensor like the outputs of a batch, for `count` rows."""
    shape = list(outputs.shape)
    shape[axis] = count
    return outputs.new_empty(shape)
