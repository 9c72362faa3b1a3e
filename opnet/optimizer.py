"""What all optimizers share: the walk over params, clipping, decay, and what is kept of each."""

import operator
from collections.abc import Iterable, Iterator, Mapping
from itertools import repeat
from types import MappingProxyType
from typing import Any, TypedDict

import torch
from torch import Tensor

from .errors import check_flag, check_positive, check_rate
from .tensors import described, misfits
from .walk import check_model, dict_of, leaf_ops, named_ops

Memory = dict[str, Any]  # what is kept of one param between steps: tensors like it, and counters
_NOTHING: Any = MappingProxyType({})  # a step that writes into it is told so


class Options(TypedDict, total=False):
    """What every optimizer takes by keyword; `Optimizer` says what it means."""

    weight_decay: float
    decay_biases: bool
    clip_value: float | None
    clip_norm: float | None


class Optimizer:
    """params <- params + step(grads, lr) for every op of the model. A subclass writes `step`.

    `lr` is the current rate, `init_lr` stays. `walk()` gives a step what its equation reads: each
    param p, its gradient g, and what `remember(p)` wants kept of p between steps. g is what stands
    in `grads`, which stays as it is, after these, in this order:
    clip_value c > 0     g <- min(max(g, -c), c)
    clip_norm c > 0      g <- g min(1, c / (|g| + 1e-6)), |g| the norm over all params together
    weight_decay w >= 0  g <- g + w p, the gradient of w/2 |p|^2 (L2). A bias, that is a param under
                         the key "b", is left out unless `decay_biases`; all others are weights, the
                         scale "W" of a normalisation too.
    ValueError or TypeError for a number out of range, a `decay_biases` that is no bool, no model.
    Source: torch.optim, clip_grad_value_, clip_grad_norm_; Pascanu, Mikolov, Bengio 2013 (norm).
    """

    def __init__(
        self,
        init_lr: float,
        model: Any,
        *,
        weight_decay: float = 0.0,
        decay_biases: bool = False,
        clip_value: float | None = None,
        clip_norm: float | None = None,
    ) -> None:
        who = type(self).__name__
        self.init_lr = self.lr = check_rate(f"{who}: init_lr", init_lr)
        if model is None:
            raise TypeError(f"{who}: model is None, wanted the model to train")
        check_model(who, model)
        self.model = model
        self.weight_decay = check_rate(f"{who}: weight_decay", weight_decay)
        self.decay_biases = check_flag(f"{who}: decay_biases", decay_biases)
        self.clip_value = _limit(f"{who}: clip_value", clip_value)
        self.clip_norm = _limit(f"{who}: clip_norm", clip_norm)
        self._memories: dict[tuple[str, str], tuple[Any, Memory]] = {}  # by layer name and key
        self._known: tuple[list[Tensor], list[Tensor]] = [], []  # alike, as last looked at
        self._named: list[tuple[Any, str]] = []  # ops with their names, as last found

    def step(self) -> None:
        raise NotImplementedError(f"{type(self).__name__}: has no step")

    def remember(self, param: Tensor) -> Memory:
        """What to keep of `param` from its first step on: zeros like it, counters at 0."""
        return {}

    def walk(self) -> Iterable[tuple[Tensor, Tensor, Memory]]:
        """(p, g, memory) of every param. ValueError, before anything moves, for an unfit gradient.

        A gradient that broadcasts to its param, as the book's [O] to a bias [1, O], is fit.
        """
        keys, params, grads = self._params_and_grads()
        if self.clip_value is not None:
            grads = [grad.clamp(-self.clip_value, self.clip_value) for grad in grads]
        if self.clip_norm is not None:
            grads = _within_norm(grads, self.clip_norm)
        if self.weight_decay:
            grads = [self._decayed(*three) for three in zip(keys, params, grads, strict=True)]
        return zip(params, grads, self._remembered().values() or repeat(_NOTHING), strict=False)

    def state_dict(self) -> dict[str, Tensor]:
        """{"<layer>.<key>.<name>": tensor} of all that is kept; {} where that is nothing.

        The tensors are the optimizer's own, counters are copies.
        """
        return {place: torch.as_tensor(memory[name]) for place, memory, name in self.kept()}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what a `state_dict` held, copied in place; from {} start anew.

        ValueError, and nothing has changed, for other names, shapes or dtypes.
        """
        if state and (faults := misfits(state, self.state_dict(), "optimizer")):
            raise ValueError(f"{type(self).__name__}: state: {'; '.join(faults)}")
        for place, memory, name in self.kept():
            came = state.get(place, torch.tensor(0))
            if isinstance(memory[name], Tensor):
                memory[name].copy_(came)
            else:
                memory[name] = int(came)

    def _params_and_grads(self) -> tuple[list[str], list[Tensor], list[Tensor]]:
        places = [(op, key) for op in leaf_ops(self.model) for key in dict_of(op, "params")]
        keys = [key for _, key in places]
        params = [op.params[key] for op, key in places]
        grads: list[Any] = [dict_of(op, "grads").get(key) for op, key in places]
        if not (_are(params, self._known[0]) and _are(grads, self._known[1])):
            for i, (op, key) in enumerate(places):
                if type(grads[i]) is not Tensor or not _alike(grads[i], params[i]):
                    grads[i] = self._fitted(op, key, params[i], grads[i])
            self._known = params, grads
        return keys, params, grads

    def _fitted(self, op: Any, key: str, param: Tensor, grad: Tensor | None) -> Tensor:
        """`grad` in the shape of `param`. TypeError, ValueError unless it can be added to it."""
        if isinstance(grad, Tensor) and _can_be_added(grad, param):
            return grad.expand_as(param)
        name = next(name for name, other in named_ops(self.model).items() if other is op)
        who = f"{type(self).__name__}: gradient {key!r} of {name!r}"
        if not isinstance(grad, Tensor | None):
            raise TypeError(f"{who} is a {type(grad).__name__}, wanted a Tensor")
        came = "missing" if grad is None else f"{described(grad)} {_whereabouts(grad)}".rstrip()
        raise ValueError(f"{who} is {came}, its param is {described(param)}")

    def _decayed(self, key: str, param: Tensor, grad: Tensor) -> Tensor:
        if key == "b" and not self.decay_biases:
            return grad
        return grad.add(param, alpha=self.weight_decay)

    def kept(self) -> Iterator[tuple[str, Memory, str]]:
        """Everything kept: "<layer>.<key>.<name>", and the memory where it stands under `name`."""
        for (layer, key), memory in self._remembered().items():
            for name in memory:
                yield f"{layer}.{key}.{name}", memory, name

    def _remembered(self) -> dict[tuple[str, str], Memory]:
        """The memory of each param, by layer name and key; {} where nothing is kept."""
        if type(self).remember is Optimizer.remember:
            return {}
        ops = list(leaf_ops(self.model))
        if list(map(id, ops)) != [id(op) for op, _ in self._named]:
            self._named = list(zip(ops, named_ops(self.model), strict=True))
        return {
            (name, key): self._memory((name, key), param)
            for op, name in self._named
            for key, param in dict_of(op, "params").items()
        }

    def _memory(self, place: tuple[str, str], param: Tensor) -> Memory:
        like = (param.shape, param.dtype, param.device)
        was, memory = self._memories.get(place, (None, {}))
        if was != like:
            if was and was[0] == param.shape:  # it follows its param to another dtype or device
                memory = {k: v.to(param) if isinstance(v, Tensor) else v for k, v in memory.items()}
            else:
                memory = self.remember(param)
            self._memories[place] = like, memory
        return memory


def _limit(who: str, value: object) -> float | None:
    return None if value is None else check_positive(who, value)


def _within_norm(grads: list[Tensor], limit: float) -> list[Tensor]:
    """The gradients, all scaled by one factor where their common norm exceeds `limit`."""
    norms = [torch.linalg.vector_norm(grad) for grad in grads]
    norm = torch.linalg.vector_norm(torch.stack(norms)) if norms else torch.tensor(0.0)
    factor = limit / (norm + 1e-6)  # torch's guard against a norm of 0
    return [grad * factor.clamp_max(1) for grad in grads]


def _are(tensors: list[Any], others: list[Tensor]) -> bool:
    """Whether they are the very same objects."""
    return len(tensors) == len(others) and all(map(operator.is_, tensors, others))


def _alike(grad: Tensor, param: Tensor) -> bool:
    return (
        grad.shape == param.shape
        and grad.dtype == param.dtype
        and grad.device == param.device
        and grad.layout == param.layout
    )


def _whereabouts(grad: Tensor) -> str:
    """What else than its shape may keep `grad` from being added: where it is, that it is sparse."""
    place = "" if grad.device.type == "cpu" else f"on {grad.device}"
    return place if grad.layout == torch.strided else f"{place} (sparse)".strip()


def _can_be_added(grad: Tensor, param: Tensor) -> bool:
    """Whether `grad` can be added to `param` in place, as the book's [O] to a bias [1, O]."""
    if grad.layout != torch.strided or grad.device != param.device or grad.is_complex():
        return False
    try:
        return torch.broadcast_shapes(grad.shape, param.shape) == param.shape
    except RuntimeError:
        return False
