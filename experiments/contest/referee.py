"""Lets all competitors run in turn, so that they meet the same load of the machine."""

import contextlib
import pickle
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from experiments.contest.cases import Case
from experiments.contest.problem import problem_of
from experiments.contest.process import Process


@dataclass
class Result:
    """What a competitor did in a case, or why it could not: each call's time, the first's memory.

    `peak` is in MB, over what was there before: later calls find what the first has left.
    """

    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)
    peak: float = 0.0
    histories: dict[str, list[float]] = field(default_factory=dict)
    no: str = ""

    def add(self, answer: dict[str, Any]) -> None:
        self.no = answer.get("no", "")
        if self.no:
            return
        self.peak = self.peak if self.seconds else answer["peak"]
        self.seconds.append(answer["seconds"])
        self.cpu_seconds.append(answer["cpu"])
        self.histories = answer["histories"]

    @property
    def steady(self) -> float:
        """Seconds of a call after the first, the median."""
        return median(self.seconds[1:])

    @property
    def last(self) -> list[float]:
        """The last losses on train and dev, or the mean prediction."""
        kept = {key: values for key, values in self.histories.items() if "score" not in key}
        return [values[-1] for values in kept.values()]

    def times(self, other: "Result", of: str = "seconds") -> float:
        """How many times as long as `other`: the median of the rounds after the first."""
        rounds = zip(getattr(self, of)[1:], getattr(other, of)[1:], strict=True)
        return median(mine / theirs for mine, theirs in rounds)

    def summary(self) -> dict[str, Any]:
        """All but the histories, whose ends are enough."""
        return {key: value for key, value in vars(self).items() if key != "histories"} | {
            "last": self.last
        }


@dataclass
class Ring:
    """The processes of all competitors, and a directory that they can read."""

    started: dict[str, Process]
    place: Path

    def contest(
        self, case: Case, seed: int, names: Iterable[str] = (), device: str = "cpu"
    ) -> dict[str, Result]:
        """All competitors, or `names` only, in turn: `repeats` rounds after the first."""
        players = {name: self.started[name] for name in names or self.started}
        file = self.place / "problem"
        file.write_bytes(pickle.dumps(problem_of(case, seed, device)))
        results = {}
        for name, process in players.items():
            results[name] = Result(no=process.ask({"prepare": str(file)}).get("no", ""))
        for _ in range(1 + case.repeats):
            for name, result in results.items():
                if not result.no:
                    result.add(players[name].ask({}))
        return results


@contextlib.contextmanager
def ring(names: Iterable[str], cores: int) -> Iterator[Ring]:
    """A process for each name; they end with the block."""
    with tempfile.TemporaryDirectory() as place, contextlib.ExitStack() as stack:
        started = {}
        for name in names:
            started[name] = Process(name, cores, Path(place))
            stack.callback(started[name].close)
        yield Ring(started, Path(place))
