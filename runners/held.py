"""What the parts of a run hold between epochs: plain values, and generators.

A part is an object, by its attributes, or a function, by what it has closed over. Ops in ops,
schedules in schedules and optimizers in optimizers are parts too; other objects are not looked at.
"""

import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from opnet.walk import attributes

Values = dict[str, dict[str, Any]]  # of each part by name: {attribute: what `packed` made of it}
DEPTH = 4  # of lists in lists that are looked through for generators and parts
KINDS: dict[str, Callable[[Any], Any]] = {"tuple": tuple, "set": set, "dict": dict}
KINDS |= {name: getattr(np, name) for name in ("bool_", "float16", "float32", "float64")}
KINDS |= {name: getattr(np, name) for name in ("int8", "int16", "int32", "int64")}
KINDS |= {name: getattr(np, name) for name in ("uint8", "uint16", "uint32", "uint64")}
NO_PARTS = (type, types.ModuleType, types.NoneType, torch.Tensor)
MISSING = object()


def packed(value: Any) -> Any:
    """A plain value as JSON has it, the kinds that JSON lacks as {kind: content}. TypeError else.

    Plain are None, truth values, whole numbers below 2**63, floats, strings, NumPy's numbers, and
    lists, tuples, sets and dicts of such.
    """
    kind = type(value)
    if value is None or kind in (bool, float, str) or (kind is int and abs(value) < 2**63):
        return value
    if kind is list:
        return [packed(part) for part in value]
    if kind in (tuple, set):
        return {kind.__name__: [packed(part) for part in value]}
    if kind is dict:
        return {"dict": [[packed(key), packed(part)] for key, part in value.items()]}
    for name, made in KINDS.items():
        if kind is made:
            return {name: value.item()}
    raise TypeError


def unpacked(value: Any) -> Any:
    """The value that was packed. ValueError, KeyError or TypeError for what `packed` never made."""
    if isinstance(value, list):
        return [unpacked(part) for part in value]
    if isinstance(value, dict):
        ((kind, content),) = value.items()
        return KINDS[kind](unpacked(content))
    return value


def is_plain(value: Any) -> bool:
    try:
        packed(value)
    except (TypeError, RecursionError):
        return False
    return True


def parts(roots: dict[str, Any]) -> dict[str, Any]:
    """The roots, and the parts within reach of each, by the way that leads there; each once."""
    found: dict[str, Any] = {}
    seen: set[int] = set()

    def visit(name: str, part: Any) -> None:
        part = getattr(part, "__self__", part)  # a method keeps there
        if id(part) in seen or isinstance(part, NO_PARTS):
            return
        seen.add(id(part))
        found[name] = part
        for way, inner in _within(part):
            if _is_part(name.partition(".")[0], inner):
                visit(f"{name}.{way}", inner)

    for name, root in roots.items():
        visit(name, root)
    return found


def values(roots: dict[str, Any]) -> Values:
    """All that is plain, packed: later changes do not reach it."""
    return {
        name: {key: packed(value) for key, value in _held(part).items() if _is_kept(key, value)}
        for name, part in parts(roots).items()
    }


def generators(roots: dict[str, Any]) -> Iterator[tuple[str, torch.Generator]]:
    for name, part in parts(roots).items():
        for way, value in _within(part):
            if isinstance(value, torch.Generator):
                yield f"{name}.{way}", value


def unfit(found: Values, roots: dict[str, Any], may_lack: str) -> Iterator[str]:
    """Why the values cannot be put back: no such part or attribute, or one of another kind.

    Parts whose names begin with `may_lack` may be absent.
    """
    there = parts(roots)
    for name, held in found.items():
        if name not in there:
            if not name.startswith(may_lack):
                yield f"holds numbers of {name}, which this run has not"
            continue
        for key, value in held.items():
            now = _now(there[name], key)
            if now is not MISSING and value is not None and not _alike(unpacked(value), now):
                yield f"{name}.{key} is {unpacked(value)!r:.80}, wanted a {type(now).__name__}"


def put_back(found: Values, roots: dict[str, Any]) -> None:
    """Set what differs; a value that is no plain one by now stays."""
    there = parts(roots)
    for name, held in found.items():
        if name not in there:
            continue
        for key, value in held.items():
            now = _now(there[name], key)
            if now is MISSING or (is_plain(now) and repr(packed(now)) != repr(value)):
                _put(there[name], key, unpacked(value))


def _is_kept(key: Any, value: Any) -> bool:
    return isinstance(key, str) and is_plain(value)


def _is_part(root: str, thing: Any) -> bool:
    if isinstance(thing, NO_PARTS):
        return False
    counts = hasattr(thing, "backward") or hasattr(thing, "step")
    return counts or (root == "schedule" and callable(thing))


def _within(part: Any) -> Iterator[tuple[str, Any]]:
    """What a part holds, and what the lists and dicts hold in it, each with the way there."""
    held = dict(_held(part))
    held.setdefault("layers", getattr(part, "layers", None))  # may be a property
    todo = [(str(key), value, 0) for key, value in held.items()]
    for way, value, depth in todo:  # which grows meanwhile
        yield way, value
        if isinstance(value, (list, tuple, dict)) and depth < DEPTH and not is_plain(value):
            inner = value.items() if isinstance(value, dict) else enumerate(value)
            todo += [(f"{way}.{key}", below, depth + 1) for key, below in inner]


def _held(part: Any) -> dict[str, Any]:
    if not isinstance(part, types.FunctionType):
        return part if isinstance(part, dict) else attributes(part)
    held = {}
    for name, cell in _cells(part).items():
        try:
            held[name] = cell.cell_contents
        except ValueError:  # nothing is in it yet
            continue
    return held


def _cells(function: types.FunctionType) -> dict[str, types.CellType]:
    return dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))


def _now(part: Any, key: str) -> Any:
    held = _held(part)
    return held[key] if key in held else getattr(part, key, MISSING)


def _put(part: Any, key: str, value: Any) -> None:
    if isinstance(part, types.FunctionType):
        _cells(part)[key].cell_contents = value
    else:
        _held(part)[key] = value


def _alike(found: Any, now: Any) -> bool:
    """Of one kind: None may have become a plain value, and a number another kind of number."""
    if now is None:
        return True
    numbers = (bool, int, float, np.generic)
    return type(found) is type(now) or (isinstance(found, numbers) and isinstance(now, numbers))
