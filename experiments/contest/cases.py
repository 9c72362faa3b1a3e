"""What is measured: the sizes of each case, and smaller ones for a look in a minute."""

from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Case:
    """A training, or with no `epochs` a prediction for `rows`, of a net of `widths`.

    `repeats` are the calls to time, after a first one that may compile.
    """

    key: str
    title: str
    rows: int
    dev_rows: int
    widths: tuple[int, ...]
    epochs: int
    lr: float = 1.0
    activation: str = "logistic"  # or "relu": of the hidden layers, the last one is a logistic
    optimizer: str = "BatchGD"  # or "Adam"
    batch_size: int | None = None
    repeats: int = 5

    @property
    def net(self) -> str:
        """The widths as they are written: 2-5-1."""
        return "-".join(map(str, self.widths))


CASES = (
    Case("a", "moons, 640 + 160 rows", 640, 160, (2, 5, 1), 2000, repeats=7),
    Case("b", "64,000 + 16,000 rows", 64_000, 16_000, (2, 64, 1), 50, 0.2),
    Case("c", "64,000 + 16,000 rows", 64_000, 16_000, (2, 512, 1), 12, 0.02, repeats=3),
    Case("d", "1,000,000 + 10,000 rows", 1_000_000, 10_000, (20, 256, 1), 3, 0.05, repeats=2),
    Case("e", "batches of 64, 64,000 rows", 64_000, 16_000, (2, 64, 1), 1, 0.1, batch_size=64),
    Case("f", "predict, 1000 x 1000 grid", 1_000_000, 0, (2, 5, 1), 0, repeats=7),
    Case(
        *("g", "ReLU, Adam, 8,000 + 2,000 rows", 8_000, 2_000, (16, 64, 64, 1), 50, 1e-3),
        activation="relu",
        optimizer="Adam",
    ),
)
SMALL: dict[str, dict[str, Any]] = {  # what --quick changes
    "a": {"epochs": 100},
    "b": {"epochs": 2},
    "c": {"rows": 16_000, "dev_rows": 4_000, "epochs": 1, "title": "16,000 + 4,000 rows"},
    "d": {"rows": 50_000, "epochs": 1, "title": "50,000 + 10,000 rows"},
    "e": {"rows": 6_400, "title": "batches of 64, 6,400 rows"},
    "f": {"rows": 90_000, "title": "predict, 300 x 300 grid"},
    "g": {"epochs": 4},
}


def cases(*, quick: bool) -> tuple[Case, ...]:
    """Those of the tables."""
    if not quick:
        return CASES
    return tuple(replace(case, repeats=2, **SMALL[case.key]) for case in CASES)


def gpu_cases(*, quick: bool) -> tuple[Case, ...]:
    """(a), (c) and (d), at 10 times the size: of a GPU the others measure Python alone."""
    return tuple(
        replace(
            case,
            title=f"{10 * case.rows:,} + {10 * case.dev_rows:,} rows",
            rows=10 * case.rows,
            dev_rows=10 * case.dev_rows,
        )
        for case in cases(quick=quick)
        if case.key in "acd"
    )
