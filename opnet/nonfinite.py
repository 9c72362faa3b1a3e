"""Where numbers go bad: rows go through a model once more, without an update, and are watched."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor

from .ahead import blocks
from .op import HALVES, has_halves
from .rows import Source
from .step import evaluation, walk_back_from
from .walk import attributes, dict_of, every_part, named_ops, set_training, untouched

Look = Callable[[str, list[Any]], None]  # told whether a rule `takes` or `gives` these


def first_bad_output(
    model: Any, loss_fn: Any, X: Tensor | Source, y: Tensor, size: int | None = None
) -> str | None:
    """`at the output of 'fc1'`: that of the first op, in the order in which they run, to be bad.

    Bad is nan or infinite. The loss, by its class, comes after all ops. The rows go through the
    model `size` at a time.
    """
    found: list[str] = []

    def look(name: str, does: str, tensors: list[Any]) -> None:
        if does == "gives" and _is_bad(tensors):
            found.append(f"at the output of {name!r}")

    with untouched(model, loss_fn), _until(found):  # the first also takes the watchers off again
        for name, op in named_ops(model).items():
            _watch(op, "forward", partial(look, name))
        for block in blocks(X, y, size or X.shape[-2]):
            _, loss = evaluation(model, loss_fn, block.X, block.y)
            look(type(loss_fn).__name__, "gives", [torch.as_tensor(loss)])
            if found:
                break
    return found[0] if found else None


def first_bad_gradient(
    model: Any, loss_fn: Any, X: Tensor | Source, y: Tensor, size: int | None = None
) -> str | None:
    """`in the gradient of 'fc1'`: that of the first op, as a step walks back, to be bad.

    Or `in the gradient that 'fc1' is given`, where no op has made it so but the loss, or a model
    with a backward of its own. The rows go through the model `size` at a time. `grads` and
    `buffers` are written over.
    """
    found: list[str] = []

    def look(name: str, op: Any, rule: str, does: str, tensors: list[Any]) -> None:
        if does == "gives" and rule != "backward_inputs":
            tensors = [*tensors, *dict_of(op, "grads").values()]
        if _is_bad(tensors):
            is_its = "of {!r}" if does == "gives" else "that {!r} is given"
            found.append(f"in the gradient {is_its.format(name)}")

    with untouched(model, loss_fn), _until(found):
        set_training(every_part(model, loss_fn), True)
        for name, op in named_ops(model).items():
            for grad in dict_of(op, "grads").values():
                grad.zero_()  # one that nobody writes may be bad from before
            for rule in HALVES if has_halves(op) else ("backward",):
                _watch(op, rule, partial(look, name, op, rule))
        for block in blocks(X, y, size or X.shape[-2]):
            evaluation(model, loss_fn, block.X, block.y)
            walk_back_from(model, loss_fn)
            if found:
                break
    return found[0] if found else None


@contextmanager
def _until(found: list[str]) -> Iterator[None]:
    """An op behind one that is bad may raise at what it is given: by then it is found."""
    try:
        yield
    except Exception:
        if not found:
            raise


def _watch(op: Any, rule: str, look: Look) -> None:
    """From now on the look falls on all that a rule of the op takes and gives, if it has that."""
    call = getattr(op, rule, None)
    if call is None:
        return

    def watched(*args: Any, **named: Any) -> Any:
        look("takes", [*args, *named.values()])
        given = call(*args, **named)
        look("gives", [*given] if isinstance(given, (tuple, list)) else [given])
        return given

    attributes(op)[rule] = watched


def _is_bad(tensors: Iterable[Any]) -> bool:
    return any(isinstance(t, Tensor) and not t.isfinite().all() for t in tensors)
