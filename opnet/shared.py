"""The update of ranks that train together: by the gradient over the rows of all of them."""

from typing import Any

import torch
from torch import Tensor

from .parallel import Ranks
from .tensors import kinds_of, unlike
from .walk import dict_of, named_ops

Places = dict[str, tuple[Any, str]]  # {"fc1.W": its op and its key}
Grads = dict[str, Tensor]


class Shared:
    """In the place of an optimizer: dL/dp = sum over ranks of weight dL_rank/dp, then its update.

    weight = rows of the rank / rows of all. All gradients are one sum of one flat tensor, whose
    parts are those of the first step: ValueError, naming the rank, where one has others.
    """

    def __init__(self, optimizer: Any, model: Any, ranks: Ranks, weight: float) -> None:
        self.optimizer, self.model = optimizer, model
        self.ranks, self.weight = ranks, weight
        self.parts: Grads | None = None  # on the device "meta": shapes and dtypes, no numbers

    @torch.no_grad()
    def step(self) -> None:
        places = self._places()
        found = {place: dict_of(op, "grads").get(key) for place, (op, key) in places.items()}
        grads = {place: grad for place, grad in found.items() if grad is not None}
        self._agree(grads)
        self._update(places, grads)

    @torch.no_grad()
    def step_without_rows(self) -> None:
        """Where none of the rows is this rank's: zeros, and no others, are its gradients."""
        places, parts = self._places(), self._agree(None)
        before = {place: dict_of(op, "grads").get(key) for place, (op, key) in places.items()}
        for op, _ in places.values():
            op.grads = dict_of(op, "grads")  # a learner's own may have none before its backward
            op.grads.clear()
        device = self.ranks.device
        grads = {place: _zeros(before[place], part, device) for place, part in parts.items()}
        for place, grad in grads.items():
            op, key = places[place]
            op.grads[key] = grad
        self._update(places, grads)

    def _places(self) -> Places:
        ops = named_ops(self.model).items()
        return {f"{name}.{key}": (op, key) for name, op in ops for key in dict_of(op, "params")}

    def _update(self, places: Places, grads: Grads) -> None:
        if grads:
            joined = torch.cat([grad.reshape(-1) for grad in grads.values()]).mul_(self.weight)
            sums = self.ranks.sum(joined).split([grad.numel() for grad in grads.values()])
            for (place, grad), part in zip(grads.items(), sums, strict=True):
                op, key = places[place]
                if grad.is_contiguous():
                    grad.copy_(part.view_as(grad))
                else:  # it may be one number, expanded
                    op.grads[key] = part.view_as(grad)
        self.optimizer.step()

    def _agree(self, grads: Grads | None) -> Grads:
        """The parts of the gradient; None comes from a rank that has no rows in this step."""
        if self.parts is None:
            here = {place: grad.to("meta") for place, grad in (grads or {}).items()}
            found = self.ranks.gather(None if grads is None else here)
            first = next(rank for rank, parts in enumerate(found) if parts is not None)
            self.parts, self.kinds = found[first], kinds_of(found[first])
            for rank, parts in enumerate(found):
                self._check(rank, parts, f"rank {first}")
        self._check(self.ranks.rank, grads, "the first step")
        return self.parts

    def _check(self, rank: int, grads: Grads | None, who: str) -> None:
        if grads is not None and (unfit := unlike(kinds_of(grads), self.kinds, who)):
            raise ValueError(f"train: gradients of rank {rank}: {'; '.join(unfit)}")


def _zeros(before: Tensor | None, part: Tensor, device: torch.device | None) -> Tensor:
    """Like that part, in the same memory where that fits: a recording knows where it is."""
    alike = before is not None and (before.shape, before.dtype) == (part.shape, part.dtype)
    if before is None or not alike or not before.is_contiguous():
        before = torch.empty_like(part, device=device)
    return before.zero_()  # times a weight of 0, nan would stay
