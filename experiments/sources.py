"""The numbers that a source prints, judged by those obtained here."""

import math
import re
import statistics
from collections.abc import Iterable
from typing import Any, NamedTuple

from experiments.rows import BROKEN, Row

RTOL = 2e-6  # what float32 leaves of a number that does not depend on a seed
AGREES, BY_SEED, WRONG = "agrees", "differs by seed", "source is wrong"
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*(?:e[-+]?\d+)?|\binf\b|\bnan\b)")


class Source(NamedTuple):
    """A book or article; its methods make a Row of a number that it prints.

    `published` is the text as printed, `obtained` a number for each number in it. `seed` is the
    first of those that a script was run with.
    """

    name: str
    seed: int = 0

    def printed(self, what: str, published: str, obtained: Any, why: str = "") -> Row:
        """A number that depends on no seed: equal within RTOL, or as far as digits are printed."""
        verdict = AGREES if _agree(published, _flat(obtained)) else BROKEN
        tolerance, shown = f"rtol {RTOL:g}, or the digits printed", _shown(obtained, published)
        return Row(self.name, what, published, shown, tolerance, verdict, why)

    def wrong(self, what: str, published: str, right: str, obtained: Any, why: str) -> Row:
        """A number that the source has wrong: what is right is obtained, and is another."""
        numbers = _flat(obtained)
        proven = _agree(right, numbers) and not _agree(published, numbers)
        verdict = WRONG if proven else BROKEN
        tolerance, shown = f"rtol {RTOL:g} of {right}, or its digits", _shown(obtained, right)
        return Row(self.name, what, published, shown, tolerance, verdict, why)

    def by_seed(
        self,
        what: str,
        published: str,
        obtained: Iterable[float],
        bounds: tuple[float, float],
        why: str = "",
    ) -> Row:
        """A number that a seed decides: here one obtained for each of several, all in `bounds`.

        `bounds` are those of the seeds from 0 on; others may lie as far outside as they are wide.
        """
        numbers, (low, high) = _flat(obtained), bounds
        if self.seed:
            low, high = 2 * low - high, 2 * high - low
        spread = f"{min(numbers):.5g} to {max(numbers):.5g}, {len(numbers)} seeds"
        if len(numbers) == 1:  # a count or a median, of the seeds that `why` names
            spread = f"{numbers[0]:.5g}"
        verdict = BY_SEED if all(low <= n <= high for n in numbers) else BROKEN
        return Row(self.name, what, published, spread, f"[{low:.5g}, {high:.5g}]", verdict, why)

    def mean(self, what: str, published: str, obtained: Iterable[float], why: str = "") -> Row:
        """A mean over seeds that are not known: that over as many others, one number for each.

        Two means of n numbers with the deviation s are sqrt(2 / n) s apart by chance; 3 times that
        is allowed.
        """
        numbers = _flat(obtained)
        n, mean = len(numbers), statistics.fmean(numbers)
        variance = sum((number - mean) ** 2 for number in numbers) / (n - 1)
        allowed = 3 * math.sqrt(2 / n * variance)
        verdict = BY_SEED if abs(mean - float(published)) <= allowed else BROKEN
        tolerance = f"+- {allowed:.2g}, {n} seeds"
        return Row(self.name, what, published, f"{mean:.4f}", tolerance, verdict, why)

    def states(self, what: str, published: str, obtained: Any, holds: bool, why: str = "") -> Row:
        """A statement in words, which `holds` or does not."""
        verdict = AGREES if holds else BROKEN
        return Row(self.name, what, published, _shown(obtained), "as stated", verdict, why)


def _agree(published: str, obtained: list[float]) -> bool:
    printed = _NUMBER.findall(published)
    return len(printed) == len(obtained) and all(map(_close, printed, obtained))


def _close(printed: str, obtained: float) -> bool:
    wanted = float(printed)
    if not math.isfinite(wanted):
        return repr(wanted) == repr(obtained)
    return abs(obtained - wanted) <= max(RTOL * abs(wanted), _half_a_digit(printed))


def _half_a_digit(printed: str) -> float:
    """Half of what the last digit printed stands for: 0.00005 for 0.2327, 5e5 for 1.3e7."""
    digits, _, exponent = printed.partition("e")
    decimals = len(digits.partition(".")[2])
    return 0.5000001 * 10.0 ** (int(exponent or 0) - decimals)


def _flat(obtained: Any) -> list[float]:
    """A number, a tensor, or a sequence of such, as floats in order."""
    if hasattr(obtained, "tolist"):
        obtained = obtained.tolist()
    if isinstance(obtained, (list, tuple)):
        return [number for part in obtained for number in _flat(part)]
    return [float(obtained)]


def _shown(obtained: Any, published: str = "") -> str:
    """The numbers with as many digits as the source prints, at least 7."""
    if isinstance(obtained, str):
        return obtained
    printed = [number.partition("e")[0] for number in _NUMBER.findall(published)]
    digits = max([7, *(sum(map(str.isdigit, number)) for number in printed)])
    return " ".join(f"{n:.{digits}g}" for n in _flat(obtained))
