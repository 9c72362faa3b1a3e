"""What an epoch on several ranks costs, in three numbers: a row, what does not shrink, a talk."""

from typing import Any, NamedTuple

DEV_ROWS, FORWARD_ONLY = 10_000, 1 / 3  # a row of the dev set costs a third of one to train on
TALKS = 3  # reductions of an epoch: gradient, what to do next, losses and scores
MANY = 2**20  # numbers in a large reduction
ASSUMED = """It assumes a core for each rank, rows shared evenly, memory as fast for each of
many as for each of two, and a network like the loopback measured here. More ranks than cores share
these, and a reduction waits for those that do not run: the model is not for them, nor fitted."""


class Way(NamedTuple):
    """How a training is started: so many ranks of so many threads on so many rows."""

    ranks: int
    threads: int
    rows: int


class Model(NamedTuple):
    """epoch = fixed + per_row rows / R + TALKS 2 (R - 1) (step + per_number numbers / R), R ranks.

    Seconds; in a ring of R each sends an R-th of all numbers, 2 (R - 1) times.
    """

    fixed: float
    per_row: float
    step: float
    per_number: float
    numbers: int

    def talking(self, ranks: int) -> float:
        steps = 2 * (ranks - 1)
        return TALKS * steps * (self.step + self.per_number * self.numbers / ranks)

    def epoch(self, rows: int, ranks: int) -> float:
        return self.fixed + self.per_row * work(rows, ranks) + self.talking(ranks)

    def __str__(self) -> str:
        speed = 4e-9 / self.per_number
        return (
            f"epoch = {1e3 * self.fixed:.2f} ms + rows x {1e9 * self.per_row:.0f} ns / ranks\n"
            f"      + {TALKS} x 2 (ranks - 1) x ({1e6 * self.step:.0f} us"
            f" + {4 * self.numbers:,} bytes / ranks at {speed:.2f} GB/s)"
        )


def work(rows: int, ranks: int) -> float:
    """Rows to train on that cost as much as an epoch costs one of the ranks."""
    return (rows + DEV_ROWS * FORWARD_ONLY) / ranks


def fitted(epochs: dict[Way, float], talks: dict[str, float], numbers: int, cores: int) -> Model:
    """The model of the median epochs, by least squares of their relative errors.

    `talks` are the seconds of a small and of a large reduction on two ranks. What ways of one
    thread and at most as many ranks as cores have taken besides is rows, and what does not shrink.
    """
    import numpy as np

    per_number = max((talks["many"] - talks["few"]) / MANY, 1e-12)
    model = Model(0.0, 0.0, talks["few"] / 2, per_number, numbers)
    ways = [way for way in epochs if way.threads == 1 and way.ranks <= cores]
    seconds = np.array([epochs[way] for way in ways])
    left = seconds - [model.talking(way.ranks) for way in ways]
    features = np.array([[1.0, work(way.rows, way.ranks)] for way in ways])
    scale = seconds[:, None]
    (fixed, per_row), *_ = np.linalg.lstsq(features / scale, left / seconds, rcond=None)
    if fixed < 0:  # within what the clock can tell
        fixed, per_row = 0.0, float(np.median(left / features[:, 1]))
    return model._replace(fixed=float(fixed), per_row=float(per_row))


def table(head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    lines = [head, *rows]
    return "\n".join("".join(f"{cell!s:>12}" for cell in line) for line in lines)
