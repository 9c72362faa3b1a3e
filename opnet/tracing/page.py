"""A trace as a page that stands alone: each op opens to its tensors and what made them."""

import math
from collections.abc import Sequence
from html import escape
from pathlib import Path

from .table import MOST_COLUMNS, Line, Shown, Trace

COLUMNS = ("op", "shapes", "outputs", "dL/d outputs", "saturated", "dead", "update / weight")
MUCH = 0.5  # a share from which on it is told in colour
NOTHING_LOADS = "default-src 'none'; style-src 'unsafe-inline'"


def page(trace: Trace) -> str:
    """The HTML. Whatever comes from a model, names, formulas, sources, is escaped."""
    style = Path(__file__).with_name("page.css").read_text(encoding="utf-8")
    scale = _Scale([line.backward[0].spread for line in trace.lines if line.backward])
    first = next((i for i, line in enumerate(trace.lines) if line.gradient is not None), 0)
    ops = [_op(line, scale, i == first) for i, line in enumerate(trace.lines)]
    columns = "".join(f"<span>{name}</span>" for name in COLUMNS)
    return "\n".join(
        [
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{NOTHING_LOADS}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(trace.model)}, op by op</title>\n<style>\n{style}</style>\n</head>",
            f"<body>\n<header>\n<h1>{escape(trace.model)}, op by op</h1>\n{_head(trace)}</header>",
            f'<div class="columns">{columns}</div>',
            *ops,
            f"<footer>{_legend(scale)}</footer>\n</body>\n</html>\n",
        ]
    )


def _head(trace: Trace) -> str:
    shape = trace.lines[0].forward[0].shape
    rows = f"{math.prod(shape[:-1]):,} rows"
    return (
        f"<p>One forward walk down the list and one backward walk up it, on <b>{rows}</b>: "
        f"<b>loss {trace.loss:.6g}</b>. Numbers are mean ± spread over rows and columns; "
        "an op opens to its tensors and to the line of the chain rule that made each.</p>\n"
    )


def _legend(scale: "_Scale") -> str:
    keys = [
        f'<span class="key" style="background: var(--{tone})"></span> {sign} 0'
        for tone, sign in (("above", "above"), ("below", "below"))
    ]
    bars = f"the bar is the spread of dL/d outputs, from {scale.low:.0e} to {scale.high:.0e}"
    return f"{', '.join(keys)}, as deep as the value is large in its tensor; {bars}."


class _Scale:
    """A logarithmic axis from a whole power of ten to another."""

    def __init__(self, values: Sequence[float]) -> None:
        powers = [math.log10(v) for v in values if math.isfinite(v) and v > 0] or [0.0]
        self.first, self.last = math.floor(min(powers)), math.floor(max(powers)) + 1
        self.low, self.high = 10.0**self.first, 10.0**self.last

    def bar(self, value: float) -> str:
        """From the low end on; nothing for 0."""
        power = math.log10(value) if math.isfinite(value) and value > 0 else self.first
        length = 100 * (power - self.first) / (self.last - self.first)
        way = '<rect class="way" x="0" y="4" width="100" height="2"/>'
        size = f'<rect class="size" x="0" y="1" width="{length:.1f}" height="8"/>'
        return f'<svg viewBox="0 0 100 10" preserveAspectRatio="none">{way}{size}</svg>'


def _op(line: Line, scale: _Scale, is_open: bool) -> str:
    kind = "" if line.op in line.name else f' <span class="kind">{escape(line.op)}</span>'
    sent = line.backward[0] if line.backward else None
    numbers = [
        _column("shapes", f"{_size(line.forward[0])} → {_size(line.forward[-1])}"),
        _column("outputs", f"{line.forward[-1]}"),
        _column("dL/d outputs", f"{sent}{scale.bar(sent.spread)}" if sent else "", "flow"),
        _share("saturated", line.saturated),
        _share("dead", line.dead),
        _column("update / weight", "" if line.update is None else f"{line.update:.1e}"),
    ]
    cells = [
        f"<span><strong>{escape(line.name)}</strong>{kind}</span>",
        *numbers,
        f'<span class="formula">{escape(line.formula)}</span>',
    ]
    opened = " open" if is_open else ""
    return (
        f'<details class="op"{opened}><summary>{"".join(cells)}</summary>\n'
        f'<div class="open"><div class="ways">\n{_way("Forward ↓", line.forward)}'
        f"{_way('Backward ↑', [*line.backward, *line.units])}</div>{_source(line)}</div></details>"
    )


def _way(title: str, tensors: list[Shown]) -> str:
    return f"<section><h2>{title}</h2>\n{''.join(map(_figure, tensors))}</section>\n"


def _figure(shown: Shown) -> str:
    rule = f'<span class="line">{escape(shown.rule)}</span>' if shown.rule else ""
    largest = max((abs(v) for row in shown.values for v in row if math.isfinite(v)), default=0)
    power = max(math.floor(math.log10(largest)), -300) if largest else 0  # 10^power is no 0
    unit, digits = (0, 2 - power) if -3 < power < 3 else (power, 2)
    of_ten = f", here in 10<sup>{unit}</sup>" if unit else ""
    said = f'<b>{escape(shown.name)}</b> <span class="soft">{_size(shown)}, {shown}{of_ten}</span>'
    wide = len(shown.values) == 1 and len(shown.values[0]) > MOST_COLUMNS
    cells = _strip(shown, largest) if wide else _cells(shown, largest, unit, digits)
    return f"<figure><figcaption>{said}{rule}</figcaption>{cells}</figure>\n"


def _cells(shown: Shown, largest: float, unit: int, digits: int) -> str:
    """Its first rows and columns, each number on a ground as deep as it is large."""
    rows = [
        "".join(_cell(v, f"{v / 10**unit:.{digits}f}", largest) for v in row)
        for row in shown.values
    ]
    more_columns = bool(shown.shape) and shown.shape[-1] > len(shown.values[0])
    if more_columns:
        rows = [f'{row}<td class="more">…</td>' for row in rows]
    if math.prod(shown.shape[:-1]) > len(shown.values):
        rows.append("<td>⋮</td>" * len(shown.values[0]))
    return f"<table>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>"


def _cell(value: float, text: str, largest: float) -> str:
    """An exact 0 is told from what only rounds to it."""
    if not math.isfinite(value):
        return f'<td class="x">{value}</td>'
    if not value:
        return "<td>0</td>"
    depth = f"--v: {70 * abs(value) / largest:.0f}%"
    return f'<td class="{"p" if value > 0 else "n"}" style="{depth}">{text}</td>'


def _strip(shown: Shown, largest: float) -> str:
    """One row of many units, each a bar as deep as its value is large."""
    (row,) = shown.values
    depths = [value / largest if largest and math.isfinite(value) else 0.0 for value in row]
    bars = "".join(
        f'<rect class="unit" x="{place}" width=".9" height="1" fill-opacity="{depth:.2f}"/>'
        for place, depth in enumerate(depths)
    )
    ground = f'<rect class="way" width="{len(row)}" height="1"/>'
    box = f'viewBox="0 0 {len(row)} 1" preserveAspectRatio="none"'
    return f'<svg class="units" {box}>{ground}{bars}</svg>'


def _source(line: Line) -> str:
    if not line.source:
        return ""
    code = f"<pre>{escape(line.source)}</pre>"
    return f'<details class="written"><summary>as it is written</summary>{code}</details>'


def _share(name: str, share: float | None) -> str:
    if share is None:
        return _column(name, "")
    return _column(name, f"{share:.0%}", "warn" if share >= MUCH else "")


def _column(name: str, content: str, kind: str = "") -> str:
    """One of the numbers of a line, which has its name with it where the head is not shown."""
    return f'<span class="{kind}" data-name="{name}">{content}</span>'


def _size(shown: Shown) -> str:
    return " x ".join(map(str, shown.shape)) or "number"
