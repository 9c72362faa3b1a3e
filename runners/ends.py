"""How a command ends: exit code, one line on stderr, and no traceback for what a user can mend.

0 done; 1 an error met on the way; 2 a wrong flag or value; 130 Ctrl-C; 143 SIGTERM; 141 nobody
reads stdout any more, as `| head -1` leaves it: what the shell says of a program that SIGPIPE
ended, and like such a program the command then says nothing. SIGTERM is raised as an exception, so
that a training puts its best weights on disk first.
"""

import contextlib
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from typing import Any

FAILED, USAGE = 1, 2
INTERRUPTED, UNREAD, TERMINATED = (128 + int(number) for number in (2, 13, 15))
STOPPED = (INTERRUPTED, UNREAD, TERMINATED)  # from outside: what comes next is not begun either
MENDED = (ValueError, TypeError, ArithmeticError, OSError, RuntimeError, MemoryError)


class Usage(ValueError):
    """What was asked for cannot be meant: exit code 2."""


class Terminated(KeyboardInterrupt):
    """SIGTERM, raised where the program stands as Ctrl-C is."""


def aside(line: object) -> None:
    """To stderr, and nowhere where that is closed: print would take stdout instead."""
    if sys.stderr is not None:
        print(line, file=sys.stderr)


def guarded(
    job: Callable[[], Any],
    caught: type[Exception] | tuple[type[Exception], ...] = MENDED,
    *,
    say: Callable[[str], object] = aside,
    debug: bool = False,
) -> int:
    """The exit code of `job`: what it returns, if that is a number.

    What is `caught` is a line to `say`, with `debug` after its traceback.
    """
    try:
        with sigterm_raised():
            code = job()
            if sys.stdout is not None:
                sys.stdout.flush()  # here a pipe that is closed is told, at exit only a traceback
            return code if isinstance(code, int) else 0
    except Terminated:
        say("terminated")
        return TERMINATED
    except KeyboardInterrupt as error:
        say(f"interrupted {error}".rstrip())
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at exit
        return UNREAD
    except caught as error:
        if debug:
            traceback.print_exc()
        words = str(error).split()
        if not isinstance(error, MENDED) or not words:
            words = [f"{type(error).__name__}:", *words]
        say(f"error: {' '.join(words)}")
        return USAGE if isinstance(error, Usage) else FAILED


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
