"""How an op was made, in plain values: its class, and the arguments of its constructor.

The convention is scikit-learn's: an argument is kept as the attribute of its name. Knows no class.
"""

import inspect
import json
from typing import Any

from torch import Tensor

from .walk import dict_of, given_name, state

OWN = "opnet."
SETS_UP = ("generator", "device", "weight_init")  # say how weights began, if anything
Description = dict[str, Any]


def description(op: Any) -> Description:
    """{"class": name, "arguments": {...}}, and "layers" where a constructor takes them in a row.

    Where it makes them itself, they are told under "holds": they may have been changed since.
    A class of opnet's own is called "opnet.Linear", another "Square". Where an argument is not kept
    or no plain value, "arguments" is None and "why" names it: the op can be saved, not rebuilt.
    """
    cls = type(op)
    own = cls.__module__.startswith(OWN)
    made: Description = {"class": f"{OWN if own else ''}{cls.__name__}", "arguments": {}}
    for key, parameter in parameters(cls).items():
        if parameter.kind is parameter.VAR_POSITIONAL:
            made["layers"] = [description(layer) for layer in getattr(op, key, ())]
        elif key == "name":
            made["arguments"] |= {"name": given_name(op)} if given_name(op) else {}
        elif key == "dtype":
            made["arguments"]["dtype"] = _dtype(op)
        elif key == "bias_init":
            made["arguments"] |= {} if "b" in dict_of(op, "params") else {key: None}
        elif (value := getattr(op, key, parameter.empty)) is None or _is_plain(value):
            made["arguments"][key] = value
        elif key not in SETS_UP:
            return made | {"arguments": None, "why": f"{cls.__name__} keeps no plain {key!r}"}
    if "layers" not in made and hasattr(op, "layers"):
        made["holds"] = [description(layer) for layer in op.layers]
    return made


def changed(told: Description, model: Any) -> str:
    """Which of the layers told is not what a constructor has made, in one line; empty if none."""
    if "holds" not in told:
        layers = zip(told.get("layers", []), getattr(model, "layers", []), strict=False)
        return next(filter(None, (changed(was, layer) for was, layer in layers)), "")
    who, was = f"{told['class']} cannot be made again", told["holds"]
    made = [description(layer) for layer in model.layers]
    if len(was) != len(made):
        return f"{who}: has {len(was)} layers, its constructor makes {len(made)}"
    for position, (own, other) in enumerate(zip(was, made, strict=True)):
        if _text(own) != _text(other):
            names = f"{own['class']!s:.80}", other["class"]
            kind = "another" if names[0] == names[1] else names[1]
            return f"{who}: layer {position} is {names[0]}, its constructor makes {kind}"
    return ""


def _text(told: Description) -> str:
    return json.dumps(told, sort_keys=True)  # in which nan is equal to itself


def parameters(cls: type) -> dict[str, inspect.Parameter]:
    """What the constructor takes, by name; nothing where that cannot be told."""
    try:
        if (init := vars(cls).get("__init__")) is None:  # that of the next class in line
            return parameters(cls.__mro__[1]) if len(cls.__mro__) > 2 else {}
        _, *taken = inspect.signature(init).parameters.items()
    except (TypeError, ValueError):
        return {}
    return dict(taken)


def _is_plain(value: Any) -> bool:
    return isinstance(value, (bool, int, float, str))


def _dtype(op: Any) -> str | None:
    """That of the first param or buffer, as `float32`; None where there is none."""
    first = next((t for t in state(op) if isinstance(t, Tensor)), None)
    return None if first is None else str(first.dtype).removeprefix("torch.")
