"""What ends one rank ends all, soon, with an error that says which rank and why."""

import os
import signal
from functools import partial

import pytest
import torch
from ranks import on_ranks

from opnet import (
    Adam,
    BatchGD,
    BatchNorm,
    BinaryCrossEntropyLoss,
    Dropout,
    Linear,
    Logistic,
    Model_MLP_L2,
    Sequential,
    StepDecay,
    accuracy,
    load,
    make_moons,
    split,
)
from opnet.parallel import rank
from opnet.walk import state
from runners import EarlyStopping, RunnerV2_1

EPOCHS = 12
MARGIN = 10.0  # seconds: for starting and ending on a busy machine
PATIENCE = 4.0  # seconds to wait for a rank that hangs; others end sooner


def drawn(seed=5):
    return torch.Generator().manual_seed(seed)


def moons(seed=0):
    return split(*make_moons(307, noise=0.2, seed=seed), (203, 101), seed=0)


def a_runner(lr=0.05, hidden=5, rule=Adam, model=None, metric=accuracy):
    model = model or Model_MLP_L2(2, hidden, 1, generator=drawn())
    return RunnerV2_1(model, rule(lr, model), metric, BinaryCrossEntropyLoss(model))


class At:
    """After epoch 4 one rank does something."""

    def __init__(self, action, where):
        self.action, self.where = action, where

    def on_epoch_end(self, runner, epoch):
        if (rank(), epoch) == (self.where, 4):
            self.action(runner)


def fail(runner):
    raise OSError("the disk\nis full")


def leave(runner):
    raise SystemExit(3)


def stop(runner):
    runner.stop = True


def drift(runner):
    runner.model.fc1.params["W"][0, 0] += 1e-6


def send(number):
    return lambda runner: os.kill(os.getpid(), number)


ACTIONS = {
    "raises": fail,
    "leaves": leave,
    "stops": stop,
    "is killed": send(signal.SIGKILL),
    "hangs": send(signal.SIGSTOP),
    "drifts": drift,
    "Ctrl-C": send(signal.SIGINT),
}


def trained(action, where, place=None, **how):
    """Weights and train losses of a training, in which one rank does something."""
    how = {"num_epochs": EPOCHS, "log_epochs": 0, "callbacks": [At(ACTIONS[action], where)]} | how
    runner = a_runner()
    runner.train(*moons(), save_dir=place, **how)
    return [tensor.tolist() for tensor in state(runner.model)], runner.train_loss


@pytest.mark.parametrize(
    ("action", "where", "count", "said"),
    [
        ("raises", 1, 3, "rank 1: OSError: the disk is full"),
        ("raises", 0, 2, "rank 0: OSError: the disk is full"),
        ("leaves", 1, 2, "rank 1: SystemExit: 3"),
        ("is killed", 1, 3, "rank 1 has ended without a word"),
        ("is killed", 0, 2, "the launcher, or rank 0 if that held the store, has ended"),
        ("hangs", 1, 2, "rank 1 has not answered in time"),
    ],
)
def test_what_ends_one_rank_ends_all(tmp_path, action, where, count, said):
    hung, seconds = ([where], PATIENCE) if action == "hangs" else ([], 20.0)
    ends = on_ranks(count, trained, action, where, tmp_path, seconds=seconds, hung=hung)
    assert ends[where].code == (-9 if "killed" in action or hung else 1)
    for number, end in enumerate(ends):
        if number != where:
            assert end.code == 1
            left = f"RankError: train: rank {number} of {count} cannot go on: {said}"
            assert end.error.startswith(left)
            assert "\n" not in end.error
            assert end.seconds < seconds + MARGIN
    if where:
        assert load(tmp_path)  # what rank 0 has kept


def test_weights_that_are_no_longer_the_same_end_all(tmp_path):
    ends = on_ranks(3, trained, "drifts", 1, tmp_path)
    said = "RuntimeError: train: the weights of the ranks are no longer the same, wanted"
    assert [(end.code, end.error.startswith(said)) for end in ends] == [(1, True)] * 3
    assert load(tmp_path)


class Bare(Linear):
    """Like an op of a learner, it has no gradients before its first backward."""

    rowwise = True

    def __init__(self):
        super().__init__(2, 1, generator=drawn())
        del self.grads

    def backward_params(self, grads):
        if not hasattr(self, "grads"):
            self.grads = {}
        return super().backward_params(grads)


def trained_bare():
    model = Sequential(Bare(), Logistic())
    runner = a_runner(model=model, rule=BatchGD)
    few = [[part[:7] for part in rows] for rows in moons()]
    runner.train(*few, num_epochs=2, log_epochs=0, batch_size=2, generator=drawn())
    return runner.train_loss, [tensor.tolist() for tensor in state(model)]


def test_a_rank_without_rows_of_the_first_batch_has_gradients_of_zero():
    ends = on_ranks(3, trained_bare)  # of two rows rank 0 has none
    assert [(end.code, end.error) for end in ends] == [(0, "")] * 3
    for end in ends:
        torch.testing.assert_close(end.result, trained_bare(), atol=1e-6, rtol=1e-6)


def stopped_at_once():
    runner = a_runner()
    hooks = [Begins(stop if rank() == 1 else drift)]
    runner.train(*moons(), num_epochs=3, log_epochs=0, callbacks=hooks)
    return runner.train_loss


def test_a_stop_before_the_first_epoch_is_one_of_all():
    assert [(end.code, end.result) for end in on_ranks(2, stopped_at_once)] == [(0, [])] * 2


def test_a_stop_and_ctrl_c_of_one_rank_are_those_of_all_after_the_epoch(tmp_path):
    stopped = on_ranks(2, trained, "stops", 1)
    assert [len(end.result[1]) for end in stopped] == [5, 5]
    left = on_ranks(2, partial(trained, save_every=100), "Ctrl-C", 1, tmp_path)
    assert [end.code for end in left] == [130, 130]
    assert {end.error.partition(",")[0] for end in left} == {"KeyboardInterrupt: after epoch 5/12"}
    alone = trained("stops", None)
    on = on_ranks(3, partial(trained, resume=True), "stops", None, tmp_path)
    for end in on:
        torch.testing.assert_close(end.result[1], alone[1], atol=1e-6, rtol=1e-6)


def with_(*ops):
    return Sequential(Linear(2, 5, generator=drawn()), *ops, Linear(5, 1), Logistic())


def whole(predicts, labels):
    return accuracy(predicts, labels)


def set_rate(runner):
    runner.optimizer.lr = 0.5


def note_an_epoch(runner):
    for history in runner.histories:
        history.append(0.5)


class Begins:
    """Does something before the first epoch."""

    def __init__(self, action=lambda runner: None, called_every=1):
        self.on_train_begin, self.called_every = action, called_every


def hooks(first=None, patience=50):
    return [first or Begins(), EarlyStopping(patience)]


UNLIKE = {  # a runner and what it is trained with on rank 1; on rank 0 all is as usual
    "optimizer.init_lr is 0.5, rank 0 has 0.05": ({"lr": 0.5}, {}),
    "optimizer.class is 'BatchGD', rank 0 has 'Adam'": ({"rule": BatchGD}, {}),
    "model.hidden_size is 7, rank 0 has 5": ({"hidden": 7}, {}),
    "num_epochs is 3, rank 0 has 2": ({}, {"num_epochs": 3}),
    "keep is 'last', rank 0 has 'best_score'": ({}, {"keep": "last"}),
    "batch_size is 9, rank 0 has 32": ({}, {"batch_size": 9}),
    "schedule is StepDecay, rank 0 has None": ({}, {"schedule": StepDecay(0.1, 2)}),
    "callbacks[0].class is 'EarlyStopping', rank 0": ({}, {"callbacks": hooks(EarlyStopping(1))}),
    "callbacks[0].called_every is 3, rank 0 has 1": (
        {},
        {"callbacks": hooks(Begins(called_every=3))},
    ),
    "optimizer.lr is 0.5, rank 0 has 0.05": ({}, {"before": set_rate}),
    "optimizer.lr is 0.5, rank 0": ({}, {"callbacks": hooks(Begins(set_rate))}),
    "epochs trained is 1, rank 0 has 0": ({}, {"before": note_an_epoch}),
    "train_set.X is 'float32 [203, 2]": ({}, {"seed": 1}),
    "dev_set.X is 'float32 [100, 2]": ({}, {"dev_rows": 100}),
    "generator.seed is 4, rank 0 has 3; generator.state is": ({}, {"generator": 4}),
    "save_dir is 'elsewhere', rank 0 has None": ({}, {"save_dir": "elsewhere"}),
    "callbacks[1].patience is 2, rank 0 has 50": ({}, {"callbacks": hooks(patience=2)}),
}
REFUSED = {  # on every rank
    "BatchNorm 'BatchNorm_1' takes rows together, wanted each": {"model": [BatchNorm, 5]},
    "Dropout 'Dropout_1' would draw other numbers than on one": {"model": [Dropout, 0.5]},
    "the metric is no mean over rows: mark it by metrics.over_rows": {"metric": whole},
}


def refused():
    """What is said to each of UNLIKE, to each of REFUSED, and to too few rows."""
    return [
        *(_said(*(each if rank() == 1 else ({}, {}))) for each in UNLIKE.values()),
        *(_said(how, {}) for how in REFUSED.values()),
        _said({}, {"train_rows": 1}),
        _said({}, {"generator": rank(), "batch_size": None}),  # nothing is drawn from it
    ]


def _said(made, how):
    usual = {"num_epochs": 2, "log_epochs": 0, "generator": 3, "callbacks": hooks()}
    usual["batch_size"] = 32
    made, how = dict(made), usual | how
    if isinstance(made.get("model"), list):
        kind, argument = made["model"]
        made["model"] = with_(kind(argument))
    how["generator"] = drawn(how["generator"])
    train, dev = moons(how.pop("seed", 0))
    train_rows, dev_rows = how.pop("train_rows", None), how.pop("dev_rows", None)
    runner = a_runner(**made)
    how.pop("before", lambda runner: None)(runner)
    before = [tensor.clone() for tensor in state(runner.model)]
    try:
        runner.train(
            [part[:train_rows] for part in train], [part[:dev_rows] for part in dev], **how
        )
    except ValueError as error:
        assert all(map(torch.equal, before, state(runner.model)))
        return str(error)
    return "trained"


def test_ranks_that_differ_and_what_cannot_be_shared_are_refused_on_every_rank():
    ends = on_ranks(2, refused)
    assert [(end.code, end.error) for end in ends] == [(0, "")] * 2
    assert ends[0].result == ends[1].result
    *said, few, last = ends[0].result
    for text, wanted in zip(said, [*UNLIKE, *REFUSED], strict=True):
        who = "train: rank 1: " if wanted in UNLIKE else "train: on 2 ranks "
        assert text.startswith(who)
        assert wanted in text
        assert "\n" not in text
    assert few == "train: on 2 ranks train_set has 1 rows, wanted one for each rank"
    assert last == "trained"  # the group is as good as before
