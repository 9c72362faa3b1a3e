"""A training that ends at nan says where it went bad, on one rank and on several."""

import pytest
import torch
from ranks import on_ranks
from test_ranks import drawn, moons

from opnet import (
    BatchGD,
    BinaryCrossEntropyLoss,
    Linear,
    Logistic,
    NonFiniteError,
    Op,
    Sequential,
    accuracy,
)
from opnet.parallel import rank
from opnet.walk import state
from runners import RunnerV2_1


class Spoiling:
    """Among the bases of an op or a loss: one of its rules gives nan while it is `broken`."""

    rule, broken = "", False

    def spoilt(self, rule, result):
        return result * torch.nan if self.broken and rule == self.rule else result

    def backward_inputs(self, grads=None):
        sent_back = super().backward_inputs(*[grads] * (grads is not None))
        return self.spoilt("backward_inputs", sent_back)


class SpoilingLinear(Spoiling, Linear):
    rowwise = True

    def forward(self, inputs):
        return self.spoilt("forward", super().forward(inputs))

    def backward_params(self, grads):
        super().backward_params(grads)
        self.grads["b"].copy_(self.spoilt("backward_params", self.grads["b"]))


class SpoilingLoss(Spoiling, BinaryCrossEntropyLoss):
    rowwise, through_head = True, None


class Whole(Op):
    """y = 2x,  dy/dx = 2, in one backward."""

    rowwise, broken = True, False

    def forward(self, inputs):
        return 2 * inputs

    def backward(self, grads):
        return 2 * grads * (torch.nan if self.broken else 1)


class BreakAt:
    """After epoch 4 the culprit is broken, on one rank or, where that is None, wherever it runs."""

    def __init__(self, culprit, where=None):
        self.culprit, self.where = culprit, where

    def on_epoch_end(self, runner, epoch):
        if epoch == 4 and self.where in (None, rank()):
            self.culprit.broken = True


def job(culprit, rule):
    """A runner, and that part of it which is going to break."""
    fc1 = SpoilingLinear(2, 5, "fc1", generator=drawn())
    fc2 = SpoilingLinear(5, 1, "fc2", generator=drawn())
    whole = Whole("whole")
    model = Sequential(fc1, whole, fc2, Logistic("head"))
    loss_fn = SpoilingLoss(model)
    part = {"fc1": fc1, "fc2": fc2, "whole": whole, "SpoilingLoss": loss_fn}[culprit]
    part.rule = rule
    return RunnerV2_1(model, BatchGD(0.25, model), accuracy, loss_fn), part


def said_by(culprit, rule, where=None, **how):
    """The error of a training in which a part breaks; what is in memory then is good."""
    runner, part = job(culprit, rule)
    how = {"num_epochs": 9, "log_epochs": 0, "keep": "last", "generator": drawn()} | how
    with pytest.raises(NonFiniteError) as error:
        runner.train(*moons()[:2], callbacks=[BreakAt(part, where)], **how)
    assert len(runner.train_loss) == 5
    assert all(tensor.isfinite().all() for tensor in state(runner.model))
    return str(error.value)


CASES = [  # who breaks, and which of its rules
    ("fc1", "forward"),
    ("fc1", "backward_params"),
    ("fc2", "backward_params"),
    ("fc2", "backward_inputs"),
    ("whole", "backward"),
    ("SpoilingLoss", "backward_inputs"),
]


def place(culprit, rule):
    if culprit == "SpoilingLoss":
        return "first in the gradient that 'head' is given"
    return f"first {'at the output' if rule == 'forward' else 'in the gradient'} of '{culprit}'"


@pytest.mark.parametrize(("culprit", "rule"), CASES)
@pytest.mark.parametrize("how", [{}, {"block_size": 64}, {"batch_size": 64}], ids=str)
def test_the_culprit_is_named(culprit, rule, how):
    said = said_by(culprit, rule, **how)
    assert "loss of epoch 5 is nan at learning rate 0.25" in said
    assert said.endswith(f"; {place(culprit, rule)}; the weights of epoch 4 are kept")


def said_on_one(where):
    return [said_by(*case, where, **how) for case in CASES for how in ({}, {"batch_size": 64})]


def test_on_ranks_the_one_that_it_comes_from_is_named_by_all():
    ends = on_ranks(3, said_on_one, 2)
    assert [(end.code, end.error) for end in ends] == [(0, "")] * 3
    assert ends[0].result == ends[1].result == ends[2].result
    for number, said in enumerate(ends[0].result):
        assert f"; {place(*CASES[number // 2])} on rank 2; the weights of epoch 4" in said


class Poison:
    """After epoch 4 a number of some rows is nan, on one rank or wherever it runs."""

    def __init__(self, rows, where=None):
        self.rows, self.where = rows, where

    def on_epoch_end(self, runner, epoch):
        if epoch == 4 and self.where in (None, rank()):
            self.rows[-1] = torch.nan  # which is of the last rank


def poisoned(which, part, where=None, **how):
    sets = moons()[:2]
    runner, _ = job("fc1", "")
    hook = Poison(sets[which][part], where)
    with pytest.raises(NonFiniteError) as error:
        runner.train(*sets, num_epochs=9, log_epochs=0, keep="last", callbacks=[hook], **how)
    return str(error.value)


def test_rows_that_go_bad_are_told_from_labels_and_on_ranks_by_all():
    said = {
        (0, 0): "train loss of epoch 5 is nan at learning rate 0.25; first at the output of 'fc1'",
        (1, 0): "dev loss of epoch 5 is nan at learning rate 0.25; first at the output of 'fc1'",
        (0, 1): "train loss of epoch 5 is nan at learning rate 0.25; "
        "first at the output of 'SpoilingLoss'",
    }
    for place, text in said.items():
        assert poisoned(*place) == f"train: {text}; the weights of epoch 4 are kept"
        for end in on_ranks(3, poisoned, *place, 2):
            assert end.result == f"train: {text} on rank 2; the weights of epoch 4 are kept"


def test_a_search_that_fails_does_not_take_the_place_of_what_it_is_for():
    model = Sequential(Linear(2, 1, "fc1"), Moody("moody"), Logistic())
    runner = RunnerV2_1(model, BatchGD(0.25, model), accuracy, BinaryCrossEntropyLoss(model))
    hook = BreakAt(model.layers[1])
    said = "train loss of epoch 5 is nan .*; where it went bad could not be found"
    with pytest.raises(NonFiniteError, match=said):
        runner.train(*moons()[:2], num_epochs=9, log_epochs=0, callbacks=[hook])


class Moody(Whole):
    """Broken, it gives nan twice, to train and dev rows, and then raises."""

    calls = 0

    def forward(self, inputs):
        self.calls += self.broken
        if self.calls > 2:
            raise RuntimeError("no more of this")
        return 2 * inputs * (torch.nan if self.broken else 1)


class Narrow(Whole):
    """It takes no more than 32 rows, and breaks on the way back."""

    rowwise = True

    def forward(self, inputs):
        if len(inputs) > 32 and self.broken:
            raise ValueError("wanted fewer rows")
        return super().forward(inputs)


def test_rows_are_searched_in_pieces_that_the_training_takes():
    model = Sequential(Linear(2, 1, "fc1"), Narrow("here"), Logistic())
    runner = RunnerV2_1(model, BatchGD(0.25, model), accuracy, BinaryCrossEntropyLoss(model))
    how = {"num_epochs": 9, "log_epochs": 0, "block_size": 32, "batch_size": 64}
    with pytest.raises(NonFiniteError, match="first in the gradient of 'here'"):
        runner.train(*moons()[:2], callbacks=[BreakAt(model.layers[1])], generator=drawn(), **how)


def test_a_score_that_is_bad_by_itself_is_nobody_elses_fault():
    runner, part = job("fc1", "backward_params")
    runner.metric = lambda predicts, labels: torch.tensor(torch.nan if part.broken else 0.5)
    said = "train score of epoch 5 is nan .*; the output of every op is finite"
    runner.optimizer.step = lambda: None  # so that the gradient is not what makes it bad
    with pytest.raises(NonFiniteError, match=said):
        runner.train(*moons()[:2], num_epochs=9, log_epochs=0, callbacks=[BreakAt(part)])
