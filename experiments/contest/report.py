"""The results as plain text: a row a case, a column a competitor."""

import math
from collections.abc import Callable, Iterator, Sequence

from experiments.contest.cases import Case
from experiments.contest.limits import limits, shares
from experiments.contest.process import COMPILE, OPNET
from experiments.contest.referee import Result

Results = dict[str, Result]
Measured = list[tuple[Case, Results]]
Cell = Callable[[Case, Result, Result], str]
AGREE = 1e-3  # of the last losses, relative to opnet's


def ratio(case: Case, result: Result, opnet: Result) -> str:
    return f"{result.times(opnet):.2f}x"


def of_cpu(case: Case, result: Result, opnet: Result) -> str:
    """Of the time on the CPU, which other people's load does not stretch."""
    return f"{result.times(opnet, of='cpu_seconds'):.2f}x"


def whole(case: Case, result: Result, opnet: Result) -> str:
    """With the time to compile, as one who runs it once has it."""
    return f"{result.seconds[0] / opnet.seconds[0]:.2f}x"


def micros(case: Case, result: Result, opnet: Result) -> str:
    micros = 1e6 * result.steady / max(case.epochs, 1)
    return f"{micros:,.0f}" if micros >= 100 else f"{micros:.1f}"


def peak(case: Case, result: Result, opnet: Result) -> str:
    return f"{max(result.peak, 0):,.0f}"


def last(case: Case, result: Result, opnet: Result) -> str:
    return f"{result.last[0]:.5f}"


def tables(found: Measured) -> str:
    """All tables, then who could not run or does not agree."""
    names = list(found[0][1])
    others = [name for name in names if name != OPNET]
    compile = [name for name in names if name in COMPILE]
    parts = [
        table("times as long as opnet, median of the rounds", found, others, ratio),
        table("the same of CPU time", found, others, of_cpu),
        table("us an epoch, or a prediction", found, names, micros),
        table("MB at the peak, over imports and data", found, names, peak),
        table("last train loss, or mean prediction", found, names, last),
    ]
    if compile:
        head = "the first call, with the time to compile, as long as opnet's first"
        parts.insert(2, table(head, found, compile, whole))
    return "\n\n".join([*parts, "\n".join(remarks(found))]).rstrip()


def table(head: str, found: Measured, names: Sequence[str], cell: Cell) -> str:
    """A row a case, in columns: what it is to the left, the cells to the right."""
    rows = [["", head, "net", *names]]
    for case, results in found:
        opnet = results[OPNET]
        cells = [
            "-" if results[name].no or opnet.no else cell(case, results[name], opnet)
            for name in names
        ]
        rows.append([case.key, case.title, case.net, *cells])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            part.ljust(width) if place < 3 else part.rjust(width)
            for place, (part, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def reached(found: Measured, device: str) -> str:
    """What opnet reaches of the limits of a device."""
    most = limits(device)
    return "\n".join(
        f"({case.key}) opnet: {shares(case, results[OPNET].steady / case.epochs, *most)}"
        for case, results in found
        if not results[OPNET].no
    )


def agree(one: Result, other: Result) -> bool:
    """Whether two competitors end at the same losses; a nan agrees with nothing."""
    return all(
        math.isclose(*pair, rel_tol=AGREE) for pair in zip(one.last, other.last, strict=True)
    )


def remarks(found: Measured) -> Iterator[str]:
    """Who could not run, once for each reason, and whose losses are not opnet's."""
    absent: dict[tuple[str, str], list[str]] = {}
    for case, results in found:
        opnet = results[OPNET]
        for name, result in results.items():
            if result.no:
                absent.setdefault((name, result.no), []).append(case.key)
            elif not opnet.no and not agree(result, opnet):
                yield f"({case.key}) {name} DOES NOT AGREE: {result.last}, opnet {opnet.last}"
    for (name, reason), keys in absent.items():
        yield f"({', '.join(dict.fromkeys(keys))}) {name}: {reason}"
