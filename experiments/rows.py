"""What a script comes to: numbers with a verdict on each, figures, files."""

import textwrap
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from matplotlib.animation import FuncAnimation
    from matplotlib.figure import Figure

BROKEN = "NO LONGER HOLDS"
WIDEST = 36  # characters of a column on a terminal; the rest goes on below


class Row(NamedTuple):
    """One number of a source, or a few that belong together, with the verdict on it."""

    source: str
    what: str
    published: str
    obtained: str
    tolerance: str
    verdict: str
    why: str = ""

    @property
    def holds(self) -> bool:
        return self.verdict != BROKEN


class Outcome(NamedTuple):
    """What a script comes to: rows, figures and animations by file name, files it has written."""

    rows: Sequence[Row] = ()
    figures: "dict[str, Figure]" = {}  # noqa: RUF012
    animations: "dict[str, FuncAnimation]" = {}  # noqa: RUF012
    written: Sequence[Path] = ()


def table(rows: Sequence[Row], *, markdown: bool = False) -> str:
    """The rows as a table: in columns, or in Markdown."""
    head = Row("source", "what", "published", "obtained", "tolerance", "verdict", "why")
    if markdown:
        lines = [
            "| " + " | ".join(cell.replace("|", r"\|") for cell in row) + " |"
            for row in (head, *rows)
        ]
        return "\n".join([lines[0], "|" + " --- |" * len(head), *lines[1:]])
    shown = [(r.what, r.published, r.obtained, r.verdict, r.why) for r in (head, *rows)]
    parts = [line for cells in shown for line in zip_longest(*map(_wrapped, cells), fillvalue="")]
    widths = [max(map(len, column)) for column in zip(*parts, strict=True)]
    return "\n".join(
        "  ".join(part.ljust(w) for part, w in zip(line, widths, strict=True)).rstrip()
        for line in parts
    )


def _wrapped(cell: str) -> list[str]:
    return textwrap.wrap(cell, WIDEST, break_on_hyphens=False) or [""]
