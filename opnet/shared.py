"""The update of ranks that train together: by the gradient over the rows of all of them."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from .parallel import Ranks
from .tensors import misfits
from .walk import dict_of, named_ops


class Shared:
    """In the place of an optimizer: dL/dp = sum over ranks of weight dL_rank/dp, then its update.

    weight = rows of the rank / rows of all. All gradients are one sum of one flat tensor, whose
    parts are those of the first step: ValueError, naming the rank, where one has others.
    """

    def __init__(self, optimizer: Any, model: Any, ranks: Ranks, weight: float) -> None:
        self.optimizer, self.ranks, self.weight = optimizer, ranks, weight
        self.ops = {name: op for name, op in named_ops(model).items() if dict_of(op, "params")}
        self.parts: dict[str, Tensor] | None = None  # on the device "meta": shapes, no numbers

    def step(self) -> None:
        grads = self._grads()
        self._agree(grads)
        self._update(grads)

    def step_without_rows(self) -> None:
        """Where none of the rows is this rank's: zeros take the places of its gradients."""
        for place, part in self._agree(None).items():
            name, _, key = place.rpartition(".")
            op = self.ops[name]
            op.grads = dict_of(op, "grads")  # a learner's own may have none before its backward
            if key not in op.grads or misfits({key: op.grads[key]}, {key: part}, name):
                op.grads[key] = torch.empty_like(part, device=op.params[key].device)
            op.grads[key].zero_()  # times a weight of 0, nan would stay
        self._update(self._grads())

    @torch.no_grad()
    def _update(self, grads: dict[str, Tensor]) -> None:
        if grads:
            joined = torch.cat([grad.reshape(-1) for grad in grads.values()]).mul_(self.weight)
            parts = self.ranks.sum(joined).split([grad.numel() for grad in grads.values()])
            for grad, part in zip(grads.values(), parts, strict=True):
                grad.copy_(part.view_as(grad))
        self.optimizer.step()

    def _agree(self, grads: Mapping[str, Tensor] | None) -> dict[str, Tensor]:
        """The parts of the gradient; None comes from a rank that has no rows in this step."""
        if self.parts is None:
            here = grads and {place: grad.detach().to("meta") for place, grad in grads.items()}
            found = self.ranks.gather(here)
            first = next(rank for rank, parts in enumerate(found) if parts is not None)
            self.parts = found[first]
            for rank, parts in enumerate(found):
                _check(rank, parts, self.parts, f"rank {first}")
        _check(self.ranks.rank, grads, self.parts, "the first step")
        return self.parts

    def _grads(self) -> dict[str, Tensor]:
        """Those that there are, by place: one that is missing the optimizer names itself."""
        found = {
            f"{name}.{key}": dict_of(op, "grads").get(key)
            for name, op in self.ops.items()
            for key in op.params
        }
        return {place: grad for place, grad in found.items() if grad is not None}


def _check(rank: int, grads: Mapping[str, Tensor] | None, parts: Any, who: str) -> None:
    if grads is not None and (unfit := misfits(grads, parts, who)):
        raise ValueError(f"train: gradients of rank {rank}: {'; '.join(unfit)}")
