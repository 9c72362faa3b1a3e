"""Copies of whatever an op may hold: tensors, generators, lambdas over itself, locks."""

import copy
import random
import types
from typing import Any

import torch
from torch import Tensor

from ..walk import attributes


def copy_of(op: Any, *, wide: bool) -> Any:
    """A deep copy on the CPU, in float64 if `wide`; one tensor in two places stays one."""
    parts = reachable(op)
    memo: dict[int, Any] = {}
    for part in parts:
        if isinstance(part, Tensor):
            there = part.detach().cpu().clone(memory_format=torch.contiguous_format)
            memo[id(part)] = there.double() if wide and there.is_floating_point() else there
        elif isinstance(part, torch.Generator):
            memo[id(part)] = torch.Generator().set_state(part.get_state())
        elif isinstance(part, types.ModuleType):
            memo[id(part)] = part
    try:
        return _deep(op, parts, dict(memo))
    except Exception:  # some part cannot be copied: a lock, an open file
        for part in reversed(parts):  # what is held before its holder
            memo |= {} if _can_be_copied(part, memo) else {id(part): part}
        return _deep(op, parts, memo)


def _deep(op: Any, parts: list[Any], memo: dict[int, Any]) -> Any:
    """copy.deepcopy, and a lambda of the copy reads the copy: its cells are copied with it."""
    closures = [p for p in parts if isinstance(p, types.FunctionType) and p.__closure__]
    for function in closures:
        memo.setdefault(id(function), _with_empty_cells(function))
    copied = copy.deepcopy(op, memo)
    for function in closures:
        twin = memo[id(function)]
        for cell, filled in zip(twin.__closure__, function.__closure__ or (), strict=True):
            if _is_filled(filled):
                cell.cell_contents = copy.deepcopy(filled.cell_contents, memo)
    return copied


def _with_empty_cells(function: types.FunctionType) -> types.FunctionType:
    cells = tuple(types.CellType() for _ in function.__closure__ or ())
    code, names = function.__code__, function.__globals__
    twin = types.FunctionType(code, names, function.__name__, function.__defaults__, cells)
    twin.__kwdefaults__ = function.__kwdefaults__
    return twin


def _can_be_copied(part: Any, memo: dict[int, Any]) -> bool:
    try:
        copy.deepcopy(part, dict(memo))
    except Exception:
        return False
    return True


def reachable(root: Any) -> list[Any]:
    """Every object in the attributes of the op, its layers, its model and its lambdas, once."""
    found: dict[int, Any] = {}
    todo = [root]
    while todo:
        part = todo.pop()
        if id(part) not in found:
            found[id(part)] = part
            todo.extend(_held_by(part))
    return list(found.values())


def _held_by(part: Any) -> list[Any]:
    if isinstance(part, dict):
        return list(part.values())
    if isinstance(part, (list, tuple)):
        return list(part)
    if isinstance(part, types.FunctionType):
        return [cell.cell_contents for cell in part.__closure__ or () if _is_filled(cell)]
    if isinstance(part, types.MethodType):
        return [part.__self__]
    if isinstance(part, (type, Tensor, types.ModuleType, random.Random)):
        return []
    return list(attributes(part).values())


def _is_filled(cell: types.CellType) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return False
    return True
