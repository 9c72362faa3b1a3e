"""What is to be learned of a table: which classes there are or which number, and as tensors."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .table import Table, told

if TYPE_CHECKING:
    import torch

MOST_CLASSES = 100  # beyond, numbers are taken for what a regression wants
WHOLE = re.compile(r"(0|-?[1-9][0-9]*)\.0*")
SMALLEST, LARGEST = 1e-15, 1e15  # spread of a target whose square float32 holds, and its inverse
RESOLVED = 1e-5  # of its distance from 0: a spread below is not told apart in float32


class Task(NamedTuple):
    """The columns that a model reads, and the classes in the order of its outputs.

    `classes` are None for a regression; text as it stands in the file, whole numbers without a dot.
    """

    columns: list[str]
    classes: list[str] | None

    @classmethod
    def of(cls, table: Table, regression: bool) -> "Task":
        """ValueError unless there are two classes or more, or numbers to predict.

        And for a column that float32 cannot hold, or does not tell apart.
        """
        features(table)
        for name, values in zip(table.columns, table.X.T, strict=True):
            _check_resolved(f"{table.who}: column {name!r:.60}", values)
        if regression:
            who, values = f"{table.who}: the target", numbers(table)
            _check_resolved(who, values)
            if values.std() and not SMALLEST <= values.std() <= LARGEST:
                came = f"{who} varies by {values.std():.3g}"
                raise ValueError(f"{came}, wanted a unit in which that is nearer to 1")
            return cls(table.columns, None)
        found = sorted({_class_name(label) for label in table.labels or []})
        if len(found) < 2:
            raise ValueError(f"{table.who}: the target has one class only, {found[0]!r:.60}")
        if values := _values(found):
            found.sort(key=values.__getitem__)
        whole = all(value.is_integer() for value in values.values())
        if not whole or len(found) > MOST_CLASSES:
            came = f"{table.who}: the target has {len(found)} different values, {told(found)}"
            wanted = f"at most {MOST_CLASSES} classes" if whole else "classes"
            raise ValueError(f"{came}: wanted {wanted}{', or --regression' if values else ''}")
        return cls(table.columns, found)

    @property
    def outputs(self) -> int:
        """Of a net: one for a number and for two classes."""
        return 1 if self.classes is None or len(self.classes) == 2 else len(self.classes)

    def tensors(self, table: Table, device: Any = "cpu") -> "list[torch.Tensor]":
        """[X, y] in float32, y as the loss of the task takes it: [N, 1], or [N] of class indices.

        ValueError for a label that is no class, and for what float32 cannot hold.
        """
        import torch

        X = features(table).to(device)
        if self.classes is None:
            y = torch.from_numpy(numbers(table).astype(np.float32)).reshape(-1, 1)
            return [X, y.to(device)]
        places = {name: place for place, name in enumerate(self.classes)}
        labels = table.labels or []
        names = [label if label in places else _class_name(label) for label in labels]
        if strange := [name for name in names if name not in places]:
            came = f"{table.who}: the target has {strange[0]!r:.60}"
            raise ValueError(f"{came}, wanted one of {told(self.classes)}")
        indices = torch.tensor([places[name] for name in names])
        two = len(self.classes) == 2
        return [X, (indices.reshape(-1, 1).float() if two else indices).to(device)]

    def __str__(self) -> str:
        what = "a number" if self.classes is None else f"{len(self.classes)} classes"
        which = "" if self.classes is None else f": {told(self.classes)}"
        return f"features {told(self.columns)}; target {what}{which}"


def features(table: Table) -> "torch.Tensor":
    """X in float32. ValueError for a value that it cannot hold."""
    import torch

    with np.errstate(over="ignore"):
        X = table.X.astype(np.float32, order="C")
    if not np.isfinite(X).all():
        name = table.columns[np.argwhere(~np.isfinite(X))[0][1]]
        raise ValueError(f"{table.who}: column {name!r:.60} is beyond what float32 holds")
    return torch.from_numpy(X)


def numbers(table: Table) -> np.ndarray:
    """The target as finite numbers, in float64. ValueError for one that float32 cannot hold."""
    found = np.empty(len(table.labels or []))
    for row, label in enumerate(table.labels or []):
        try:
            found[row] = float(label)
        except ValueError:
            found[row] = np.nan
        if not np.isfinite(found[row]):
            raise ValueError(f"{table.who}: the target is {label!r:.40}, wanted finite numbers")
    if np.abs(found).max() > np.finfo(np.float32).max:
        raise ValueError(f"{table.who}: the target is beyond what float32 holds")
    return found


def _check_resolved(who: str, values: np.ndarray) -> None:
    varies, around = values.std(), values.mean()
    if 0 < varies < RESOLVED * abs(around):
        came = f"{who} varies by {varies:.3g} around {around:.6g}"
        raise ValueError(f"{came}, wanted that subtracted, for float32")


def _class_name(label: Any) -> str:
    """A label as text: as it stands, but a whole number without a dot."""
    if not isinstance(label, str):
        label = str(int(label)) if float(label).is_integer() else str(label)
    whole = WHOLE.fullmatch(label)
    return whole[1] if whole else label


def _values(names: Sequence[str]) -> dict[str, float]:
    """The number that each name is; none at all where one is text."""
    try:
        return {name: float(name) for name in names}
    except ValueError:
        return {}
