"""What a run was made of, told in plain values, so that another can be compared with it."""

import contextlib
import dis
import functools
import hashlib
import inspect
import types
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from opnet.ahead import blocks
from opnet.describe import parameters
from opnet.rows import Source

LEFT_OUT = ("model", "name", "generator", "device", "weight_init", "bias_init")
DEPTH = 20
ROWS_AT_ONCE = 2**16
CONSTANT = (bool, int, float, str, tuple, np.generic)


def told(thing: Any, depth: int = 0) -> Any:
    """A value as it is, a tensor by its sum, a function by its name, an object by its arguments.

    These are the parameters of its constructor that are attributes too, as scikit-learn keeps them.
    """
    if thing is None or isinstance(thing, (bool, int, float, str)):
        return thing
    if isinstance(thing, Tensor):
        return fingerprint(thing)
    if isinstance(thing, Source):
        parts = [fingerprint(block.X) for block in blocks(thing, None, ROWS_AT_ONCE)]
        return f"{list(thing.shape)} {hashlib.sha256(' '.join(parts).encode()).hexdigest()[:16]}"
    if isinstance(thing, np.ndarray) and thing.dtype.kind in "biuf":
        return fingerprint(torch.as_tensor(np.ascontiguousarray(thing)))
    if isinstance(thing, np.generic) and thing.dtype.kind in "biuf":
        return thing.item()
    if isinstance(thing, (set, frozenset)) and depth < DEPTH:
        return sorted((told(part, depth + 1) for part in thing), key=repr)
    if isinstance(thing, (list, tuple)) and depth < DEPTH:
        return [told(part, depth + 1) for part in thing]
    if isinstance(thing, dict) and depth < DEPTH:
        return {str(key): told(value, depth + 1) for key, value in thing.items()}
    if isinstance(thing, functools.partial) and depth < DEPTH:
        return told([thing.func, thing.args, thing.keywords], depth + 1)
    if isinstance(thing, types.FunctionType) and depth < DEPTH:
        return _function(thing, depth)
    if inspect.isroutine(thing) or isinstance(thing, type) or depth >= DEPTH:
        return getattr(thing, "__qualname__", type(thing).__name__)
    arguments = parameters(type(thing))
    kept = [key for key in arguments if hasattr(thing, key) and key not in LEFT_OUT]
    return {"class": type(thing).__name__} | {
        key: told(getattr(thing, key), depth + 1) for key in kept
    }


def _function(function: types.FunctionType, depth: int) -> dict[str, Any]:
    """A function by its name, what it does, and the values that it has closed over."""
    defaults = [function.__defaults__, function.__kwdefaults__]
    values = [told(value, depth + 1) for value in (_closed_over(function), *defaults)]
    return {"function": function.__qualname__, "closed": values} | _code(
        function.__code__, function.__globals__, depth
    )


def _code(code: types.CodeType, world: dict[str, Any], depth: int) -> dict[str, Any]:
    """What it does, its constants, the globals that are such, and so of each function in it."""
    does = hashlib.sha256(code.co_code + repr(code.co_names).encode()).hexdigest()[:16]
    values = [
        _code(value, world, depth + 1)
        if isinstance(value, types.CodeType)
        else told(value, depth + 1)
        for value in code.co_consts
    ]
    names = {i.argval for i in dis.get_instructions(code) if i.opname == "LOAD_GLOBAL"}
    read = {name: world[name] for name in sorted(names & world.keys())}
    constants = {k: told(v, depth + 1) for k, v in read.items() if isinstance(v, CONSTANT)}
    return {"does": does, "values": values, "globals": constants}


def _closed_over(function: types.FunctionType) -> list[Any]:
    """The contents of its cells; a variable that has none yet is left out."""
    contents = []
    for cell in function.__closure__ or ():
        with contextlib.suppress(ValueError):
            contents.append(cell.cell_contents)
    return contents


def fingerprint(tensor: Tensor) -> str:
    """`float32 [640, 2]` and the sum over the bytes: equal for equal tensors on any device."""
    kind = f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"
    data = tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()
    return f"{kind} {hashlib.sha256(data.data).hexdigest()[:16]}"


def differences(was: Any, now: Any, where: str = "", then: str = "was") -> Iterator[str]:
    """`optimizer.init_lr is 4.0, was 8.0` for each value that differs."""
    if isinstance(was, dict) and isinstance(now, dict):
        for key in {**was, **now}:
            place = f"{where}.{key}".lstrip(".")
            yield from differences(was.get(key), now.get(key), place, then)
    elif isinstance(was, list) and isinstance(now, list) and len(was) == len(now):
        for position, (old, new) in enumerate(zip(was, now, strict=True)):
            yield from differences(old, new, f"{where}[{position}]", then)
    elif was != now and repr(was) != repr(now):  # nan is nan here
        yield f"{where} is {_short(now)}, {then} {_short(was)}"


def _short(value: Any) -> str:
    return value.get("class", "{...}") if isinstance(value, dict) else f"{value!r:.80}"
