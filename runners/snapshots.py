"""Copies of all that an epoch changes: one is taken after each, so it has to be cheap."""

from collections.abc import Callable
from functools import cached_property, partial
from math import prod
from typing import Any

import torch
from torch import Tensor

from opnet import checkpoint
from opnet.optimizer import Optimizer
from opnet.walk import dict_of, leaf_ops, state

KINDS = ("params", "buffers")


class Snapshot:
    """Copies of the weights, and of what the optimizer kept when they were these.

    `unpacked` makes the two where somebody asks, which of most epochs nobody does.
    """

    def __init__(self, unpacked: Callable[[], tuple[list[Tensor], checkpoint.Memory]]) -> None:
        self._unpacked = unpacked

    @cached_property
    def _both(self) -> tuple[list[Tensor], checkpoint.Memory]:
        return self._unpacked()

    @property
    def weights(self) -> list[Tensor]:
        return self._both[0]

    @property
    def memory(self) -> checkpoint.Memory:
        return self._both[1]

    def tensors(self) -> list[Tensor]:
        return [*self.weights, *self.memory.values()]


class Camera:
    """Takes snapshots: in one copy, where all is of one dtype and the optimizer is opnet's own."""

    def __init__(self, model: Any, optimizer: Any) -> None:
        self.model, self.optimizer = model, optimizer
        self._look()

    def take(self) -> Snapshot:
        if self.moved():
            self._look()  # a learner's rule may put other tensors in their place
        if not self.rows:
            return snapshot(self.model, self.optimizer)
        return self.developed(torch.cat(self.rows))

    def developed(self, joined: Tensor) -> Snapshot:
        """The snapshot of now, whose `rows` are the last numbers of `joined`."""
        counts = {name: box[key] for name, box, key in self.counters}
        found = self.rows[0].dtype, self.shapes, self.names
        return Snapshot(partial(_unpacked, joined, *found, counts))

    def moved(self) -> bool:
        """Whether a dict, a tensor in it or the memory of one is another than when last found."""
        boxes = any(getattr(op, kind, None) is not box for op, kind, box in self.boxes)
        places = zip(self.places, self.at, strict=True)
        return boxes or any(b[key] is not t or t.data_ptr() != at for (b, key, t), at in places)

    def _look(self) -> None:
        """Find every tensor, and each as a row; no `rows` where these cannot be joined."""
        own = getattr(type(self.optimizer), "state_dict", None) is Optimizer.state_dict
        kept = list(self.optimizer.kept()) if own else []
        memory = [(name, box, key) for name, box, key in kept if isinstance(box[key], Tensor)]
        self.counters = [(n, box, key) for n, box, key in kept if not isinstance(box[key], Tensor)]
        self.names = [name for name, _, _ in memory]
        held = [(op, kind, dict_of(op, kind)) for op in leaf_ops(self.model) for kind in KINDS]
        self.boxes = [(op, kind, box) for op, kind, box in held if box]
        self.places = [(box, key, box[key]) for _, _, box in held for key in box]
        self.places += [(box, key, box[key]) for _, box, key in memory]
        tensors = [tensor for _, _, tensor in self.places]
        alike = len({(t.dtype, t.device) for t in tensors}) == 1
        can_be_joined = own and alike and all(t.is_contiguous() for t in tensors)
        self.rows = [tensor.detach().view(-1) for tensor in tensors] if can_be_joined else []
        self.shapes = [tensor.shape for tensor in tensors]
        self.at = [tensor.data_ptr() for tensor in tensors]


def snapshot(model: Any, optimizer: Any) -> Snapshot:
    """Copies tensor by tensor, of whatever model and optimizer."""
    weights = [tensor.detach().clone() for tensor in state(model)]
    memory = {name: t.clone() for name, t in checkpoint.memory_of(optimizer).items()}
    return Snapshot(lambda: (weights, memory))


def set_weights(model: Any, taken: Snapshot) -> None:
    with torch.no_grad():
        for tensor, kept in zip(state(model), taken.weights, strict=True):
            tensor.copy_(kept)


def _unpacked(
    joined: Tensor,
    dtype: torch.dtype,
    shapes: list[torch.Size],
    names: list[str],
    counts: dict[str, int],
) -> tuple[list[Tensor], checkpoint.Memory]:
    """The weights and the memory that were joined: the first tensors, and the last, the named."""
    sizes = [prod(shape) for shape in shapes]
    parts = joined[len(joined) - sum(sizes) :].to(dtype).split(sizes)
    tensors = [part.view(shape) for part, shape in zip(parts, shapes, strict=True)]
    weights = tensors[: len(tensors) - len(names)]
    memory = dict(zip(names, tensors[len(weights) :], strict=True))
    return weights, memory | {name: torch.tensor(count) for name, count in counts.items()}
