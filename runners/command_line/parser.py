"""The flags of all commands, read before torch is imported."""

import argparse
import math
from typing import Any, NoReturn

from . import check
from .settings import add_flags, words

COMMANDS = {  # what each does, and the module that does it
    "train": ("train a net on the rows of a table", "train"),
    "eval": ("score and loss of a checkpoint", "evaluate"),
    "predict": ("a line of CSV for each row", "predict"),
    "plot": ("the decision boundary of a checkpoint, or its curves", "plot"),
    "trace": ("the next step of a checkpoint, op by op", "trace"),
    "check": ("prove the gradients of an op", "check"),
    "info": ("versions, devices, threads: what a bug report needs", "info"),
}
PICTURES = ".png, .svg or .pdf"
EPILOG = "exit codes: 0 done, 1 failed, 2 usage, 130 Ctrl-C, 143 SIGTERM, 141 nobody reads stdout"


class Parser(argparse.ArgumentParser):
    """One whose errors are one line, and that takes no abbreviations: their meaning may change."""

    def __init__(self, **how: Any) -> None:
        super().__init__(**how, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message} (see --help)\n")


def parser() -> Parser:
    """python -m opnet COMMAND ...; what was chosen says which module does it."""
    told = "Train nets, judge, use and look at them; prove gradients."
    top = Parser(prog="python -m opnet", description=told, epilog=EPILOG)
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    made = {}
    for name, (told, module) in COMMANDS.items():
        made[name] = commands.add_parser(name, help=told, description=told, epilog=EPILOG)
        made[name].set_defaults(module=module, debug=False, quiet=False, verbose=False, json=False)
    _train(made["train"])
    for name in ("eval", "predict", "plot", "trace"):
        made[name].add_argument(
            "--checkpoint", required=True, type=words, metavar="DIR", help="what train has written"
        )
        add_flags(made[name], name)
    made["predict"].add_argument("--out", type=words, metavar="FILE", help="a CSV (stdout)")
    _plot(made["plot"])
    made["trace"].add_argument("--out", type=words, metavar="FILE", help="a page (.html)")
    check.add_flags(made["check"])
    for command in made.values():
        _common(command)
    return top


def _train(flags: argparse.ArgumentParser) -> None:
    flags.add_argument(
        "--config", type=words, metavar="run.json", help="the settings of a run; flags go first"
    )
    add_flags(flags, "train")
    either = flags.add_mutually_exclusive_group()
    either.add_argument("--resume", action="store_true", help="go on with a run that was stopped")
    either.add_argument(
        "--fast-dev-run",
        action="store_true",
        help="one epoch, one evaluation, save, load, plot: whether all works; keeps nothing",
    )


def _plot(flags: argparse.ArgumentParser) -> None:
    flags.add_argument("--out", required=True, type=picture, metavar="FILE", help=f"a {PICTURES}")
    flags.add_argument("--curves", action="store_true", help="loss and score over the epochs")
    flags.add_argument(
        "--features", nargs=2, metavar="COLUMN", type=words, help="to draw (the first two)"
    )
    flags.add_argument(
        "--fixed",
        nargs="+",
        default=[],
        type=held,
        metavar="COLUMN=VALUE",
        help="where the others are held",
    )


def _common(flags: argparse.ArgumentParser) -> None:
    flags.add_argument("--json", action="store_true", help="the result for machines")
    either = flags.add_mutually_exclusive_group()
    either.add_argument("-q", "--quiet", action="store_true", help="results and errors only")
    either.add_argument("-v", "--verbose", action="store_true", help="a line for each epoch")
    flags.add_argument("--debug", action="store_true", help="the traceback of an error")


def picture(text: str) -> str:
    """An argparse type: a file that a figure can be written to."""
    if not text.endswith((".png", ".svg", ".pdf")):
        raise argparse.ArgumentTypeError(f"{text!r:.60} does not end in {PICTURES}")
    return words(text)


def held(text: str) -> tuple[str, float]:
    """An argparse type: COLUMN=VALUE."""
    name, _, value = text.rpartition("=")
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not name or not math.isfinite(number):
        raise argparse.ArgumentTypeError(f"{text!r:.60} is not COLUMN=VALUE, a finite number")
    return name, number
