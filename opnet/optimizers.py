"""Rules that move `params` along `grads`: one equation and one source each."""

from typing import Any

import torch

from .errors import check_rate
from .op import without_graph
from .tensors import described
from .walk import dict_of, leaf_ops, named_ops


class Optimizer:
    """params <- params + step(grads, lr) for every op of the model. A subclass writes `step`.

    `lr` is the current rate, `init_lr` stays. ValueError or TypeError for a rate that is not finite
    or below 0.
    """

    def __init__(self, init_lr: float, model: Any) -> None:
        self.init_lr = self.lr = check_rate(f"{type(self).__name__}: init_lr", init_lr)
        if model is None:
            raise TypeError(f"{type(self).__name__}: model is None, wanted the model to train")
        self.model = model

    def step(self) -> None:
        raise NotImplementedError(f"{type(self).__name__}: has no step")

    def pairs(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Every param with its gradient. ValueError, before anything moves, when one is unfit."""
        found = []
        for op in leaf_ops(self.model):
            grads = dict_of(op, "grads")
            for key, param in dict_of(op, "params").items():
                grad = grads.get(key)
                if grad is None or (grad.shape != param.shape and not _broadcasts(grad, param)):
                    raise ValueError(self._unfit(op, key, param, grad))
                found.append((param, grad))
        return found

    def _unfit(self, op: Any, key: str, param: torch.Tensor, grad: torch.Tensor | None) -> str:
        name = next(name for name, other in named_ops(self.model).items() if other is op)
        came = "missing" if grad is None else described(grad)
        who = f"{type(self).__name__}: gradient {key!r} of {name!r}"
        return f"{who} is {came}, its param is {described(param)}"


class BatchGD(Optimizer):
    """p <- p - lr dL/dp: gradient descent.    Source: NNDL 4.2; Cauchy 1847."""

    @without_graph
    def step(self) -> None:
        for param, grad in self.pairs():
            param.add_(grad, alpha=-self.lr)


def _broadcasts(grad: torch.Tensor, param: torch.Tensor) -> bool:
    """Whether `grad` can be added to `param` in place, as the book's [O] to a bias [1, O]."""
    try:
        return torch.broadcast_shapes(grad.shape, param.shape) == param.shape
    except RuntimeError:
        return False
