"""`train`: a net on the rows of a table, the best weights and run.json into a directory."""

import argparse
import dataclasses
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

import opnet
from opnet import parallel, plots
from opnet.checkpoint import RESUME
from opnet.environment import environment
from opnet.files import MANIFEST
from opnet.tensors import pick_device
from opnet.walk import state

from .. import EarlyStopping, RunnerV2_1, named
from ..ends import Usage
from .evaluate import judged, shown
from .out import Out
from .record import DONE, STOPPED_EARLY, Record, read_record
from .settings import Settings, given_in
from .table import read
from .task import Task
from .trained import Trained, judges, parts


def run(chosen: argparse.Namespace, out: Out) -> int:
    if (count := parallel.launched()[1]) > 1:
        wanted = "wanted one process: several train in a script (docs/ranks.md)"
        raise Usage(f"train: WORLD_SIZE is {count}, {wanted}")
    given = given_in(chosen)
    before = read_record(Path(chosen.config), given) if chosen.config else None
    settings = before.settings if before else Settings(**given)
    if chosen.fast_dev_run:
        return _fast_dev_run(settings, out)
    before = before if "data" not in given else None
    trained, _ = train(settings, out, before, resume=chosen.resume)
    _tell(trained, out, f"[Written] {settings.out}", {"checkpoint": settings.out})
    return 0


def train(
    settings: Settings, out: Out, before: Record | None = None, *, resume: bool = False
) -> tuple[Trained, dict[str, Any]]:
    """One `RunnerV2_1.train`, and its sets; run.json is there from before the first epoch on.

    ValueError where the rows are not those of the run `before`; other differences are told.
    """
    started, directory = time.monotonic(), Path(settings.out)
    if resume:
        _check_resumable(directory)
    out.note(f"[Settings] {settings}")
    table = read(settings)
    task = Task.of(table, settings.regression)
    device = pick_device(settings.device)
    if before:
        before.check_unchanged(table)
        for change in _changes(before.more.get("environment"), environment(device)):
            out.note(f"[Config] {change}: the last bits may differ")
    sets = parts(settings, table, task, device)
    out.note(f"[Data] {table.who}: {', '.join(f'{n} {len(X)}' for n, (X, _) in sets.items())} rows")
    out.note(f"[Data] {task}")
    generator = torch.Generator().manual_seed(settings.seed)
    runner = _runner(settings, task, sets["train"], generator)
    stopping = EarlyStopping(settings.early_stopping) if settings.early_stopping else None
    more: dict[str, Any] = {
        "sha256": table.sha256,
        "environment": environment(device),
        "ended": None,
    }
    record = Record(settings, task, more)
    trained = Trained(directory, record, runner.model)
    begun = SimpleNamespace(on_train_begin=lambda _: record.begin(directory, resume=resume))
    try:
        with out.progress() as log_epochs:
            runner.train(
                sets["train"],
                sets["dev"],
                num_epochs=settings.epochs,
                log_epochs=log_epochs,
                save_dir=directory,
                keep="best_loss",
                callbacks=[begun, *([stopping] if stopping else [])],
                batch_size=settings.batch_size,
                generator=generator,
                save_every=settings.save_every,
                resume=resume,
                threads=settings.threads,
            )
        early = stopping and stopping.stopped_epoch is not None
        more["ended"] = STOPPED_EARLY if early else DONE
    except BaseException as error:
        more["ended"] = type(error).__name__
        raise
    finally:
        if runner.train_loss:
            more["scores"] = judged(trained.runner(), sets)
        if "weights_before" in more:  # it has begun
            more["seconds"] = round(time.monotonic() - started, 3)
            more["kept_epoch"] = runner.kept_epoch
            more["history"] = dict(runner.history)
            record.write(directory)
    return trained, sets


def _tell(trained: Trained, out: Out, last: str, data: dict[str, Any]) -> None:
    scores = trained.record.more["scores"]
    out.result(f"{shown(scores, trained.task)}\n{last}", data | {"scores": scores})


def _check_resumable(directory: Path) -> None:
    """Usage for a run that would be trained over, not gone on with."""
    if (directory / MANIFEST).exists() and not (directory / RESUME / MANIFEST).exists():
        came = f"{directory} has weights and no state to go on from, as --save-every leaves it"
        raise Usage(f"--resume: {came}: wanted another --out, or to begin anew")


def _changes(was: Any, now: dict[str, Any]) -> list[str]:
    """Versions, threads and device that are not those of a run before."""
    was = was if isinstance(was, dict) else {}
    return [f"{k} was {was.get(k)}, is {now[k]}" for k in now if was.get(k) != now[k]]


def _runner(
    settings: Settings, task: Task, rows: list[Any], generator: torch.Generator
) -> RunnerV2_1:
    """A net that reads columns as they stand in the file: its first op rescales them."""
    X, y = rows
    head: opnet.Op = opnet.Logistic() if task.outputs == 1 else opnet.Softmax()
    if task.classes is None:
        head = opnet.Rescale.of(y).undo()
    sizes = [X.shape[1], *settings.hidden, task.outputs]
    how = {"generator": generator, "device": X.device}
    inner = named.net(sizes, settings.activation, head, **how)
    model = opnet.Sequential(opnet.Rescale.of(X), *inner.layers)
    optimizer = named.optimizer(settings.optimizer, settings.lr, model, weight_decay=settings.l2)
    loss_fn, metric = judges(model)
    return RunnerV2_1(model, optimizer, metric, loss_fn)


def _fast_dev_run(settings: Settings, out: Out) -> int:
    """One epoch, one evaluation, save, load, plot: whether all of it works, and nothing stays."""
    from .plot import figure_of

    with tempfile.TemporaryDirectory() as nowhere:
        short = dataclasses.replace(settings, epochs=1, out=nowhere, save_every=None)
        trained, sets = train(short, out)
        loaded = Trained.at(nowhere, {})
        pairs = zip(state(trained.model), state(loaded.model), strict=True)
        if not all(torch.equal(saved.cpu(), read) for saved, read in pairs):
            raise RuntimeError("the model that was loaded is not the one that was saved")
        sets = {name: [part.cpu() for part in pair] for name, pair in sets.items()}
        judged(loaded.runner(), sets)
        curves = len(loaded.task.columns) != 2 or loaded.task.classes is None
        plots.save(figure_of(loaded, sets, curves=curves), Path(nowhere) / "figure.png")
    _tell(trained, out, "[Fast dev run] all works, nothing was kept", {})
    return 0
