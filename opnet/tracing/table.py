"""What a trace says: a tensor in short, a line for each op, a table of them."""

from dataclasses import dataclass
from pathlib import Path

from ..errors import check_path
from ..files import write_whole
from ..tables import as_html, as_text

HEADER = ("op", "in", "out", "outputs", "dL/d outputs", "saturated", "dead", "update / weight")
MOST_ROWS, MOST_COLUMNS, MOST_UNITS = 8, 8, 512  # of a tensor that a trace keeps to show


@dataclass(frozen=True)
class Shown:
    """A tensor of a walk: mean, spread and shape of the whole, and its first rows and columns.

    `rule` is the line of the chain rule that made it.
    """

    name: str
    rule: str
    shape: list[int]
    mean: float
    spread: float
    values: list[list[float]]

    def __str__(self) -> str:
        return f"{self.mean:.2g} ± {self.spread:.2g}" if self.shape else f"{self.mean:.4g}"


@dataclass(frozen=True)
class Line:
    """One op: shares from 0 to 1 of what is saturated and dead, None where the word means nothing.

    `forward` are its inputs, params and outputs, `backward` dL/d outputs, dL/d params, dL/d inputs
    and what a step would add to the params; `units` what there is to say of each unit. `gradient`
    is |dL/d params|, `update` |step| / |params|.
    """

    name: str
    op: str
    formula: str
    source: str
    forward: list[Shown]
    backward: list[Shown]
    units: list[Shown]
    saturated: float | None = None
    dead: float | None = None
    gradient: float | None = None
    update: float | None = None

    def cells(self) -> list[str]:
        named = self.name if self.op in self.name else f"{self.name} ({self.op})"
        shapes = [str(self.forward[0].shape), str(self.forward[-1].shape)]
        shares = ["" if s is None else f"{s:.0%}" for s in (self.saturated, self.dead)]
        update = "" if self.update is None else f"{self.update:.1e}"
        sent_back = [str(shown) for shown in self.backward[:1]] or [""]
        return [named, *shapes, str(self.forward[-1]), *sent_back, *shares, update]


@dataclass(frozen=True)
class Trace:
    """A line for each op in the order of the forward, then one for the loss.

    `str` is a table, notebooks show one in HTML, `save_html` writes a page in which each op opens.
    """

    model: str
    loss: float
    lines: list[Line]

    @property
    def gradient_norms(self) -> dict[str, float]:
        """{layer: |dL/d params|}, as `opnet.plots.gradient_norms` gives it."""
        return {line.name: line.gradient for line in self.lines if line.gradient is not None}

    def __str__(self) -> str:
        header, *rows = as_text(HEADER, [line.cells() for line in self.lines])
        rule = "-" * max(map(len, [header, *rows]))
        text = [header, rule]
        for row, line in zip(rows, self.lines, strict=True):
            text += [row, f"  {line.formula}"] if line.formula else [row]
        return "\n".join([*text, rule, self._said()])

    def _repr_html_(self) -> str:
        rows = [[*line.cells(), line.formula] for line in self.lines]
        return as_html((*HEADER, "formula"), rows, self._said())

    def _said(self) -> str:
        return f"{self.model}: loss {self.loss:.6g}; mean ± spread over rows and columns"

    def save_html(self, path: str | Path) -> Path:
        """Write a page that stands alone: no script, nothing from any network.

        It stands whole or not at all. CheckpointError (a ValueError) where it cannot be written.
        """
        from .page import page

        path = check_path("save_html: path", path)
        write_whole(path, page(self).encode())
        return path
