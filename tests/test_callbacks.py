"""EarlyStopping: when it stops a run, and what it leaves behind."""

import pytest
import torch
from recorder import Recorder, weights

from runners import EarlyStopping


class Told:
    """A runner whose dev losses are told one by one."""

    def __init__(self):
        self.dev_loss, self.stop = [], False


def stopped_after(losses, **arguments):
    stopping, runner = EarlyStopping(**arguments), Told()
    stopping.on_train_begin(runner)
    for epoch, loss in enumerate(losses):
        runner.dev_loss.append(loss)
        stopping.on_epoch_end(runner, epoch)
        if runner.stop:
            break
    return stopping.stopped_epoch


@pytest.mark.parametrize(
    ("losses", "arguments", "epoch"),
    [
        ([3, 2, 1, 1, 1], {"patience": 2}, 4),
        ([3, 2, 1, 1, 0.9, 1, 1], {"patience": 2}, 6),
        ([1, 2], {"patience": 1}, 1),
        ([1, 2], {"patience": 2}, None),
        ([3, 2.9, 2.8, 2.7, 2.6], {"patience": 2, "min_delta": 0.15}, None),
        ([3, 2.9, 2.8, 2.7, 2.6], {"patience": 2, "min_delta": 0.5}, 2),
        ([3, 2], {"patience": 1, "min_delta": 1.0}, 1),
        ([], {"patience": 1}, None),
    ],
)
def test_it_stops_when_the_loss_has_not_fallen_for_so_many_epochs(losses, arguments, epoch):
    assert stopped_after(losses, **arguments) == epoch


def test_a_run_is_stopped_and_the_best_weights_are_back(job, moons):
    runner, recorder, stopping = job(lr=20.0, seed=3), Recorder(), EarlyStopping(5)
    runner.train(
        *moons[:2],
        num_epochs=500,
        log_epochs=0,
        keep="best_loss",
        callbacks=[recorder, stopping],
    )
    epochs = len(runner.dev_loss)
    assert epochs < 500
    assert stopping.stopped_epoch == epochs - 1
    assert runner.kept_epoch == epochs - 6
    assert all(map(torch.equal, weights(runner), recorder.weights[runner.kept_epoch]))


def test_a_second_train_starts_to_count_anew(job, moons):
    runner, stopping = job(), EarlyStopping(1, min_delta=100.0)
    for _ in range(2):
        runner.train(*moons[:2], num_epochs=9, log_epochs=0, callbacks=[stopping])
        assert stopping.stopped_epoch == 1
    runner.train(*moons[:2], num_epochs=1, log_epochs=0, callbacks=[stopping])
    assert stopping.stopped_epoch is None


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({"patience": 0}, ValueError, "EarlyStopping: patience is 0"),
        ({"patience": 1.5}, TypeError, "EarlyStopping: patience is 1.5"),
        ({"patience": 1, "min_delta": -1}, ValueError, "EarlyStopping: min_delta is -1.0"),
        ({"patience": 1, "min_delta": "0"}, TypeError, "EarlyStopping: min_delta is '0'"),
    ],
)
def test_arguments_out_of_range_are_named(arguments, error, said):
    with pytest.raises(error, match=said):
        EarlyStopping(**arguments)
