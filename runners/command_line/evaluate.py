"""`eval`: score and loss of a checkpoint, on the rows of its run or on others."""

import argparse
from collections.abc import Mapping
from typing import Any

from .. import RunnerV2_1
from .out import Out
from .settings import given_in
from .task import Task
from .trained import Trained

Scores = dict[str, dict[str, float]]


def run(chosen: argparse.Namespace, out: Out) -> int:
    given = given_in(chosen)
    trained = Trained.at(chosen.checkpoint, given)
    scores = judged(trained.runner(), trained.sets(given))
    out.result(shown(scores, trained.task), {"checkpoint": chosen.checkpoint, "scores": scores})
    return 0


def judged(runner: RunnerV2_1, sets: Mapping[str, Any]) -> Scores:
    """{set: {"score": ..., "loss": ...}}."""
    found = {name: runner.evaluate(rows) for name, rows in sets.items()}
    return {name: {"score": score, "loss": loss} for name, (score, loss) in found.items()}


def shown(scores: Scores, task: Task) -> str:
    """A line for each set, in the book's form."""
    digits = ".4g" if task.classes is None else ".4f"
    return "\n".join(
        f"[{name.capitalize()}] score/loss: {one['score']:{digits}}/{one['loss']:{digits}}"
        for name, one in scores.items()
    )
