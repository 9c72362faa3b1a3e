"""What stands around a backward rule: no autograd graph, and an error that names what is wrong."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

from .tensors import check_dense, described

Rule = TypeVar("Rule", bound=Callable[..., Any])
REMEMBERED = ("inputs", "outputs", "labels")


def without_graph(rule: Rule) -> Rule:
    """Run `rule` without building an autograd graph; costs nothing where grad mode is off."""

    @functools.wraps(rule)
    def ungraphed(*args: Any, **options: Any) -> Any:
        if torch.is_grad_enabled():
            with torch.no_grad():
                return rule(*args, **options)
        return rule(*args, **options)

    return cast(Rule, ungraphed)


def door_of(rule: Callable[..., Any]) -> Callable[..., Any]:
    """A backward rule without a graph, that says when there was no forward before it."""
    rule = without_graph(rule)

    @functools.wraps(rule)
    def door(self: Any, *grads: Any) -> Any:
        try:
            return rule(self, *grads)
        except (AttributeError, TypeError) as error:
            if _misses_forward(self, error):
                raise RuntimeError(f"{self}: backward before forward") from error
            raise

    return door


def _misses_forward(op: Any, error: Exception) -> bool:
    if isinstance(error, NotImplementedError):
        return False
    if isinstance(error, AttributeError) and error.obj is op:
        return error.name in REMEMBERED
    remembered = [vars(op)[key] for key in REMEMBERED if key in vars(op)]
    return (
        "NoneType" in str(error) and bool(remembered) and not any(r is not None for r in remembered)
    )


def half_of(rule: Callable[..., Any]) -> Callable[..., Any]:
    """A door that also refuses an upstream gradient that would broadcast."""

    @functools.wraps(rule)
    def half(self: Any, *grads: Tensor) -> Any:
        if torch.is_grad_enabled():
            with torch.no_grad():
                return half(self, *grads)
        wanted = self.__dict__.get("outputs")
        try:
            if grads and isinstance(wanted, Tensor):
                came = grads[0]
                if came.shape != wanted.shape or came.dtype != wanted.dtype:
                    want = described(wanted)
                    raise ValueError(
                        f"{self}: upstream gradient is {described(came)}, wanted {want}"
                    )
            return rule(self, *grads)
        except (AttributeError, TypeError, NotImplementedError) as error:
            if _misses_forward(self, error):
                raise RuntimeError(f"{self}: backward before forward") from error
            if grads:
                refuse_unreal(f"{self}: upstream gradient", grads[0], error)
            raise

    return half


def refuse_unreal(who: str, values: Any, error: Exception) -> None:
    """TypeError for what is no dense Tensor of real numbers, asked where a rule has failed."""
    if not isinstance(values, Tensor):
        raise TypeError(f"{who}: came a {type(values).__name__}, wanted a Tensor") from error
    check_dense(who, values)
    if not values.is_floating_point():
        raise TypeError(f"{who}: came {described(values)}, wanted floating point") from error
