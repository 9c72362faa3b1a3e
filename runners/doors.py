"""What comes to a runner, looked at before anything has changed."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from opnet.errors import check_count, check_flag, check_rate
from opnet.tensors import described

from .best import KEEP
from .calls import every

HOOKS = ("on_train_begin", "on_epoch_end", "on_train_end")


def check_part(role: str, part: Any, model: Any, does: str = "__call__") -> None:
    """TypeError, ValueError unless `part` is None, or can do its work for this model."""
    who = f"RunnerV2_1: {role}"
    if isinstance(part, type):
        raise TypeError(f"{who} is the class {part.__name__}, wanted one of it")
    if part is not None and not hasattr(part, does):
        raise TypeError(f"{who} is {part!r}, wanted one with {does}")
    if getattr(part, "model", None) not in (None, model):
        raise ValueError(f"{who} was made for another model than this one")


def check_of_rows(metric: Any, predicts: Tensor, labels: Tensor) -> None:
    """TypeError unless what scores row by row, where there is such, gives a number for each row."""
    if of_rows := getattr(metric, "of_rows", None):
        scores, rows = of_rows(predicts, labels), list(predicts.shape[:-1])
        fits = isinstance(scores, Tensor) and scores.is_floating_point()
        if not fits or list(scores.shape) != rows:
            came = described(scores) if isinstance(scores, Tensor) else repr(scores)
            raise TypeError(f"metric: of_rows gave {came}, wanted floating point numbers {rows}")


def count_or_none(what: str, value: Any) -> int | None:
    return None if value is None else check_count(f"train: {what}", value)


def check_keep(keep: Any) -> None:
    if keep not in KEEP:
        raise ValueError(f"train: keep is {keep!r}, wanted one of {', '.join(KEEP)}")


def check_generator(generator: Any) -> None:
    if not isinstance(generator, torch.Generator | None):
        raise TypeError(f"train: generator is {generator!r}, wanted a torch.Generator")


def split_size(batch_size: int | None, X: Any) -> int | None:
    """How many rows to a step; None where one has them all. TypeError for rows not in memory."""
    if batch_size is not None and not isinstance(X, Tensor):
        raise TypeError("train: batch_size needs rows in memory, X is read block by block")
    return batch_size if batch_size and batch_size < X.shape[-2] else None


def several(who: str, values: Any) -> Iterable[Any]:
    if not isinstance(values, Iterable):
        raise TypeError(f"{who} is a {type(values).__name__}, wanted a list of them")
    return values


def number(who: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError):
        came = list(value.shape) if isinstance(value, Tensor) else repr(value)
        raise TypeError(f"{who} returned {came}, wanted a single number") from None


def checked_saving(save_every: Any, resume: Any, save_dir: Any) -> int | None:
    """`save_every` as a count, or None. ValueError, TypeError."""
    check_flag("train: resume", resume)
    if save_every is None and not resume:
        return None
    if save_dir is None:
        raise ValueError("train: save_every and resume need a save_dir, which is None")
    return None if save_every is None else check_count("train: save_every", save_every)


def checked_callbacks(callbacks: Iterable[Any]) -> list[Any]:
    """The callbacks as a list; TypeError for a class, and for one that has none of the hooks."""
    checked = list(callbacks)
    for position, callback in enumerate(checked):
        if isinstance(callback, type):
            who = f"train: callback {position}"
            raise TypeError(f"{who} is the class {callback.__name__}, wanted one of it")
        if not any(hasattr(callback, hook) for hook in HOOKS):
            who = f"train: callback {position} ({type(callback).__name__})"
            raise TypeError(f"{who} has none of {', '.join(HOOKS)}")
        check_count(f"train: callback {position}: called_every", every(callback))
    return checked


def check_schedule(schedule: Any, optimizer: Any) -> None:
    if schedule is None:
        return
    if isinstance(schedule, type) or not callable(schedule):
        raise TypeError(f"train: schedule is {schedule!r}, wanted a callable: epoch -> rate")
    if not hasattr(optimizer, "lr"):
        who = type(optimizer).__name__
        raise TypeError(f"train: {who} has no lr, which a schedule would set")
    rate_of(schedule, 0)  # refuses a bad one before anything has changed


def rate_of(schedule: Callable[[int], float], epoch: int) -> float:
    """The rate of an epoch. ValueError or TypeError unless it is finite and at least 0."""
    return check_rate(f"train: schedule({epoch})", schedule(epoch))
