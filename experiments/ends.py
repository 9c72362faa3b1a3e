"""How a script ends: its exit code, one line on stderr, and no traceback for what a user can mend.

0 done; 1 an error met on the way; 2 a wrong flag or value (argparse); 130 Ctrl-C; 143 SIGTERM;
141 nobody reads stdout any more, as `| head -1` leaves it: what the shell says of a program that
SIGPIPE ended, and like such a program the script then says nothing. SIGTERM is raised as an
exception, so that a training puts its best weights on disk first.
"""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

INTERRUPTED, UNREAD, TERMINATED = (128 + int(number) for number in (2, 13, 15))
STOPPED = (INTERRUPTED, UNREAD, TERMINATED)  # from outside: what comes next is not begun either


class Terminated(KeyboardInterrupt):
    """SIGTERM, raised where the program stands as Ctrl-C is."""


def guarded(job: Callable[[], Any]) -> int:
    """The exit code of `job`: what it returns, if that is a number."""
    try:
        with sigterm_raised():
            code = job()
            if sys.stdout is not None:
                sys.stdout.flush()  # here a pipe that is closed is told, at exit only a traceback
            return code if isinstance(code, int) else 0
    except Terminated:
        return _ended("terminated", TERMINATED)
    except KeyboardInterrupt as error:
        return _ended(f"interrupted {error}".rstrip(), INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at exit
        return UNREAD
    except (ValueError, TypeError, ArithmeticError, OSError, RuntimeError, MemoryError) as error:
        return _ended(f"error: {' '.join(str(error).split())}", 1)


@contextlib.contextmanager
def sigterm_raised() -> Iterator[None]:
    """Inside, the first SIGTERM is raised; more of them do not cut short what it leads to."""
    if threading.current_thread() is not threading.main_thread():  # others get no signals
        yield
        return

    came = False

    def stop(*_: object) -> None:
        nonlocal came
        came = True
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise Terminated

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
        if came:  # a library that was being imported may have made another error of it, or none
            raise Terminated


def _ended(line: str, code: int) -> int:
    print(line, file=sys.stderr)
    return code
