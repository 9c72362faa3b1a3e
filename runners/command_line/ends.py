"""How a command ends: its exit code, and one line on stderr for what a user can mend.

0 done, 1 failed, 2 usage, 130 Ctrl-C, 141 nobody reads stdout any more, as `| head -1` leaves it.
"""

import os
import sys
import traceback
from collections.abc import Callable

from .out import complain
from .settings import Usage

FAILED, USAGE = 1, 2
INTERRUPTED, UNREAD = 130, 141
MENDED = (ValueError, TypeError, ArithmeticError, OSError, RuntimeError)  # by what they say


def guarded(job: Callable[[], int], debug: bool = False) -> int:
    """The exit code of `job`, also where it is cut short; with `debug` after its traceback."""
    try:
        code = job()
        if sys.stdout is not None:
            sys.stdout.flush()  # here a pipe that is closed is told, at exit only a traceback
        return code
    except KeyboardInterrupt as error:
        complain(f"interrupted {error}".rstrip())
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at exit
        return UNREAD
    except Exception as error:
        if debug:
            traceback.print_exc()
        kind = "" if isinstance(error, MENDED) else f"{type(error).__name__}: "
        complain(f"error: {kind}{' '.join(str(error).split())}")
        return USAGE if isinstance(error, Usage) else FAILED
