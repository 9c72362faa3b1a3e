"""`plot`: the decision boundary of a checkpoint, or the curves of its run."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..ends import Usage
from .out import Out
from .settings import given_in
from .table import told
from .trained import Trained


def run(chosen: argparse.Namespace, out: Out) -> int:
    from opnet import plots

    given = given_in(chosen)
    trained = Trained.at(chosen.checkpoint, given)
    sets = {} if chosen.curves else trained.sets(given)
    plane = {"features": chosen.features, "fixed": dict(chosen.fixed)}
    path = plots.save(figure_of(trained, sets, curves=chosen.curves, **plane), Path(chosen.out))
    out.result(f"[Written] {path}", {"figure": str(path)})
    return 0


def figure_of(
    trained: Trained,
    sets: Mapping[str, Any],
    *,
    curves: bool = False,
    features: Sequence[str] | None = None,
    fixed: Mapping[str, float] | None = None,
) -> Any:
    """The Figure. Usage for a plane that the columns of the model do not make."""
    from opnet import plots

    if curves:
        if not (history := trained.record.more.get("history")):
            raise ValueError("run.json has no history: the run has not come to its end")
        return plots.curves(history)
    columns, classes = trained.task
    if classes is None:
        raise Usage("a regression has no decision boundary, wanted --curves")
    shown, held = _plane(columns, features or columns[:2], fixed or {})
    how: dict[str, Any] = {"features": shown, "fixed": held, "classes": [*map(_as_text, classes)]}
    display = plots.DecisionBoundary.from_predict(trained.model, sets, **how)
    xlabel, ylabel = (_as_text(columns[place]) for place in shown)
    display.ax_.set(xlabel=xlabel, ylabel=ylabel)
    return display.figure_


def _plane(
    columns: list[str], features: Sequence[str], fixed: Mapping[str, float]
) -> tuple[list[int], dict[int, float]]:
    """The places of the two columns to draw, and of the others with their values."""
    for name in (*features, *fixed):
        if name not in columns:
            raise Usage(f"{name!r:.60} is no column of the model, wanted {told(columns)}")
    if len(columns) < 2:
        raise Usage(f"the model reads one column, {columns[0]:.60}, a boundary wants two")
    others = [name for name in columns if name not in features]
    if set(features) & fixed.keys() or len(set(features)) < 2:
        raise Usage("--features wants two columns, and --fixed others than these")
    if lacks := [name for name in others if name not in fixed]:
        values = told([f"{name:.30}=VALUE" for name in lacks], " ")
        shown = told(features, " ")
        raise Usage(f"{len(columns)} columns: wanted --features {shown} --fixed {values}")
    return [columns.index(name) for name in features], {
        columns.index(k): v for k, v in fixed.items()
    }


def _as_text(name: str) -> str:
    """A name as it stands in the file: between two $ matplotlib would read a formula."""
    return name.replace("$", r"\$")
