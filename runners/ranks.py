"""A training on several ranks: what each has of it, and that all mean the same one."""

import functools
from collections.abc import Callable, Iterator
from typing import Any, Concatenate, ParamSpec

import torch
from torch import Tensor

from opnet import parallel
from opnet.blocks import is_rowwise
from opnet.data import Batch, Rows, batch_of, drawn_rows, fresh_generator, mini_batches
from opnet.errors import joined
from opnet.parallel import Ranks, mark_of
from opnet.rows import Source
from opnet.shared import Shared
from opnet.tensors import described
from opnet.walk import attributes, leaf_ops, state

from .calls import every, of_house
from .replays import Plan
from .resume import told_of
from .sound import takes_memory
from .told import differences, told

P = ParamSpec("P")
APART = (
    "train: the weights of the ranks are no longer the same,"
    " wanted what callbacks and schedule change to be the same on each"
)


def on_ranks(train: Callable[Concatenate[Any, P], None]) -> Callable[Concatenate[Any, P], None]:
    """A training that the ranks do together, `runner.ranks` meanwhile, and that ends for all."""

    @functools.wraps(train)
    def together(runner: Any, /, *arguments: P.args, **options: P.kwargs) -> None:
        before, runner.ranks = runner.ranks, parallel.joined(runner._like().device)
        try:
            with runner.ranks.one_fate():
                train(runner, *arguments, **options)
        finally:
            runner.ranks = before

    return together


class Share:
    """What one rank has of a training; alone it has all of it, as it is.

    An epoch on all rows goes through `sets`, this rank's rows; one on mini-batches draws from all
    rows in the order that one process would, and takes its part of each batch.
    """

    def __init__(
        self, ranks: Ranks, runner: Any, sets: tuple[Rows, Rows], batch_size: int | None
    ) -> None:
        self.ranks, self.runner, self.all_rows = ranks, runner, list(sets)
        self.batch_size = batch_size
        if ranks.several:
            _check_can_be_shared(ranks, runner, sets)
        train, dev = sets
        self.sets = train if batch_size else _rows_of(ranks, train), _rows_of(ranks, dev)
        weights = [_rows(mine) / _rows(all_) for mine, all_ in zip(self.sets, sets, strict=True)]
        self.weights = weights * 2  # of the numbers of a run
        self.of_rows = self._scores if ranks.several else None
        self.dtype = torch.float64

    def check_alike(self, hooks: list[Any], generator: Any, asked: dict[str, Any]) -> None:
        """ValueError on every rank, naming the first whose settings or data are not rank 0's."""
        if not self.ranks.several:
            return
        settings = self._parts(hooks) | {key: told(value) for key, value in asked.items()}
        if generator:
            seed, state = generator.initial_seed(), told(generator.get_state())
            settings["generator"] = {"seed": seed, "state": state}
        for name, rows in zip(("train_set", "dev_set"), self.all_rows, strict=True):
            settings[name] = dict(zip("Xy", _told_of_rows(rows), strict=True))
        self._compare(settings)

    def check_found(self, resumable: Any) -> None:
        """ValueError where not all ranks have found the same run to go on with."""
        found = resumable and resumable.found
        self._compare({"epochs to go on from": found and found.about["epochs_done"]})

    def _parts(self, hooks: list[Any]) -> dict[str, Any]:
        """What a callback may still change before the first epoch, in plain values."""
        runner = self.runner
        return told_of(runner, hooks) | {
            "optimizer.lr": told(getattr(runner.optimizer, "lr", None)),
            "epochs trained": len(runner.train_loss),
            "params": [described(tensor) for tensor in state(runner.model)],
            "callbacks": [_told_of_callback(hook) for hook in hooks],
        }

    def _compare(self, settings: dict[str, Any]) -> None:
        first, *others = self.ranks.gather(settings)
        for rank, other in enumerate(others, start=1):
            if unlike := joined(differences(first, other, then="rank 0 has")):
                raise ValueError(f"train: rank {rank}: {unlike}")

    def fresh_generator(self) -> torch.Generator:
        made = fresh_generator("train") if self.ranks.first else torch.Generator()
        made.set_state(self.ranks.from_first(made.get_state()))
        return made

    def told_data(self) -> Any:
        """All rows by their sums, which no other rank has to read for this."""
        return self.ranks.from_first(told(self.all_rows) if self.ranks.first else None)

    def begin(self, hooks: list[Any]) -> None:
        """Take up the optimizer, once nobody changes it any more, and the weights of rank 0."""
        runner = self.runner
        self.optimizer: Any = runner.optimizer
        if self.ranks.several:
            self._compare(self._parts(hooks))
            self.ranks.copy_first(state(runner.model))
            if takes_memory(runner.optimizer):
                runner.optimizer.load_state(self.ranks.from_first(runner.optimizer.state_dict()))
            self.optimizer = Shared(runner.optimizer, runner.model, self.ranks, self.weights[0])

    def plan(self, plan: Plan) -> Plan:
        """The same plan, of updates and scores as the ranks share them."""
        if not (self.ranks.several and plan.training):
            return plan
        of_all = {"optimizer": self.optimizer, "metric": self._mean_score}
        return plan._replace(training=plan.training._replace(**of_all))

    def batches(self, batch_size: int, generator: torch.Generator) -> Iterator[Batch]:
        """This rank's rows of each batch; where it has none of one it waits for the others."""
        X, y = self.sets[0]
        if not self.ranks.several:
            yield from mini_batches(X, y, batch_size, generator)
            return
        for rows in drawn_rows(X, batch_size, generator):
            mine = rows[self.ranks.part(len(rows))]
            self.optimizer.weight = len(mine) / len(rows)
            if len(mine):
                yield batch_of(X, y, mine)
            else:
                self.optimizer.step_without_rows()

    def totals(self, columns: list[list[float]]) -> list[list[float]]:
        """The numbers over the rows of all ranks, from those over the rows of each.

        RuntimeError where the ranks no longer have the same weights: their mark is summed too.
        """
        if not self.ranks.several:
            return columns
        weights = torch.tensor(self.weights, dtype=torch.float64).unsqueeze(1)
        numbers = torch.tensor(columns, dtype=torch.float64).mul_(weights)
        mark = torch.tensor([mark_of(state(self.runner.model))], dtype=torch.float64)
        summed = self.ranks.sum(torch.cat([numbers.flatten(), mark]).to(self.ranks.device)).cpu()
        if summed[-1] != self.ranks.count * mark:
            raise RuntimeError(APART)
        losses, scores = summed[:-1].view_as(numbers).split(2)
        return [*losses.tolist(), *scores.to(self.dtype).tolist()]

    def _scores(self, predicts: Tensor, labels: Tensor) -> Tensor:
        """Row by row, in doubles: rounded but once, equal counts are equal scores on any ranks."""
        scores: Tensor = self.runner.metric.of_rows(predicts, labels)
        self.dtype = scores.dtype
        return scores.double()

    def _mean_score(self, predicts: Tensor, labels: Tensor) -> Tensor:
        return self._scores(predicts, labels).mean()


def _told_of_callback(hook: Any) -> dict[str, Any]:
    """What says when it is called, and, of this house's own, when it ends the run."""
    ends = of_house(hook) and hasattr(hook, "stopped_epoch")
    about = told(hook) if ends else {"class": type(hook).__name__}
    return about | {"called_every": every(hook)}


def _told_of_rows(rows: Rows) -> list[Any]:
    """Tensors by their sums; what is read from elsewhere is not read for this."""
    return [[list(p.shape), str(p.dtype)] if isinstance(p, Source) else told(p) for p in rows]


def _rows_of(ranks: Ranks, rows: Rows) -> Rows:
    """This rank's rows: views, and of a Source the part that alone will be read."""
    X, y = rows
    mine, axis = ranks.part(_rows(rows)), X.ndim - 2
    if not ranks.several:
        return rows
    count = mine.stop - mine.start
    here: Any = X.part(mine) if isinstance(X, Source) else X.narrow(axis, mine.start, count)
    return [here, y.narrow(axis, mine.start, count)]


def _rows(rows: Rows) -> int:
    count: int = rows[0].shape[-2]
    return count


def _check_can_be_shared(ranks: Ranks, runner: Any, sets: tuple[Rows, Rows]) -> None:
    """ValueError for what would not be what one process computes."""
    who = f"train: on {ranks.count} ranks"
    for name, rows in zip(("train_set", "dev_set"), sets, strict=True):
        if _rows(rows) < ranks.count:
            raise ValueError(f"{who} {name} has {_rows(rows)} rows, wanted one for each rank")
    for part in (*leaf_ops(runner.model), runner.model, runner.loss_fn):
        if not is_rowwise(part):
            raise ValueError(f"{who} {part} takes rows together, wanted each row by itself")
        if "generator" in attributes(part):
            raise ValueError(f"{who} {part} would draw other numbers than on one, wanted no draws")
    if not hasattr(runner.metric, "of_rows"):
        raise ValueError(f"{who} the metric is no mean over rows: mark it by metrics.over_rows")
