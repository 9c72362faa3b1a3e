"""An epoch recorded once and replayed: its kernels in a row, without the Python around them.

Of a small net's epoch on a CPU more than half is Python that finds out what to call, and a GPU is
done with a kernel before the next one has been named. A compiled step (torch.compile) is not
offered: it takes 20 s to make and gains nothing on the CPU.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .op import Sequential, has_halves
from .optimizer import Optimizer
from .recorded import RECORDERS, Left, OnRows, Recorded, Rule
from .step import evaluation, training_step
from .walk import attributes, dict_of, every_op, every_part, leaf_ops, set_training, state


class Training(NamedTuple):
    """What an epoch is made of: a step on all rows of `train_set`, then a look at `dev_set`.

    Through both in blocks of `block_size` rows, if there are more.
    """

    model: Any
    optimizer: Any
    metric: Any
    loss_fn: Any
    train_set: Any
    dev_set: Any
    block_size: int | None = None


class _Recording:
    """What recordings of a training share: where they are made, and whether they still hold.

    Numbers of Python are fixed in a recording. Unless the update is `steady`, as with a rate that
    changes or with Adam's t, it stays outside.
    """

    def __init__(self, training: Training, steady: bool) -> None:
        self.training, self.parts = training, every_part(training.model)
        device = state(training.model)[0].device
        self.recorder = RECORDERS[device.type](device, generators(training.model))
        self.within = training.optimizer if steady else _Later()
        self.update: Callable[[], None] | None = None if steady else training.optimizer.step
        self.grads: list[tuple[Any, dict[str, Tensor], str, Tensor]] = []

    def moved(self) -> bool:
        """Whether a gradient is no longer where it was when it was recorded."""
        return any(
            op.grads is not box or box.get(key) is not tensor for op, box, key, tensor in self.grads
        )

    def _note(self, *rules: Recorded) -> None:
        """Where the gradients are, once one of the rules is recorded."""
        if not self.grads and any(rule.done for rule in rules):
            ops = [(op, dict_of(op, "grads")) for op in leaf_ops(self.training.model)]
            self.grads = [(op, box, key, box[key]) for op, box in ops for key in box]


class Captured(_Recording):
    """At each call one epoch, the first ones as usual, from then on a recording of it.

    It gives train loss, train score, dev loss and dev score, not read back, once it is recorded in
    the same memory each time; with `scored_later` the predictions in the place of the scores. The
    trajectory is that of `training_step` and `evaluation`, which are what is recorded.
    """

    def __init__(self, training: Training, steady: bool, scored_later: bool = False) -> None:
        super().__init__(training, steady)
        halves = [
            partial(_train, training, self.parts, self.within, scored_later),
            partial(_judge, training, self.parts, scored_later),
        ]
        rules = [partial(_one_after_another, halves)] if steady else halves
        self.rules = [Recorded(self.recorder, rule) for rule in rules]

    def __call__(self) -> Left:
        first, *others = self.rules
        left = first()
        if self.update:
            self.update()
        for rule in others:
            left = left + rule()
        self._note(*self.rules)
        return left


class Steps(_Recording):
    """`training_step` on batches of rows, recorded for each number of rows that comes often."""

    def __init__(self, training: Training, steady: bool) -> None:
        super().__init__(training, steady)
        self.steps = OnRows(self.recorder, partial(_step, training, self.within))

    def __call__(self, X: Tensor, y: Tensor) -> Left:
        """Predictions and loss, in the same memory at each call for as many rows."""
        step = self.steps.on(X, y)
        left = step()
        if self.update:
            self.update()
        self._note(step)
        return left


# Rules stand apart from what holds them: a cycle would keep the rows of a run until Python looks.


def _train(training: Training, parts: list[Any], optimizer: Any, scored_later: bool) -> Left:
    model, _, metric, loss_fn, (X, y), _, size = training
    set_training(parts, True)
    predicts, loss = training_step(model, loss_fn, optimizer, X, y, size)
    return [loss, predicts if scored_later else torch.as_tensor(metric(predicts, y))]


def _judge(training: Training, parts: list[Any], scored_later: bool) -> Left:
    model, _, metric, loss_fn, _, (X, y), size = training
    set_training(parts, False)
    predicts, loss = evaluation(model, loss_fn, X, y, size)
    return [loss, predicts if scored_later else torch.as_tensor(metric(predicts, y))]


def _one_after_another(rules: Sequence[Rule]) -> Left:
    return [tensor for rule in rules for tensor in rule()]


def _step(training: Training, optimizer: Any, X: Tensor, y: Tensor) -> Left:
    model, loss_fn, size = training.model, training.loss_fn, training.block_size
    return list(training_step(model, loss_fn, optimizer, X, y, size))


class _Later:
    """In the place of an optimizer whose step comes after the recording."""

    def step(self) -> None:
        pass


def is_steady(optimizer: Any) -> bool:
    """Whether each step at one rate does the same and can be recorded: all it keeps is tensors."""
    if not (is_recordable(optimizer) and keeps_as_usual(optimizer)):
        return False
    return all(isinstance(memory[name], Tensor) for _, memory, name in optimizer.kept())


def keeps_as_usual(optimizer: Any) -> bool:
    return getattr(type(optimizer), "state_dict", None) is Optimizer.state_dict


def generators(model: Any) -> list[torch.Generator]:
    """The generators that the ops hold, each once."""
    held = [value for op in every_op(model) for value in attributes(op).values()]
    return list({id(g): g for g in held if isinstance(g, torch.Generator)}.values())


def obstacle(training: Training) -> str | None:
    """What of model and loss cannot be recorded, in one line; None where all of it can.

    Recorded is what is opnet's own, and what says of itself `recordable = True`: a class of ops, a
    loss, an optimizer made from `Optimizer`, a metric. It promises that it computes the same
    kernels on the same memory each time: it rebinds no param, reads no tensor back, and decides
    nothing from a number that changes. A metric has to return a tensor.
    """
    model, loss_fn, tensors = training.model, training.loss_fn, state(training.model)
    if not tensors:
        return "the model has no weights"
    device = tensors[0].device
    if torch.is_inference_mode_enabled():
        return "inference mode is on, in which kernels are called by other names"
    if device.type not in RECORDERS:
        return f"the model is on {device.type}, wanted {' or '.join(RECORDERS)}"
    for generator in generators(model):
        if generator.device.type != device.type:
            return f"a generator of the model is on {generator.device}, wanted {device.type}"
    return _unsaid(*every_op(model), loss_fn)


def obstacle_to_all(training: Training) -> str | None:
    """What else cannot be recorded, where optimizer and metric are to be recorded with the rest."""
    optimizer, (X, _) = training.optimizer, training.train_set
    if not isinstance(X, Tensor):
        return "X is read block by block, wanted a Tensor"
    if not keeps_as_usual(optimizer):
        return f"{type(optimizer).__name__} does not keep its state as opnet.Optimizer does"
    tensors = state(training.model)
    tensors += [t for _, box, name in optimizer.kept() if isinstance(t := box[name], Tensor)]
    kinds = sorted({str(tensor.dtype) for tensor in tensors})
    if len(kinds) > 1 or not all(tensor.is_contiguous() for tensor in tensors):
        return f"weights and memory are {', '.join(kinds)}, wanted one dtype, contiguous"
    return _unsaid(optimizer, training.metric)


def _unsaid(*parts: Any) -> str | None:
    for part in parts:
        if not is_recordable(part):
            who = getattr(part, "__name__", None) or type(part).__name__
            return f"{who} is neither opnet's own nor says recordable = True"
    return None


def is_recordable(part: Any) -> bool:
    """Whether it is opnet's own or says so: its own class or function, not one above it.

    A rule that somebody has put on the instance is neither.
    """
    if isinstance(part, partial):
        return is_recordable(part.func)
    if any(callable(getattr(type(part), name, None)) for name in attributes(part)):
        return False
    if hasattr(part, "layers") and type(part).forward is Sequential.forward and has_halves(part):
        return True  # its layers are asked themselves
    owner = part if hasattr(part, "__qualname__") else type(part)
    own = (getattr(owner, "__module__", None) or "").startswith("opnet.")
    return own or bool(getattr(owner, "__dict__", {}).get("recordable", False))
