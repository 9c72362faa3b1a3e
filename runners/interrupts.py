"""Ctrl-C at a moment that suits: between two epochs, when all of a run's state belongs together."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def held_back(wanted: bool) -> Iterator[Callable[[], bool]]:
    """Inside, the first Ctrl-C only makes the function that is given say True; a second one stops.

    Nothing is held back unless `wanted`, off the main thread, or where Ctrl-C means something else.
    """
    came = False

    def note(number: int, frame: Any) -> None:
        nonlocal came
        if came:
            raise KeyboardInterrupt
        came = True

    usual = signal.default_int_handler
    ours = threading.current_thread() is threading.main_thread()
    if not (wanted and ours and signal.getsignal(signal.SIGINT) is usual):
        yield lambda: False
        return
    signal.signal(signal.SIGINT, note)
    try:
        yield lambda: came
    finally:
        signal.signal(signal.SIGINT, usual)
    if came:  # too late for anybody to ask
        raise KeyboardInterrupt
