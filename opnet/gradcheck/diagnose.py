"""Names what is wrong with a gradient, by what it equals instead."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from .numeric import Slopes

SMALL = 1e-3  # beside the largest element
NEAR = 1e-7  # what finite differences can tell apart; here it only chooses the name of a defect


class Evidence(NamedTuple):
    """All that is known of one gradient that is wrong.

    hand [K] is over the elements that were moved, `bad` [K] says which of them are wrong, `here`
    [K] are their values and `slopes` those of all outputs [K, M]; `upstream` [M] is dL/d outputs,
    `rows` [M] the row of each output. `transposed` and `instead` yield the gradients of forwards in
    which two axes were exchanged or something was left out.
    """

    where: str
    hand: Tensor
    bad: Tensor
    slopes: Slopes
    upstream: Tensor
    rows: Tensor
    here: Tensor
    outputs: Tensor
    shape: tuple[int, ...]
    row_count: int
    same_for_another_upstream: bool
    transposed: Callable[[], Iterator[Tensor]]
    instead: Callable[[], Iterator[tuple[str, Tensor]]]

    @property
    def truth(self) -> Tensor:
        return (self.slopes.slope * self.upstream).sum(1)


def diagnose(seen: Evidence) -> tuple[str, str]:
    """(kind, message) of a gradient that is wrong in `seen.bad`."""
    hand, truth = seen.hand, seen.truth
    if not hand.isfinite().all():
        return "not-finite", f"{int((~hand.isfinite()).sum())} elements are nan or infinite"
    if not hand.any():
        return "zero", "every element is 0"
    if nearly(hand, -truth):
        return "sign", "every element has the wrong sign"
    if seen.same_for_another_upstream:
        return "ignores-upstream", "the same for another upstream gradient"
    if said := _slightly_off(seen):
        return said
    if (factor := multiple(hand, truth)) is not None and (said := _scaled(seen, factor)):
        return said
    for candidate in seen.transposed():
        if nearly(hand, candidate):
            return "transposed", "equal to the right one with two axes exchanged"
    if one := _one_row(seen):
        return one
    if nearly(hand, seen.slopes.slope.sum(1)):
        return "ignores-upstream", "equal to the slope alone, for an upstream gradient of ones"
    return _missing_term(seen) or _partly_wrong(seen)


def _scaled(seen: Evidence, factor: float) -> tuple[str, str] | None:
    n = seen.row_count
    if seen.where != "inputs" and n > 1 and abs(factor * n - 1) < NEAR:
        return "mean-instead-of-sum", f"1/{n} of the right one: a mean over the {n} rows, not a sum"
    columns = len(seen.upstream) // max(n, 1)
    causes = {
        1 / n: f"1/N: a mean over the {n} rows that belongs to the loss",
        float(n): f"N: the {n} rows are counted twice",
        1 / max(columns, 1): "1/O: a mean over the outputs",
        1 / max(len(seen.upstream), 1): "1/(N O): a mean over all outputs",
        2.0: "2: a square that was derived without its 1/2, or a term counted twice",
        0.5: "1/2: the 2 of a square is left out",
    }
    cause = next((c for f, c in causes.items() if abs(factor / f - 1) < NEAR), None)
    if cause is None and len(seen.hand) == 1:
        return None  # of one number everything is a multiple
    cause = cause or "a constant factor, such as a slope"
    return "scaled", f"{factor:.7g} times the right one ({cause})"


def _slightly_off(seen: Evidence) -> tuple[str, str] | None:
    """An error too small for a term that is missing: in the digits, or in a small constant."""
    error, scale = (seen.hand - seen.truth).abs().max(), seen.truth.abs().max()
    share = (error / scale).item()
    factor = ((seen.hand * seen.truth).sum() / seen.truth.square().sum()).item()
    if share < SMALL and (seen.hand - factor * seen.truth).abs().max() < error / 1000:
        return "scaled", f"1 {factor - 1:+.2g} times the right one (a constant with too few digits)"
    if share <= torch.finfo(torch.float32).eps * 8:
        return "low-precision", f"off by {share:.1g} of the largest, as float32 rounds"
    if share < SMALL and not _right(seen).any():
        return "wrong-value", f"off by {share:.1g} of the largest: another eps, or too few digits?"
    return None


def _right(seen: Evidence) -> Tensor:
    """The elements that are right, and not by both being 0."""
    return ~seen.bad & (seen.truth.abs() > NEAR * seen.truth.abs().max())


def _one_row(seen: Evidence) -> tuple[str, str] | None:
    """Whether only one row's share of the sum is there."""
    if seen.where == "inputs":
        return None
    for row in range(seen.row_count):
        share = (seen.slopes.slope * (seen.upstream * (seen.rows == row))).sum(1)
        if nearly(seen.hand, share):
            return "not-summed-over-batch", f"only row {row} of {seen.row_count} is counted"
        if nearly(seen.hand, seen.truth - share):
            return "not-summed-over-batch", f"row {row} of {seen.row_count} is not counted"
    return None


def _missing_term(seen: Evidence) -> tuple[str, str] | None:
    """A factor or a summand of the chain rule that is left out."""
    hand, kind = seen.hand, "missing-term"
    for left_out, candidate in seen.instead():
        if nearly(hand, candidate):
            return kind, f"{left_out} is left out"
    y, g, slope = seen.outputs, seen.upstream, seen.slopes.slope
    activations = [y, y - seen.here] if y.shape == seen.here.shape else [y]  # or beside a shortcut
    for a in activations:
        for name, factor in (("1 - y^2", 1 - a**2), ("y (1 - y)", a * (1 - a))):
            if nearly(hand, (slope * g / factor).sum(1)):
                return kind, f"the activation's slope {name} is left out"
    columns = len(g) // max(seen.row_count, 1)
    parts = [list(range(columns // 2)), list(range(columns // 2, columns))]
    for part in parts if columns > 1 and seen.where == "inputs" else []:
        kept = torch.isin(torch.arange(len(g)) % columns, torch.tensor(part))
        if nearly(hand, (slope * g * kept).sum(1)):
            return kind, "what comes back from some of the outputs is left out"
    if seen.where != "inputs" or len(hand) != len(g):
        return None
    if nearly(hand, seen.truth - g):
        return kind, "the upstream gradient of a shortcut is left out"
    if nearly(hand, g):
        return kind, "the upstream gradient is passed on: the slope is left out"
    diagonal = slope.diagonal()
    if nearly(hand, diagonal * g):
        return kind, "the outputs of other elements depend on each input too: that is left out"
    coupled = not nearly(slope, torch.diag(diagonal))
    if coupled:
        return _coupling(seen)
    return _elementwise(seen, hand / g, diagonal)


def _elementwise(seen: Evidence, hand: Tensor, slope: Tensor) -> tuple[str, str] | None:
    """hand and true slope of an elementwise op, as functions of its inputs x and outputs y."""
    kind, x, y = "missing-term", seen.here, seen.outputs
    gate = y / x  # of y = x s(x)
    if nearly(hand, gate) or nearly(hand, slope - gate):
        return kind, "one of the two summands of a product's slope is left out"
    if multiple(hand - gate, slope - gate) is not None:
        return kind, "a factor in one summand of a product's slope is left out"
    factors = {"x": x, "y": y, "1 - y": 1 - y, "1 + y": 1 + y}
    factors |= {"x^2": x**2, "y^2": y**2, "1 - x": 1 - x, "1 + x": 1 + x}
    for name, factor in factors.items():
        if nearly(hand * factor, slope):
            return kind, f"the factor {name} is left out"
        if nearly(hand, slope * factor):
            return kind, f"the factor {name} is one too many"
    return None


def _coupling(seen: Evidence) -> tuple[str, str] | None:
    """A row-coupled op (softmax, a norm) whose gradient treats its elements one by one."""
    n = seen.row_count
    grid = (n, len(seen.hand) // n)
    if grid[0] * grid[1] != len(seen.hand):
        return None
    kind, message = "missing-term", "the part that couples the elements is left out"
    quotient = (seen.hand / seen.upstream).reshape(grid)
    y, short = seen.outputs.reshape(grid), (seen.hand - seen.truth).reshape(grid)
    for axis in (0, 1):
        if grid[axis] > 1 and nearly(quotient, quotient.mean(axis, keepdim=True).expand(grid)):
            return kind, message
        if grid[axis] < 3:
            continue
        flat = short - short.mean(axis, keepdim=True)
        centred = y - y.mean(axis, keepdim=True)
        along = (flat * centred).sum(axis, keepdim=True) / (centred**2).sum(axis, keepdim=True)
        if nearly(short, (short - flat) + along * centred):
            return kind, "a term with the mean, or with the spread, of the elements is left out"
    if nearly(seen.hand, seen.outputs * seen.upstream):
        return kind, message
    return None


def _partly_wrong(seen: Evidence) -> tuple[str, str]:
    if _right(seen).any() and seen.bad.any():
        places = [_index(int(i), seen.shape) for i in seen.slopes.which[seen.bad][:6]]
        count = f"{int(seen.bad.sum())} of {len(seen.bad)} elements"
        return "wrong-elements", f"{count} are wrong: {', '.join(map(str, places))}"
    if nearly(seen.hand.sort().values, seen.truth.sort().values):
        return "wrong-elements", "the right values in wrong places"
    if ((seen.hand == 0) | (seen.truth.abs() <= NEAR * seen.truth.abs().max())).all():
        return "wrong-elements", "0 where it should not be and not 0 where it should: a mask?"
    return "wrong-value", "no simple relation to the right one"


def _index(flat: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    index = []
    for size in reversed(shape):
        flat, i = divmod(flat, size)
        index.append(i)
    return tuple(reversed(index))


def nearly(a: Tensor, b: Tensor) -> bool:
    """Whether two gradients are one, beyond what finite differences can tell apart."""
    if a.shape != b.shape or not (a.isfinite().all() and b.isfinite().all()):
        return False
    scale = torch.maximum(a.abs().max(), b.abs().max())
    return bool(scale > 0) and bool(((a - b).abs() <= NEAR * scale).all())


def multiple(hand: Tensor, truth: Tensor) -> float | None:
    """c where hand = c truth with one c, else None."""
    if not truth.any():
        return None
    c = ((hand * truth).sum() / (truth * truth).sum()).item()
    return c if abs(c) > NEAR and nearly(hand, c * truth) else None
