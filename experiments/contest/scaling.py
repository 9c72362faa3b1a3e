"""(h): what an epoch costs for ten times the rows, and for a wider net."""

from typing import TYPE_CHECKING

from experiments.contest.cases import Case
from experiments.contest.referee import Ring
from experiments.contest.report import Measured

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEFT_OUT = ("compiled", "sklearn")  # compiles anew for each size; is slower than NumPy
ROWS = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)
WIDTHS = (4, 16, 64, 256, 1024)
FEW_ROWS = 10_000  # for the widths
WORK = 2e7  # rows x width x epochs of a call, about
MARKERS = "osD^v"


def sizes(*, quick: bool) -> dict[str, list[Case]]:
    """The cases by what grows in them."""
    rows, widths = (ROWS[:3], WIDTHS[:3]) if quick else (ROWS, WIDTHS)
    return {
        "rows of the train set": [_case(count, 5, quick) for count in rows],
        "hidden units": [_case(FEW_ROWS, width, quick) for width in widths],
    }


def _case(rows: int, width: int, quick: bool) -> Case:
    work = WORK / 20 if quick else WORK
    epochs = max(1, min(200, int(work / (rows * width))))
    title = f"{rows:,} + {rows // 4:,} rows"
    repeats = 2 if quick else 3
    return Case("h", title, rows, rows // 4, (2, width, 1), epochs, 1 / width, repeats=repeats)


def measured(ring: Ring, seed: int, *, quick: bool) -> dict[str, Measured]:
    names = [name for name in ring.started if name not in LEFT_OUT]
    return {
        what: [(case, ring.contest(case, seed, names)) for case in cases]
        for what, cases in sizes(quick=quick).items()
    }


def drawn(sweeps: dict[str, Measured]) -> "Figure":
    """Microseconds an epoch over the size, both in powers of ten; a line a competitor."""
    from opnet import plots

    drawing, panels = plots.figure(1, len(sweeps), width=8.4, height=4.2)
    for axes, (what, sweep) in zip(panels.flat, sweeps.items(), strict=True):
        by_rows = what.startswith("rows")
        for name, marker in zip(sweep[0][1], MARKERS, strict=False):
            points = [
                (case.rows if by_rows else case.widths[1], 1e6 * results[name].steady / case.epochs)
                for case, results in sweep
                if not results[name].no
            ]
            if points:
                axes.loglog(*zip(*points, strict=True), marker=marker, markersize=4, label=name)
        axes.set(xlabel=what, title=sweep[0][0].net if by_rows else sweep[0][0].title)
    panels.flat[0].set(ylabel="an epoch, µs")
    panels.flat[0].legend()
    drawing.suptitle("What an epoch costs")
    return drawing
