"""`predict`: a line for each row, the class and the probabilities of all, or the number."""

import argparse
import csv
import io
from pathlib import Path
from typing import Any

from opnet.files import write_whole

from ..ends import Usage
from .out import Out
from .settings import given_in
from .table import read
from .task import features
from .trained import Trained


def run(chosen: argparse.Namespace, out: Out) -> int:
    given = given_in(chosen)
    if "data" not in given:
        raise Usage("--data is missing, wanted the rows to predict")
    if out.as_json and chosen.out is not None:
        raise Usage("--json and --out exclude each other: the file is a CSV")
    trained = Trained.at(chosen.checkpoint, given)
    trained.check_spared(chosen.out)
    table = read(trained.record.settings, trained.task.columns, labels=False)
    outputs = trained.runner().predict(features(table)).tolist()
    names, rows = predicted(trained.task.classes, outputs)
    if out.as_json:
        text, data = "", [dict(zip(names, row, strict=True)) for row in rows]
    else:
        text, data = _as_csv(names, rows), None
    if chosen.out is None:
        out.result(text.removesuffix("\n"), data)
        return 0
    write_whole(Path(chosen.out), text.encode())
    out.result(f"[Written] {chosen.out}", None)
    return 0


def predicted(classes: list[str] | None, outputs: list[list[float]]) -> tuple[list[str], list[Any]]:
    """Names of columns, and rows: class 1 of two from 1/2 on, of more the most probable."""
    if classes is None:
        return ["predicted"], outputs
    names = ["predicted", *(f"p({name})" for name in classes)]
    rows: list[Any] = []
    for p in outputs:
        p = [1 - p[0], *p] if len(p) == 1 else p
        first = max(range(len(p)), key=lambda place: (p[place], place if len(p) == 2 else -place))
        rows.append([classes[first], *p])
    return names, rows


def _as_csv(names: list[str], rows: list[Any]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows([names, *rows])
    return text.getvalue()
