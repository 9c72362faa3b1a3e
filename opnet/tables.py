"""Tables as text and as HTML: the first column to the left, numbers to the right."""

from collections.abc import Iterable, Sequence
from html import escape

Cells = Sequence[str]


def as_text(header: Cells, rows: Sequence[Cells]) -> list[str]:
    """The lines of a table, its header first."""
    every = [header, *rows]
    widths = [max(len(row[i]) for row in every) for i in range(len(header))]

    def line(row: Cells) -> str:
        first, *others = zip(row, widths, strict=True)
        cells = [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]
        return "  ".join(cells).rstrip()

    return [line(row) for row in every]


def as_html(header: Cells, rows: Sequence[Cells], caption: str = "") -> str:
    """A <table>; text of any kind may stand in its cells."""
    head = _row("th", header)
    body = "".join(_row("td", row) for row in rows)
    above = f"<caption>{escape(caption)}</caption>" if caption else ""
    return f"<table>{above}<thead>{head}</thead><tbody>{body}</tbody></table>"


def _row(tag: str, cells: Iterable[str]) -> str:
    first, *others = (escape(cell) for cell in cells)
    left, right = (f'<{tag} style="text-align: {side}">' for side in ("left", "right"))
    tail = "".join(f"{right}{cell}</{tag}>" for cell in others)
    return f"<tr>{left}{first}</{tag}>{tail}</tr>"
