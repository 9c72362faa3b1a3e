"""What a command says: results on stdout, all else on stderr, in colour where a person reads."""

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from typing import Any

from ..ends import aside

RED, PLAIN = "\033[31m", "\033[0m"


class Out:
    """How loud a command is, -1 for -q, 1 for -v, and whether a program reads its results."""

    def __init__(self, loudness: int = 0, as_json: bool = False) -> None:
        self.loudness, self.as_json = loudness, as_json

    def note(self, text: str) -> None:
        """Progress, on stderr."""
        if self.loudness >= 0:
            aside(text)

    def result(self, text: str, data: Any) -> None:
        """The result, on stdout: as `text`, or the same as JSON."""
        print(_json(data) if self.as_json else text, flush=True)

    @contextlib.contextmanager
    def progress(self) -> Iterator[int]:
        """What is printed inside goes to stderr; after how many epochs a line is wanted, 0 none."""
        with contextlib.redirect_stdout(sys.stderr):
            yield {-1: 0, 0: 100}.get(self.loudness, 1)


def _json(data: Any) -> str:
    try:
        return json.dumps(data, indent=2, allow_nan=False)
    except ValueError:
        raise ValueError(f"--json: a result is not finite, wanted numbers: {data!r:.200}") from None


def complain(text: str) -> None:
    """A last line on stderr."""
    aside(in_colour(text, sys.stderr))


def in_colour(text: str, stream: Any) -> str:
    """Red on a terminal, unless NO_COLOR says otherwise (no-color.org)."""
    asked = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    seen = asked and stream is not None and stream.isatty()
    return f"{RED}{text}{PLAIN}" if seen else text
