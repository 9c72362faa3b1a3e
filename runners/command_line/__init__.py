"""`python -m opnet`: nets for those who have a table and a shell. What it can is in `parser`."""

import importlib
import logging
import sys

from ..ends import guarded
from .out import Out, complain
from .parser import parser

LOUD = {False: logging.WARNING, True: logging.INFO}


def main(arguments: list[str] | None = None) -> int:
    """The exit code of a command line; SystemExit where it cannot be parsed, or asks for help."""
    chosen = parser().parse_args(arguments)
    out = Out(chosen.verbose - chosen.quiet, chosen.json)

    def job() -> int:
        logging.basicConfig(stream=sys.stderr, level=LOUD[chosen.verbose], format="%(message)s")
        command = importlib.import_module(f"{__name__}.{chosen.module}")
        code: int = command.run(chosen, out)
        return code

    return guarded(job, Exception, say=complain, debug=chosen.debug)
