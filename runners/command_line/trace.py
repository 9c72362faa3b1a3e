"""`trace`: the next step of a checkpoint, as a table and as a page in which each op opens."""

import argparse
from typing import Any

from .. import RunnerV2_1, named
from .out import Out
from .settings import given_in
from .trained import Trained, judges

TOLD = ("name", "op", "formula", "saturated", "dead", "gradient", "update")


def run(chosen: argparse.Namespace, out: Out) -> int:
    from opnet import trace

    given = given_in(chosen)
    trained = Trained.at(chosen.checkpoint, given)
    trained.check_spared(chosen.out)
    (X, y), *_ = trained.sets(given).values()
    runner = _runner(trained, chosen.checkpoint)
    found = trace(runner.model, runner.loss_fn, X, y, runner.optimizer)
    data: dict[str, Any] = {"loss": found.loss}
    data["ops"] = [{key: getattr(line, key) for key in TOLD} for line in found.lines]
    text = str(found)
    if chosen.out:
        data["page"] = str(found.save_html(chosen.out))
        text += f"\n[Written] {data['page']}"
    out.result(text, data)
    return 0


def _runner(trained: Trained, directory: str) -> RunnerV2_1:
    """With the optimizer of the run, and what it remembered."""
    settings = trained.record.settings
    how = {"weight_decay": settings.l2}
    optimizer = named.optimizer(settings.optimizer, settings.lr, trained.model, **how)
    loss_fn, metric = judges(trained.model)
    runner = RunnerV2_1(trained.model, optimizer, metric, loss_fn)
    runner.load_model(directory)
    return runner
