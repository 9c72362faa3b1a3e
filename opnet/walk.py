"""Walking the ops of a model: their names, what they hold, what they remember. Knows no class.

An op is any object with `forward` and `backward`, a container any with `layers`; what an op never
set reads as absent.
"""

import copy
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from .errors import check_name

Box = dict[str, Any] | list[Any]


def every_op(model: Any) -> Iterator[Any]:
    """The model, its layers and theirs, containers before what they hold."""
    yield model
    for layer in getattr(model, "layers", ()):
        yield from every_op(layer)


def leaf_ops(model: Any) -> Iterator[Any]:
    """The ops that hold no other, in order: those with a rule of their own."""
    if not hasattr(model, "layers"):
        yield model
        return
    for layer in model.layers:
        yield from leaf_ops(layer)


def dict_of(op: Any, kind: str) -> dict[str, Tensor]:
    """`op.params`, `op.grads` or `op.buffers`; an op that has none or None has an empty one."""
    found = getattr(op, kind, None)
    return found if isinstance(found, dict) else {}


def state(model: Any) -> list[Tensor]:
    """Every tensor that a checkpoint would hold, in the order of the ops: params, then buffers."""
    return [
        tensor
        for op in leaf_ops(model)
        for kind in ("params", "buffers")
        for tensor in dict_of(op, kind).values()
    ]


def named_layers(model: Any) -> list[tuple[str, Any]]:
    """The layers by name: the given one, else the attribute that holds it, else class and position.

    ValueError for a given name that is no file name, or that two layers have, but for upper and
    lower case: on some disks that is one file.
    """
    who = type(model).__name__
    given = [given_name(layer) for layer in model.layers]
    taken: dict[str, int] = {}
    for position, name in enumerate(given):
        if (
            name
            and taken.setdefault(check_name(f"{who}: name", name).casefold(), position) < position
        ):
            first = taken[name.casefold()]
            raise ValueError(f"{who}: layers {first} and {position} are both named {name!r}")
    held_as = {id(value): key for key, value in attributes(model).items()}

    def found_name(position: int, layer: Any) -> str:
        name = held_as.get(id(layer)) or f"{type(layer).__name__}_{position}"
        while name.casefold() in taken:  # only given names can clash
            name += "_"
        taken[name.casefold()] = position
        return name

    return [(given[i] or found_name(i, layer), layer) for i, layer in enumerate(model.layers)]


def named_ops(model: Any) -> dict[str, Any]:
    """Every op that holds no other, by name; one in a nested container is called `container.op`."""
    ops: dict[str, Any] = {}
    for name, op in _named_leaves(model):
        if name in ops:
            raise ValueError(f"{type(model).__name__}: two ops are called {name!r}")
        ops[name] = op
    return ops


def _named_leaves(model: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if not hasattr(model, "layers"):
        yield prefix.removesuffix(".") or given_name(model) or type(model).__name__, model
        return
    for name, layer in named_layers(model):
        yield from _named_leaves(layer, f"{prefix}{name}.")


def last_op(model: Any) -> Any:
    """The op whose outputs are the model's."""
    while getattr(model, "layers", None):
        model = model.layers[-1]
    return model


def attributes(op: Any) -> dict[str, Any]:
    return getattr(op, "__dict__", {})


def given_name(op: Any) -> str | None:
    """The name that the op was given; not a class's, nor one that a container has found for it."""
    return None if getattr(op, "named_by_container", False) else attributes(op).get("name")


def check_model(who: str, model: Any) -> None:
    """TypeError for what is no op, no model, and no object that can be called."""
    if isinstance(model, type):
        raise TypeError(f"{who}: model is the class {model.__name__}, wanted a model of it")
    if not (callable(model) or any(hasattr(model, part) for part in ("layers", "forward"))):
        raise TypeError(f"{who}: model is a {type(model).__name__}, wanted a model")


def check_places(model: Any) -> None:
    """ValueError when one op stands in two places: it can remember one forward only."""
    places: set[int] = set()
    for op in every_op(model):
        if id(op) in places:
            raise ValueError(
                f"{type(model).__name__}: {op} stands in two places, wanted an op each"
            )
        places.add(id(op))


def set_training(ops: Iterable[Any], training: bool) -> None:
    for op in ops:
        if hasattr(op, "__dict__"):
            op.training = training


def every_part(*roots: Any) -> list[Any]:
    """The roots and every op within reach of their attributes, lists and dicts, each once."""
    found: dict[int, Any] = {}
    seen: set[int] = set()
    todo = list(roots)
    while todo:
        thing = todo.pop()
        if id(thing) in seen or isinstance(thing, (type, Tensor)):
            continue
        seen.add(id(thing))
        if isinstance(thing, dict):
            todo.extend(thing.values())
        elif isinstance(thing, (list, tuple)):
            todo.extend(thing)
        elif any(thing is root for root in roots) or hasattr(thing, "backward"):
            found[id(thing)] = thing
            todo.extend(attributes(thing).values())
    return list(found.values())


class Seen:
    """The tensors that ops hold at one moment, and that nobody has written into since."""

    def __init__(self, *models: Any) -> None:
        parts = every_part(*models)
        held = [tensor for part in parts for tensor in attributes(part).values()]
        held += [param for part in parts for param in dict_of(part, "params").values()]
        self.tensors = [(t, _version(t)) for t in held if isinstance(t, Tensor)]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Seen) or len(self.tensors) != len(other.tensors):
            return False
        pairs = zip(self.tensors, other.tensors, strict=True)
        return all(a is b and then == now for (a, then), (b, now) in pairs)

    __hash__ = None  # type: ignore[assignment]

    def __deepcopy__(self, memo: Any) -> None:
        """A copied loss has seen nothing: the copies of its tensors are others."""


@contextmanager
def untouched(*models: Any) -> Iterator[None]:
    """Run in eval mode without a graph; then put back all that the ops held, and the RNG."""
    parts = every_part(*models)
    put_back = [_holding(part) for part in parts]
    devices = {tensor.device.index for model in models for tensor in state(model) if tensor.is_cuda}
    with torch.no_grad(), torch.random.fork_rng(devices=sorted(devices)):
        try:
            set_training(parts, False)
            yield
        finally:
            for part in put_back:
                part()


def _holding(op: Any) -> Callable[[], None]:
    """Takes down what `op` holds; the function that it returns puts it back.

    A learner's op may write into the tensors that it holds: it gets copies in the meantime.
    """
    boxes = [(box, copy.copy(box)) for box in boxes_of(op)]
    held = dict(attributes(op))
    sources = [(g, g.get_state()) for g in held.values() if isinstance(g, torch.Generator)]
    if not type(op).__module__.startswith("opnet."):
        kept = {id(held.get("params")), id(held.get("grads"))}
        for box, _ in boxes:
            if id(box) not in kept and isinstance(box, dict):
                box.update({k: t.clone() for k, t in box.items() if isinstance(t, Tensor)})

    def put_back() -> None:
        for box, content in boxes:
            refill(box, content)
        for generator, start in sources:
            generator.set_state(start)

    return put_back


def boxes_of(op: Any) -> list[Box]:
    """Its attributes, and the dicts and lists among them: where a forward leaves what it keeps."""
    held = attributes(op)
    return [held, *(value for value in held.values() if isinstance(value, (dict, list)))]


def refill(box: Box, content: Any) -> None:
    """Put this content in the place of what the box holds."""
    box.clear()
    box.update(content) if isinstance(box, dict) else box.extend(content)


def _version(tensor: Tensor) -> int:
    """How often the tensor was written into; tensors made in inference mode do not count."""
    return 0 if tensor.is_inference() else tensor._version
