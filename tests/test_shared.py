"""On several ranks a gradient is the same parts on each, and a stop is one of all."""

import pytest
import torch
from ranks import on_ranks
from test_ranks import PATIENCE, a_runner, drawn, moons

from opnet import BatchGD, Linear, Logistic, Sequential
from opnet.parallel import rank
from opnet.walk import state
from runners import EarlyStopping


class Broadcasting(Linear):
    """Its gradient of b [1, 5] is one number for all units, [1, 1]: as if they shared it."""

    rowwise = True

    def backward_params(self, grads):
        super().backward_params(grads)
        self.grads["b"] = self.grads["b"].mean(dim=1, keepdim=True)


class Ungraded(Linear):
    """It never has gradients, so that its weights stay."""

    rowwise = True

    def __init__(self, *args, **named):
        super().__init__(*args, **named)
        self.grads = {}

    def backward_params(self, grads):
        pass


class Dirty(Linear):
    """Until its first backward its gradients are whatever was there."""

    rowwise = True

    def __init__(self, *args, **named):
        super().__init__(*args, **named)
        for grad in self.grads.values():
            grad.fill_(torch.nan)


class Partial(Ungraded):
    """It has gradients of W only."""

    rowwise = True

    def backward_params(self, grads):
        Linear.backward_params(self, grads)
        self.grads.pop("b", None)


class Nothing(Partial):
    """It says so by None."""

    rowwise = True

    def backward_params(self, grads):
        super().backward_params(grads)
        self.grads["b"] = None


class Expanded(Linear):
    """One number stands for all units."""

    rowwise = True

    def backward_params(self, grads):
        self.grads.pop("b", None)
        super().backward_params(grads)
        self.grads["b"] = self.grads["b"].mean(dim=1, keepdim=True).expand(1, 5)


class Skipping:
    """p = p - lr dL/dp for each gradient that there is."""

    def __init__(self, lr, model):
        self.lr, self.model = lr, model

    def step(self):
        for layer in self.model.layers:
            for key, grad in layer.grads.items():
                if grad is not None:
                    layer.params[key].sub_(self.lr * grad)


def net(kind):
    first = kind(2, 5, "fc1", generator=drawn())
    return Sequential(first, Linear(5, 1, "fc2", generator=drawn()), Logistic())


def trained(kind, rule=BatchGD, **how):
    model = net(kind)
    runner = a_runner(model=model, rule=rule)
    few = [[part[:7] for part in rows] for rows in moons()]
    how = {"num_epochs": 2, "log_epochs": 0, "batch_size": 2, "generator": drawn()} | how
    runner.train(*few, **how)
    return runner.train_loss, [tensor.tolist() for tensor in state(model)]


@pytest.mark.parametrize(
    ("kind", "rule"),
    [
        (Broadcasting, BatchGD),
        (Expanded, BatchGD),
        (Dirty, BatchGD),
        (Ungraded, Skipping),
        (Partial, Skipping),
        (Nothing, Skipping),
    ],
)
def test_a_rank_without_rows_has_zeros_in_the_places_of_the_others(kind, rule):
    ends = on_ranks(3, trained, kind, rule)  # of two rows rank 0 has none
    assert [(end.code, end.error) for end in ends] == [(0, "")] * 3
    alone = trained(kind, rule)
    for end in ends:
        torch.testing.assert_close(end.result, alone, atol=1e-6, rtol=1e-6)


class Unlike(Linear):
    """On rank 1 its gradient of b is one number, from a certain backward on."""

    rowwise, good = True, 0

    def backward_params(self, grads):
        super().backward_params(grads)
        self.good -= rank() == 1
        if self.good < 0:
            self.grads["b"] = self.grads["b"].mean(dim=1, keepdim=True)


class UnlikeSoon(Unlike):
    rowwise, good = True, 3


@pytest.mark.parametrize(("kind", "who"), [(Unlike, "rank 0"), (UnlikeSoon, "the first step")])
def test_gradients_of_other_shapes_end_all(kind, who):
    said = "ValueError: train: gradients of rank 1: "
    said += f"fc1.b is float32 [1, 1], {who} wants float32 [1, 5]"
    ends = on_ranks(2, trained, kind)
    assert ends[1].error == said
    assert (
        ends[0].error.removeprefix("RankError: train: rank 0 of 2 cannot go on: rank 1: ") == said
    )
    assert [end.code for end in ends] == [1, 1]


class OutOfTime:
    """Like one that looks at a clock: it stops the run on one rank only."""

    reads_only_histories = True

    def __init__(self, epoch):
        self.epoch = epoch

    def on_epoch_end(self, runner, epoch):
        runner.stop = rank() == 1 and epoch == self.epoch


def out_of_time(epoch):
    runner = a_runner()
    runner.train(*moons()[:2], num_epochs=6, log_epochs=0, callbacks=[OutOfTime(epoch)])
    return runner.train_loss, [tensor.tolist() for tensor in state(runner.model)]


@pytest.mark.parametrize("epoch", [2, 5])
def test_one_that_reads_histories_stops_all(epoch):
    first, second = on_ranks(2, out_of_time, epoch)
    assert (first.error, second.error) == ("", "")
    assert first.result == second.result
    assert len(first.result[0]) == epoch + 1


class StopsAt(BatchGD):
    """As a signal would: in the middle of an epoch, on one rank."""

    def step(self):
        super().step()
        self.steps = getattr(self, "steps", 0) + 1
        if rank() == 1 and self.steps == 3:
            self.runner.stop = True


def stopped_within(patience):
    runner = a_runner(rule=StopsAt)
    runner.optimizer.runner = runner
    hooks = [EarlyStopping(patience)]
    runner.train(*moons()[:2], num_epochs=40, log_epochs=0, callbacks=hooks)
    return len(runner.train_loss), [tensor.tolist() for tensor in state(runner.model)]


@pytest.mark.parametrize("patience", [1, 30])
def test_a_stop_within_an_epoch_is_one_of_all_after_it(patience):
    first, second = on_ranks(2, stopped_within, patience)
    assert (first.error, second.error) == ("", "")
    assert first.result == second.result
    assert first.result[0] == 3


class Talks:
    def on_train_end(self, runner):
        if rank() == 1:
            runner.ranks.any(False)


def talked():
    a_runner().train(*moons()[:2], num_epochs=2, log_epochs=0, callbacks=[Talks()])


def test_ranks_that_wait_for_each_other_are_told_so():
    for number, end in enumerate(on_ranks(2, talked, seconds=PATIENCE)):
        said = f"RankError: train: rank {number} of 2 cannot go on: no rank has said why, wanted"
        assert end.error.startswith(said)
