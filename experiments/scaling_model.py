"""What an epoch on several ranks costs: rows, what does not shrink, talks, and a core shared."""

import math
from typing import Any, NamedTuple

DEV_ROWS, FORWARD_ONLY = 10_000, 1 / 3  # a row of the dev set costs a third of one to train on
TALKS = 3  # reductions of an epoch: gradient, what to do next, losses and scores
MANY = 2**20  # numbers in a large reduction
ASSUMED = """More ranks are predicted with a core for each, rows shared evenly, memory as fast for
each of many as for each of two, and a network like the loopback measured here."""


class Way(NamedTuple):
    """How a training is started: so many ranks of so many threads on so many rows."""

    ranks: int
    threads: int
    rows: int


class Model(NamedTuple):
    """epoch = k (fixed + per_row rows / R) + 2 (R - 1) (TALKS step + per_number numbers / R).

    Seconds on R ranks; in a ring each of them sends an R-th of the gradient, 2 (R - 1) times; what
    else they tell each other are few numbers, in which only the steps count. k is 1 where each has
    a core, else R / cores times `crowding`: turns are taken, and waited for.
    """

    fixed: float
    per_row: float
    step: float
    per_number: float
    numbers: int
    crowding: float = 1.0

    def talking(self, ranks: int) -> float:
        sent = self.per_number * self.numbers / ranks
        return 2 * (ranks - 1) * (TALKS * self.step + sent)

    def computing(self, rows: int, ranks: int, cores: float = math.inf) -> float:
        turns = ranks / cores * self.crowding if ranks > cores else 1.0
        return turns * (self.fixed + self.per_row * work(rows, ranks))

    def epoch(self, rows: int, ranks: int, cores: float = math.inf) -> float:
        return self.computing(rows, ranks, cores) + self.talking(ranks)

    def __str__(self) -> str:
        speed = 4e-9 / self.per_number
        return (
            f"epoch = k ({1e3 * self.fixed:.2f} ms + rows x {1e9 * self.per_row:.0f} ns / ranks)\n"
            f"      + 2 (ranks - 1) x ({TALKS} x {1e6 * self.step:.0f} us"
            f" + {4 * self.numbers:,} bytes / ranks at {speed:.2f} GB/s)\n"
            f"k = 1, or {self.crowding:.2f} ranks / cores where there are more ranks than cores"
        )


def work(rows: int, ranks: int) -> float:
    """Rows to train on that cost as much as an epoch costs one of the ranks."""
    return (rows + DEV_ROWS * FORWARD_ONLY) / ranks


def fitted(epochs: dict[Way, float], talks: dict[str, float], numbers: int, cores: int) -> Model:
    """The model of the median epochs, by least squares of their relative errors.

    `talks` are the seconds of a small and of a large reduction on two ranks. What the ways of one
    thread have taken besides is rows, and what does not shrink, where each rank has a core; the
    others then tell how much more it is where they share.
    """
    import numpy as np

    per_number = max((talks["many"] - talks["few"]) / MANY, 1e-12)
    model = Model(0.0, 0.0, talks["few"] / 2, per_number, numbers)
    left = {way: epochs[way] - model.talking(way.ranks) for way in epochs if way.threads == 1}
    ways = [way for way in left if way.ranks <= cores]
    features = np.array([[1.0, work(way.rows, way.ranks)] for way in ways])
    weights = 1 / np.array([epochs[way] for way in ways])
    wanted = np.array([left[way] for way in ways])
    scaled = features * weights[:, None], wanted * weights
    (fixed, per_row), *_ = np.linalg.lstsq(*scaled, rcond=None)
    if fixed < 0:  # within what the clock can tell
        fixed, per_row = 0.0, np.median(wanted / features[:, 1])
    model = model._replace(fixed=float(fixed), per_row=float(per_row))
    crowded = [
        left[way] / model.computing(way.rows, way.ranks, cores) for way in left.keys() - ways
    ]
    return model._replace(crowding=float(np.median(crowded)) if crowded else 1.0)


def furthest(epochs: dict[Way, float], model: Model, cores: int) -> float:
    """By which part of a measured epoch of one thread the model misses it, at most."""
    ways = [way for way in epochs if way.threads == 1]
    return max(abs(model.epoch(w.rows, w.ranks, cores) / epochs[w] - 1) for w in ways)


def table(head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    lines = [head, *rows]
    return "\n".join("".join(f"{cell!s:>12}" for cell in line) for line in lines)
