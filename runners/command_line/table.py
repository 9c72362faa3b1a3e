"""Rows from a file, or made: named columns of numbers, and the column that is to be predicted.

A fault of the file is one line: its name, the line, the column, what stands there, what was wanted.
"""

import csv
import hashlib
import io
import math
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..ends import Usage
from .settings import MADE, Settings, is_csv

MISSING = {"", "na", "n/a", "nan", "null", "?"}  # in any case of letters
SEPARATORS = (";", "\t")  # of files that are no CSV
MOST_NAMES = 10  # that a line lists


class Table(NamedTuple):
    """Columns by name, X [N, I] in float64; `labels` [N], text or numbers, where there are any."""

    who: str
    columns: list[str]
    X: np.ndarray
    labels: list[Any] | None
    sha256: str | None


def read(settings: Settings, columns: Sequence[str] | None = None, labels: bool = True) -> Table:
    """What `settings.data` names: all columns but the target, or those `columns` of a model.

    Without `labels` the target is not looked at. ValueError for whatever is wrong with the file.
    """
    data = settings.data
    if data is None:
        raise Usage(f"--data is missing, wanted FILE.csv, FILE.npz or {', '.join(MADE)}")
    if data in MADE:
        table = _made(data, settings)
    elif data.lower().endswith(".npz"):
        table = _npz(data, labels)
    elif is_csv(data):
        return _csv(data, settings, columns, labels)
    else:
        raise Usage(f"{data:.200}: wanted FILE.csv, FILE.npz or {', '.join(MADE)}")
    if settings.target is not None and columns is None:
        raise Usage(f"--target is for a CSV, {data:.200} has one of its own")
    if columns and len(columns) != len(table.columns):
        came = f"{table.who}: has {len(table.columns)} columns"
        raise ValueError(f"{came}, the model wants {len(columns)}: {told(columns)}")
    return table._replace(columns=list(columns or table.columns))


def _made(kind: str, settings: Settings) -> Table:
    if kind == "moons":
        from opnet import make_moons

        X, y = (
            part.numpy()
            for part in make_moons(settings.rows, noise=settings.noise, seed=settings.seed)
        )
        return Table(kind, ["x1", "x2"], X, y.ravel().astype(int).tolist(), None)
    from sklearn import datasets

    how = {"random_state": np.random.RandomState(settings.seed)}
    if kind == "blobs":
        X, y = datasets.make_blobs(settings.rows, cluster_std=5 * settings.noise, **how)
    else:
        X, y = datasets.make_circles(settings.rows, noise=settings.noise, factor=0.5, **how)
    return Table(kind, ["x1", "x2"], X, y.tolist(), None)


def _bytes(data: str) -> bytes:
    if data == "-" and sys.stdin is None:
        raise ValueError("stdin: is closed, wanted a CSV")
    try:
        return sys.stdin.buffer.read() if data == "-" else Path(data).read_bytes()
    except OSError as error:
        raise ValueError(f"{data}: {(error.strerror or str(error)).lower()}") from None


def _npz(data: str, wants_labels: bool) -> Table:
    raw = _bytes(data)
    try:
        file = np.load(io.BytesIO(raw), allow_pickle=False)
        if isinstance(file, np.ndarray):
            raise ValueError("one array, as of a .npy")
        with file:
            arrays = {name: file[name] for name in ("X", "y") if name in file}
            held = ", ".join(file) or "nothing"
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise ValueError(f"{data}: no .npz of plain arrays: {_line(error)}") from None
    lacks = {"X", "y"} - arrays.keys() if wants_labels else {"X"} - arrays.keys()
    if lacks:
        raise ValueError(f"{data}: has no {' and no '.join(sorted(lacks))}, but {held:.80}")
    X, y = arrays["X"], arrays.get("y")
    if X.dtype.kind not in "biuf" or X.ndim != 2 or 0 in X.shape:
        raise ValueError(f"{data}: X is {X.dtype} {list(X.shape)}, wanted numbers [N, I]")
    if y is not None and (y.dtype.kind not in "biufU" or y.size != len(y) or len(y) != len(X)):
        came = f"{data}: y is {y.dtype} {list(y.shape)}"
        raise ValueError(f"{came}, wanted a number or a text for each of {len(X)} rows")
    X = X.astype(np.float64)
    if not np.isfinite(X).all():
        row, column = np.argwhere(~np.isfinite(X))[0]
        raise ValueError(f"{data}: X[{row}, {column}] is {X[row, column]}, wanted a finite number")
    labels = None if y is None else y.ravel().tolist()
    names = [str(column) for column in range(X.shape[1])]
    return Table(data, names, X, labels, hashlib.sha256(raw).hexdigest())


def _csv(data: str, settings: Settings, columns: Sequence[str] | None, wants_labels: bool) -> Table:
    raw = _bytes(data)
    who = "stdin" if data == "-" else data
    names, lines, cells = _cells(who, raw, settings.header)
    target = _place(who, names, settings.target) if wants_labels else None
    if columns is None:
        columns = [name for place, name in enumerate(names) if place != target]
    by_name = dict(zip(names, zip(*cells, strict=True), strict=True))
    if lacks := [name for name in columns if name not in by_name]:
        came = f"{who}: has no column {lacks[0]!r:.60}"
        raise ValueError(f"{came}, wanted {told(columns)}{_hint(names)}")
    if not columns:
        raise ValueError(f"{who}: has no column but the target, wanted features")
    found = [_numbers(who, name, by_name[name], lines) for name in columns]
    labels = None
    if target is not None:
        labels = [cell.strip() for cell in by_name[names[target]]]
        _check_missing(who, names[target], labels, lines)
    X = np.array(found, dtype=np.float64).T
    return Table(who, list(columns), X, labels, hashlib.sha256(raw).hexdigest())


def _cells(who: str, raw: bytes, header: str) -> tuple[list[str], list[int], list[list[str]]]:
    """Names of the columns, and of each row its line and its cells."""
    lines, cells = _lines_of(who, raw)
    if not cells:
        raise ValueError(f"{who}: is empty, wanted rows")
    if len(cells[0]) == 1 and (other := [s for s in SEPARATORS if s in cells[0][0]]):
        raise ValueError(f"{who}: line {lines[0]} is parted by {other[0]!r}, wanted commas")
    for line, row in zip(lines, cells, strict=True):
        if len(row) != len(cells[0]):
            first = f"line {lines[0]} has {len(cells[0])}"
            raise ValueError(f"{who}: line {line} has {len(row)} cells, {first}")
    if header == "no" or (header == "auto" and not _is_header(*cells[:2])):
        return [str(place) for place in range(len(cells[0]))], lines, cells
    names, places = [name.strip() for name in cells[0]], dict[str, int]()
    for place, name in enumerate(names):
        if not name:
            raise ValueError(f"{who}: column {place} has no name in line {lines[0]}")
        if (twin := places.setdefault(name, place)) < place:
            raise ValueError(f"{who}: columns {twin} and {place} are both named {name!r:.60}")
    if len(cells) == 1:
        raise ValueError(f"{who}: has names and no rows")
    return names, lines[1:], cells[1:]


def _is_header(first: list[str], second: Sequence[str] = ()) -> bool:
    """Whether a line is one of names: without a number, or with a text above a number."""
    texts = [not _is_number(cell) for cell in first]
    above = zip(texts, first, second, strict=False)
    return all(texts) or any(
        text and cell.strip().lower() not in MISSING and _is_number(below)
        for text, cell, below in above
    )


def _hint(names: list[str]) -> str:
    """What may help where a column is not found, and line 1 was not taken for names."""
    unnamed = names == [str(place) for place in range(len(names))]
    return "; --header yes where line 1 has the names" if unnamed else ""


def _lines_of(who: str, raw: bytes) -> tuple[list[int], list[list[str]]]:
    """The cells of each line that is not blank, and its number."""
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise ValueError(f"{who}: line {line} is not UTF-8: byte {raw[error.start]:#x}") from None
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        found = [(reader.line_num, row) for row in reader if row]
    except csv.Error as error:
        raise ValueError(f"{who}: line {reader.line_num}: no CSV: {_line(error)}") from None
    return [line for line, _ in found], [row for _, row in found]


def _place(who: str, names: list[str], target: str | None) -> int:
    """Where the target stands: by its name, else by its number, from the end if below 0."""
    if target is None:
        raise Usage(f"--target is missing, wanted a column of {who}: {told(names)}")
    if target in names:
        return names.index(target)
    try:
        return range(len(names))[int(target)]
    except (ValueError, IndexError):
        came = f"{who}: has no column {target!r:.60}"
        raise Usage(f"{came}, wanted one of {told(names)}{_hint(names)}") from None


def _numbers(who: str, name: str, cells: Sequence[str], lines: list[int]) -> list[float]:
    """A column of finite numbers."""
    try:
        numbers = list(map(float, cells))
    except ValueError:
        numbers = []
    if numbers and all(map(math.isfinite, numbers)):
        return numbers
    _check_missing(who, name, cells, lines)
    for line, cell in zip(lines, cells, strict=True):
        if not _is_number(cell) or not math.isfinite(float(cell)):
            wanted = "a finite number" if _is_number(cell) else "a number in every row"
            came = f"{who}: line {line}: column {name!r:.60} is {cell.strip()!r:.40}"
            raise ValueError(f"{came}, wanted {wanted}")
    return numbers


def _check_missing(who: str, name: str, cells: Sequence[str], lines: list[int]) -> None:
    missing = [place for place, cell in enumerate(cells) if cell.strip().lower() in MISSING]
    if missing:
        first = f"line {lines[missing[0]]}: column {name!r:.60} is {cells[missing[0]]!r:.20}"
        raise ValueError(f"{who}: {first}, wanted a value ({len(missing)} missing in this column)")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def told(names: Sequence[str], between: str = ", ") -> str:
    """The first of these names."""
    more = [f"{len(names) - MOST_NAMES} more"] if len(names) > MOST_NAMES else []
    return between.join([f"{name:.40}" for name in names[:MOST_NAMES]] + more)


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__
