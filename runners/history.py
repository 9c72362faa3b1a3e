"""The four histories of a runner, to look at."""

from collections.abc import Iterator, Mapping
from typing import Any

from opnet.tables import as_html, as_text

NAMES = ("train_scores", "train_loss", "dev_scores", "dev_loss")
HEADER = ("", "first", "last", "best", "in epoch")


class History(Mapping[str, list[float]]):
    """{"train_loss": [a value each epoch], ...}: the lists of a runner themselves, by name.

    `str` is a table of the first, last and best values; notebooks show one in HTML.
    """

    def __init__(self, *histories: list[float]) -> None:
        self._lists = dict(zip(NAMES, histories, strict=True))

    def __getitem__(self, name: str) -> list[float]:
        return self._lists[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._lists)

    def __len__(self) -> int:
        return len(self._lists)

    def __repr__(self) -> str:
        return f"<History of {self.epochs} epochs>"

    def __str__(self) -> str:
        return "\n".join(as_text(HEADER, self._rows()))

    def _repr_html_(self) -> str:
        return as_html(HEADER, self._rows(), f"{self.epochs} epochs")

    @property
    def epochs(self) -> int:
        return min(map(len, self._lists.values()))

    def curves(self, ax: Any = None) -> Any:
        """The Figure of `opnet.plots.curves`."""
        from opnet import plots

        return plots.curves(self, ax)

    def _rows(self) -> list[list[str]]:
        return [[name.replace("_", " "), *_told(name, self[name])] for name in self if self[name]]


def _told(name: str, values: list[float]) -> list[str]:
    """The first of equal best ones is the best."""
    best = (min if name.endswith("loss") else max)(values)
    numbers = [f"{value:.4f}" for value in (values[0], values[-1], best)]
    return [*numbers, str(values.index(best))]
