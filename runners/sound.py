"""What a state must be before a run goes on from it, and an optimizer before there is one."""

import inspect
from collections.abc import Iterator
from typing import Any

import torch

from opnet.checkpoint import Memory, RunState
from opnet.tensors import kinds_of
from opnet.walk import attributes, every_part, untouched

from . import held
from .layout import HISTORIES, RANDOM, below, snapshot_of, values_of
from .snapshots import snapshot

ABOUT = {"epochs_done": int, "ended": bool, "epochs_before": int}
ABOUT |= {"kept_epoch": list, "stopped_with": list, "settings": dict, "environment": dict}


def takes_memory(optimizer: Any) -> bool:
    return hasattr(optimizer, "state_dict") and hasattr(optimizer, "load_state")


def check_keeps(optimizer: Any, model: Any) -> None:
    """TypeError for one that keeps more than numbers, or may, and cannot give and take it."""
    if takes_memory(optimizer):
        return
    known = [model, *every_part(model)]
    for key, value in attributes(optimizer).items():
        plain = held.is_plain(value) and not isinstance(value, (dict, list, set))
        harmless = plain or inspect.isroutine(value) or isinstance(value, (type, torch.Generator))
        if not harmless and not any(value is part for part in known):
            who, wanted = type(optimizer).__name__, "state_dict() and load_state(state)"
            raise TypeError(f"train: save_every: {who} keeps {key!r} and has no {wanted}")


def is_whole(found: RunState) -> bool:
    """Whether all that a run reads is such as `save` writes: sums alone do not tell."""
    tensors, about = found
    if any(type(about.get(key)) is not kind for key, kind in ABOUT.items()):
        return False
    epochs, kept = about["epochs_before"] + about["epochs_done"], about["kept_epoch"]
    rows = {f"history.{name}": f"float64 [{epochs}]" for name in HISTORIES}
    counts = [about["epochs_before"], about["epochs_done"], *(k for k in kept if k is not None)]
    every = about.get("save_every")
    try:
        values_of(found)
    except (LookupError, ValueError, TypeError, AttributeError, ArithmeticError, RecursionError):
        return False
    return (
        kinds_of({name: tensors.get(name) for name in rows}) == rows
        and all(type(count) is int and count >= 0 for count in counts)
        and len(kept) == 2
        and (every is None or (type(every) is int and every > 0))
    )


def memory_faults(found: RunState, optimizer: Any, model: Any) -> Iterator[str]:
    """What the optimizer says to the memory: one that makes it at its first step has none yet."""
    was = snapshot(model, optimizer).memory
    if not takes_memory(optimizer):
        return
    for name in ("last", "kept"):
        memory = snapshot_of(name, found.tensors).memory
        if was and not memory and name == "last" and found.about["epochs_done"]:
            yield f"holds nothing of what {type(optimizer).__name__} keeps"
        elif refusal := _refusal(optimizer, memory, was):
            yield f"{type(optimizer).__name__} refuses the memory: {refusal}"


def _refusal(optimizer: Any, memory: Memory, was: Memory) -> str:
    """What its load_state says, empty where it takes the memory; then all is as it was."""
    try:
        with untouched(optimizer):
            optimizer.load_state(memory)
    except Exception as error:
        return _line(error)
    finally:
        if was:
            optimizer.load_state(was)
    return ""


def random_faults(found: RunState, roots: dict[str, Any], device: torch.device) -> Iterator[str]:
    """The states that no generator takes: tried on others."""
    kinds = {name: generator.device for name, generator in held.generators(roots)}
    kinds |= {"torch": torch.device("cpu"), "cuda": device}
    for name, tensor in below(RANDOM, found.tensors).items():
        try:
            torch.Generator(kinds[name]).set_state(tensor)
        except (RuntimeError, TypeError) as error:
            yield f"{RANDOM}{name} is no state of a generator: {_line(error)}"


def _line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__} {error}".split())[:200]
