"""The two errors that a caller may want to catch by name, and the checks that doors share."""

import math
import operator
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path

TOO_MANY = 10**100  # Python prints no whole number of some thousand digits
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}")
MOST_FAULTS = 5  # that one error tells


class CheckpointError(ValueError):
    """A checkpoint that cannot be read or written: the file, what came, what was wanted."""


class NonFiniteError(ArithmeticError):
    """A loss, score or weight that is nan or infinite, and where it was first seen."""


def plain(text: object, most: int = 80) -> str:
    """The first letters of a text that a file gave: what would end the line or hide is escaped."""
    letters = (c if c.isprintable() else ascii(c)[1:-1] for c in str(text)[:most])
    return "".join(letters)


def joined(faults: Iterable[str]) -> str:
    """The faults in one line, of many the first; empty where there is none."""
    faults = list(faults)
    more = [f"{len(faults) - MOST_FAULTS} more"] if len(faults) > MOST_FAULTS else []
    return "; ".join(faults[:MOST_FAULTS] + more)


def check_count(who: str, value: object, lowest: int = 1) -> int:
    """`value` as an int. TypeError for no whole number, ValueError out of range."""
    try:
        if isinstance(value, bool):
            raise TypeError
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{who} is {value!r}, wanted a whole number >= {lowest}") from None
    if not lowest <= number < TOO_MANY:
        came = number if abs(number) < TOO_MANY else "beyond all that can be counted"
        raise ValueError(f"{who} is {came}, wanted a whole number >= {lowest}")
    return number


def check_number(
    who: str,
    value: object,
    wanted: str = "a finite number",
    fits: Callable[[float], bool] = math.isfinite,
) -> float:
    """`value` as a float. TypeError for no number, ValueError unless it is finite and `fits`."""
    if isinstance(value, (bool, str)) or not hasattr(value, "__float__"):
        raise TypeError(f"{who} is {value!r}, wanted {wanted}")
    try:
        number = float(value)
    except (RuntimeError, ValueError):  # a tensor of several numbers
        raise TypeError(f"{who} is {value!r}, wanted one number, {wanted}") from None
    except OverflowError:
        number = math.inf
    if not (math.isfinite(number) and fits(number)):
        raise ValueError(f"{who} is {number}, wanted {wanted}")
    return number


def check_rate(who: str, value: object) -> float:
    """`value` as a finite float >= 0. TypeError for what is no number, ValueError out of range."""
    return check_number(who, value, "a finite number >= 0", lambda number: number >= 0)


def check_positive(who: str, value: object) -> float:
    """`value` as a finite float > 0. TypeError for what is no number, ValueError out of range."""
    return check_number(who, value, "a finite number > 0", lambda number: number > 0)


def check_fraction(who: str, value: object) -> float:
    """`value` as a float in [0, 1). TypeError for what is no number, ValueError out of range."""
    return check_number(who, value, "0 <= a number < 1", lambda number: 0 <= number < 1)


def check_flag(who: str, value: object) -> bool:
    """`value`, True or False. TypeError for anything else."""
    if not isinstance(value, bool):
        raise TypeError(f"{who} is {value!r}, wanted True or False")
    return value


def check_path(who: str, value: object) -> Path:
    """`value` as a Path. TypeError for no string or path, ValueError for what can name no file."""
    text = os.fspath(value) if isinstance(value, os.PathLike) else value
    if not isinstance(text, str):
        raise TypeError(f"{who} is {value!r}, wanted a path")
    try:
        if not text or "\0" in text:
            raise ValueError
        os.fsencode(text)
    except ValueError:  # UnicodeEncodeError is one
        raise ValueError(f"{who} is {text!r}, wanted a path") from None
    return Path(text)


def check_name(who: str, value: object) -> str:
    """`value` as a name that is also a safe file name. TypeError or ValueError else."""
    if not isinstance(value, str):
        raise TypeError(f"{who} is {value!r}, wanted a string")
    if not _NAME.fullmatch(value):
        raise ValueError(
            f"{who} is {value[:120]!r}, wanted 1 to 100 of A-Z a-z 0-9 _ - . and no leading dot"
        )
    return value
