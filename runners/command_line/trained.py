"""A run that is on disk: its record and its model, and the rows that it was trained on."""

import os
from pathlib import Path
from typing import Any, NamedTuple

import torch

from opnet import Rescale
from opnet.walk import last_op

from .. import RunnerV2_1, named
from ..ends import Usage
from .record import NAME, Record, read_record
from .settings import MADE, Settings
from .table import Table, read
from .task import Task

DRAWN = {"rows", "noise", "seed"}  # the settings that made rows depend on
PARTS = ("train", "dev", "test")


class Trained(NamedTuple):
    """The model of a checkpoint with what its run.json tells; settings given as flags go first."""

    directory: Path
    record: Record
    model: Any

    @classmethod
    def at(cls, directory: str, given: dict[str, Any]) -> "Trained":
        """ValueError or CheckpointError for a directory that `train` has not written."""
        from opnet import load

        where = Path(directory)
        record = read_record(where / NAME, given)
        if not record.has_weights(where):
            raise ValueError(f"{directory}: has no weights of this run yet")
        if record.settings.data not in MADE and (drawn := sorted(given.keys() & DRAWN)):
            came = f"--{drawn[0]} is for {', '.join(MADE)}"
            raise Usage(f"{came}, the rows are those of {record.settings.data:.200}")
        trained = cls(where, record, load(where))
        trained._check_task()
        return trained

    @property
    def task(self) -> Task:
        return self.record.task

    def runner(self) -> RunnerV2_1:
        """One that judges and predicts, in the unit of the target."""
        loss_fn, metric = named.judges(self.model)
        return RunnerV2_1(self.model, None, metric, loss_fn)

    def _check_task(self) -> None:
        """ValueError for a net that has other inputs and outputs than the task."""
        columns, classes = self.task
        numbers = isinstance(last_op(self.model), Rescale)
        try:
            outputs = self.runner().predict(torch.zeros(1, len(columns))).shape[-1]
        except (ValueError, TypeError):  # of other columns
            outputs = 0
        if outputs != self.task.outputs or numbers != (classes is None):
            what = "a number" if classes is None else f"{len(classes)} classes"
            came = f"{self.directory / NAME}: the task has {len(columns)} columns and {what}"
            raise ValueError(f"{came}, the net beside it others")

    def check_spared(self, out: str | None) -> None:
        """Usage where to write `out` would take away the rows that are read, or the checkpoint."""
        if out is None:
            return
        path, data = Path(os.path.realpath(out)), self.record.settings.data
        if data and path.exists() and Path(data).exists() and path.samefile(data):
            raise Usage(f"--out {out:.200}: is where the rows are read from, wanted another file")
        if path.is_relative_to(os.path.realpath(self.directory)):
            raise Usage(f"--out {out:.200}: lies in the checkpoint, wanted another directory")

    def sets(self, given: dict[str, Any]) -> dict[str, Any]:
        """The parts of the rows that the run has read, or all of other ones that were given."""
        data = self.record.settings.data or ""
        if data == "-" and "data" not in given:
            raise Usage("the rows of the run came from stdin, wanted --data")
        if "data" not in given and data not in MADE and not Path(data).exists():
            here = f"no such file in {Path.cwd()}"
            raise ValueError(f"{data}: {here}: go to where the run was begun, or give --data")
        table = read(self.record.settings, self.task.columns)
        if given.keys() & {"data", *DRAWN}:
            return {"data": self.task.tensors(table)}
        self.record.check_unchanged(table)
        return parts(self.record.settings, table, self.task)


def judges(model: Any) -> tuple[Any, Any]:
    """Loss and metric to train by: that of a regression is free of the unit of its target."""
    loss_fn: Any
    loss_fn, metric = named.judges(model)
    if isinstance(head := last_op(model), Rescale):
        loss_fn.factor = float(head.buffers["scale"]) ** 2  # 1 / variance, as it takes that back
    return loss_fn, metric


def parts(settings: Settings, table: Table, task: Task, device: Any = "cpu") -> dict[str, Any]:
    """{"train": [X, y], "dev": ..., "test": ...} in a seeded order; of no test rows no test."""
    from opnet import split

    count = len(table.X)
    dev, test = (_rows(size, count) for size in (settings.dev_size, settings.test_size))
    sizes = count - dev - test, dev, test
    if min(sizes[:2]) < 1:
        asked = f"{table.who}: {count} rows, {dev} of them for dev and {test} for test"
        raise ValueError(f"{asked}: wanted some to train on and for dev")
    X, y = task.tensors(table)
    rows = split(X, y, tuple(filter(None, sizes)), seed=settings.seed)
    sets = dict(zip(PARTS, rows, strict=False))
    return {name: [part.to(device) for part in pair] for name, pair in sets.items()}


def _rows(size: float, count: int) -> int:
    """A share of the rows, or a number of them."""
    return round(size * count) if isinstance(size, float) and size < 1 else int(size)
