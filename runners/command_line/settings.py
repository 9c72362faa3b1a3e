"""What a run is made of: one dataclass, from which come the flags, the echo and run.json."""

import argparse
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import Field, asdict, dataclass, field, fields
from typing import Any, Self

from ..ends import Usage
from ..named import ACTIVATIONS, OPTIMIZERS

HIGHEST = 2**32 - 1
MADE = ("moons", "circles", "blobs")  # rows that need no file
TRAIN, READ = ("train",), ("train", "eval", "predict", "plot", "trace")


def is_csv(data: str) -> bool:
    """Whether rows of that name are a CSV, in a file or on stdin."""
    return data == "-" or data.lower().endswith(".csv")


def whole(lowest: int) -> Callable[[str], int]:
    """An argparse type: a whole number from `lowest` on."""

    def parse(text: str) -> int:
        if not re.fullmatch(r"-?\d{1,12}", text) or not lowest <= int(text) <= HIGHEST:
            wanted = f"a whole number from {lowest} to {HIGHEST}"
            raise argparse.ArgumentTypeError(f"{text!r:.40} is not {wanted}")
        return int(text)

    return parse


def amount(text: str) -> float:
    """An argparse type: a finite number >= 0."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number >= 0):
        raise argparse.ArgumentTypeError(f"{text!r:.40} is not a finite number >= 0")
    return number


def size(text: str) -> float:
    """An argparse type: a share of the rows, below 1, or a number of them."""
    number = amount(text)
    if number >= 1 and (number != int(number) or number > HIGHEST):
        raise argparse.ArgumentTypeError(f"{text!r:.40} is neither a share nor a number of rows")
    return number if number < 1 else int(number)


def words(text: str) -> str:
    """An argparse type: any text but an empty one, as of a variable that is not set."""
    if not text or "\0" in text:
        raise argparse.ArgumentTypeError(f"{text!r:.40} names nothing")
    return text


def device(text: str) -> str:
    """An argparse type: auto, cpu, cuda, cuda:1, mps. Whether it is there is found out later."""
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d{1,3})?", text):
        raise argparse.ArgumentTypeError(f"{text!r:.40} is not auto, cpu, cuda, cuda:1 or mps")
    return text


def one_of(*names: str) -> Callable[[str], str]:
    """An argparse type: one of these."""

    def parse(text: str) -> str:
        if text not in names:
            raise argparse.ArgumentTypeError(f"{text!r:.40} is not one of {', '.join(names)}")
        return text

    return parse


def setting(
    default: Any,
    parse: Callable[[str], Any] | None,
    told: str,
    commands: tuple[str, ...] = TRAIN,
    metavar: str | None = None,
) -> Any:
    """A field that is a flag of `commands`; without `parse` one that stands alone."""
    if default is not None and parse:
        told += f" ({' '.join(map(str, default)) if isinstance(default, tuple) else default})"
    metadata = {"parse": parse, "help": told, "commands": commands, "metavar": metavar}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Settings:
    """Where rows come from, the net, its training, and where it goes to."""

    data: str | None = setting(
        None, words, f"FILE.csv, FILE.npz, - for a CSV on stdin, or {', '.join(MADE)}", READ
    )
    target: str | None = setting(
        None, words, "the column of a CSV to predict, by name or number, from 0", READ, "COLUMN"
    )
    header: str = setting(
        "auto", one_of("auto", "yes", "no"), "whether a CSV starts with names", READ
    )
    rows: int = setting(1000, whole(1), f"of {', '.join(MADE)}", READ)
    noise: float = setting(0.2, amount, "their standard deviation", READ)
    seed: int = setting(0, whole(0), "of all that is drawn: rows, split, weights", READ)
    dev_size: float = setting(0.2, size, "rows to choose the weights by, a share or a number")
    test_size: float = setting(0.2, size, "rows for the final score, a share or a number")
    regression: bool = setting(False, None, "predict the number itself, not a class")
    hidden: tuple[int, ...] = setting(
        (32,), whole(1), "units of each hidden layer, none for a linear model", metavar="UNITS"
    )
    activation: str = setting("tanh", one_of(*ACTIVATIONS), f"{', '.join(ACTIVATIONS)}")
    optimizer: str = setting("adam", one_of(*OPTIMIZERS), f"{', '.join(OPTIMIZERS)}")
    lr: float = setting(0.03, amount, "learning rate")
    epochs: int = setting(200, whole(1), "at most, in total")
    batch_size: int | None = setting(None, whole(1), "rows of a step (all of them)", metavar="ROWS")
    l2: float = setting(0.0, amount, "weight decay")
    early_stopping: int | None = setting(
        None, whole(1), "stop when the dev loss has not fallen for so long", metavar="EPOCHS"
    )
    device: str = setting("cpu", device, "auto, cpu, cuda, mps")
    threads: int | None = setting(None, whole(1), "as many as the work is worth, if not given")
    save_every: int | None = setting(None, whole(1), "for --resume", metavar="EPOCHS")
    out: str = setting("checkpoints/runs/train", words, "where the checkpoint goes")

    @classmethod
    def of(cls, told: Any, given: Mapping[str, Any], who: str) -> Self:
        """Those of a run.json, and over them those that were `given` as flags.

        Usage for what no flag would take.
        """
        if not isinstance(told, dict):
            raise Usage(f"{who}: settings are a {type(told).__name__}, wanted an object")
        known = {known.name: known for known in fields(cls)}
        if strange := sorted(told.keys() - known.keys()):
            raise Usage(f"{who}: {strange[0]!r:.40} is no setting")
        found = {key: _parsed(known[key], told[key], who) for key in told}
        if not is_csv(given.get("data", "-")):  # the target is of the file that was read before
            found.pop("target", None)
        return cls(**found | dict(given))

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        """One line with every flag and its value, so that a log says how to repeat the run."""
        return ", ".join(f"{key}: {json.dumps(value)}" for key, value in self.as_dict().items())


def add_flags(parser: argparse.ArgumentParser, command: str) -> None:
    """The settings that a command takes; what is not given leaves no trace in the namespace."""
    for known in fields(Settings):
        if command not in known.metadata["commands"]:
            continue
        how: dict[str, Any] = {"default": argparse.SUPPRESS, "help": known.metadata["help"]}
        if known.metadata["parse"] is None:
            how |= {"action": "store_true"}
        else:
            how |= {"type": known.metadata["parse"], "metavar": known.metadata["metavar"]}
            how |= {"nargs": "*", "action": _Several} if isinstance(known.default, tuple) else {}
        parser.add_argument(f"--{known.name.replace('_', '-')}", **how)


def given_in(chosen: argparse.Namespace) -> dict[str, Any]:
    """The settings among what was parsed."""
    names = {known.name for known in fields(Settings)}
    return {key: value for key, value in vars(chosen).items() if key in names}


class _Several(argparse.Action):
    """A list as a tuple: what is frozen holds no list."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option: Any = None) -> None:
        setattr(namespace, self.dest, tuple(values))


def _parsed(known: "Field[Any]", value: Any, who: str) -> Any:
    """A value of a run.json, as its flag would take it."""
    parse, default = known.metadata["parse"], known.default
    kind = bool if parse is None else list
    if value is None and default is None:
        return None
    if isinstance(default, (bool, tuple)) and not isinstance(value, kind):
        raise Usage(f"{who}: {known.name} is {value!r:.40}, wanted a {kind.__name__}")
    try:
        if isinstance(default, tuple):
            return tuple(parse(_text(part)) for part in value)
        return value if parse is None else parse(_text(value))
    except argparse.ArgumentTypeError as error:
        raise Usage(f"{who}: {known.name}: {error}") from None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else repr(value)
