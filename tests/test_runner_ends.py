"""How runs end: callbacks, interrupts, errors, losses that are not finite."""

import math
import os

import pytest
import torch
from book import BookLogistic, BookLoss, PlainLinear
from recorder import Recorder, StopAt, histories, weights
from test_diagnosis import BreakAt

from opnet import (
    BatchGD,
    BinaryCrossEntropyLoss,
    Linear,
    Logistic,
    NonFiniteError,
    Op,
    Sequential,
    accuracy,
    make_moons,
    split,
)
from opnet.walk import state
from runners import RunnerV2_1


def test_callbacks_are_called_in_order_and_can_stop(job, moons):
    runner, recorder = job(), Recorder()
    runner.train(*moons[:2], num_epochs=10, log_epochs=0, callbacks=[recorder, StopAt(3)])
    assert recorder.calls == ["begin", 0, 1, 2, 3, "end"]
    assert len(runner.train_loss) == 4
    runner.train(*moons[:2], num_epochs=1, log_epochs=0)
    assert len(runner.train_loss) == 5


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("a callback failed")])
def test_the_best_weights_survive_an_interrupt_and_an_error(job, moons, tmp_path, error):
    runner, recorder = job(lr=20.0, seed=3), Recorder()
    with pytest.raises(type(error)):
        runner.train(
            *moons[:2],
            num_epochs=99,
            log_epochs=0,
            callbacks=[recorder, StopAt(9, error)],
            save_dir=tmp_path,
        )
    assert [len(history) for history in histories(runner)] == [10] * 4
    assert all(map(torch.equal, weights(runner), recorder.weights[runner.kept_epoch]))
    other = job(seed=9)
    other.load_model(tmp_path)
    assert all(map(torch.equal, weights(other), weights(runner)))
    assert recorder.calls[-1] == "end"


def test_an_interrupt_inside_a_step_leaves_whole_weights(job, moons):
    runner, calls = job(), []
    plain = type(runner.optimizer).step

    def torn_step():
        calls.append(1)
        if len(calls) == 8:
            runner.model.fc1.params["W"].add_(1)
            raise KeyboardInterrupt
        plain(runner.optimizer)

    runner.optimizer.step = torn_step
    with pytest.raises(KeyboardInterrupt):
        runner.train(*moons[:2], num_epochs=50, log_epochs=0, keep="last")
    reference = job()
    reference.train(*moons[:2], num_epochs=7, log_epochs=0, keep="last")
    assert all(map(torch.equal, weights(runner), weights(reference)))
    assert histories(runner) == histories(reference)


def test_files_are_written_at_most_once_a_second(job, moons, tmp_path, monkeypatch):
    from runners import best

    saves = []
    monkeypatch.setattr(best.checkpoint, "save", lambda *files: saves.append(files))
    runner = job()
    runner.train(*moons[:2], num_epochs=60, log_epochs=1, save_dir=tmp_path)
    assert 1 <= len(saves) <= 3


class Overflow(Op):
    """y = x until it is told to overflow."""

    broken = False

    def forward(self, inputs):
        return inputs * (torch.inf if self.broken else 1)

    def backward(self, grads):
        return grads


def test_a_loss_that_is_not_finite_names_epoch_rate_and_op(moons, tmp_path):
    culprit, recorder = Overflow(), Recorder()
    model = Sequential(Linear(2, 5, "fc1"), culprit, Linear(5, 1, "fc2"), Logistic())
    runner = RunnerV2_1(model, BatchGD(0.25, model), accuracy, BinaryCrossEntropyLoss(model))
    said = r"train loss of epoch 5 is (nan|inf) at learning rate 0.25; first at .*'Overflow_1'"
    with pytest.raises(NonFiniteError, match=said) as error:
        runner.train(
            *moons[:2],
            num_epochs=20,
            log_epochs=0,
            save_dir=tmp_path,
            callbacks=[recorder, BreakAt(culprit)],
        )
    assert f"the weights of epoch {runner.kept_epoch} are kept" in str(error.value)
    assert [len(history) for history in histories(runner)] == [5] * 4
    assert all(map(torch.equal, weights(runner), recorder.weights[runner.kept_epoch]))
    kept = weights(runner)
    runner.load_model(tmp_path)
    assert all(map(torch.equal, weights(runner), kept))


def test_real_divergence_is_found_although_losses_are_read_late(moons):
    torch.manual_seed(0)
    model = Sequential(PlainLinear(2, 1, "fc1"), BookLogistic())
    runner = RunnerV2_1(model, BatchGD(1e4, model), accuracy, BookLoss(model))
    start = weights(runner)
    with pytest.raises(NonFiniteError, match=r"loss of epoch \d+ is (nan|inf)") as error:
        runner.train(*moons[:2], num_epochs=300, log_epochs=0)
    assert all(tensor.isfinite().all() for tensor in state(model))
    if runner.kept_epoch is None:
        assert all(map(torch.equal, weights(runner), start))
    assert "first at the output of 'BookLoss'" in str(error.value)  # its log 0


@pytest.mark.parametrize("lr", [1.0, 5.0, 20.0])
def test_ordinary_good_training_never_turns_nan(job, lr):
    train, dev, _ = split(*make_moons(1000, noise=0.2, seed=0), seed=0)
    runner = job(lr=lr)
    runner.train(train, dev, num_epochs=3000, log_epochs=0)
    assert all(math.isfinite(loss) for loss in runner.train_loss + runner.dev_loss)
    assert runner.dev_scores[runner.kept_epoch] > 0.8


def test_an_interrupt_while_numbers_are_read_loses_no_epoch(job, moons, monkeypatch):
    from runners import log

    runner, steps = job(), []
    plain = type(runner.optimizer).step
    runner.optimizer.step = lambda: (steps.append(1), plain(runner.optimizer))
    lines = []

    def interrupted(self, text):
        lines.append(text)
        if len(lines) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(log.Log, "line", interrupted)
    with pytest.raises(KeyboardInterrupt):
        runner.train(*moons[:2], num_epochs=300, log_epochs=50)
    lengths = {len(history) for history in histories(runner)}
    assert len(lengths) == 1
    assert lengths.pop() >= len(steps)


def test_an_error_at_the_end_is_a_note_to_the_interrupt(job, moons, tmp_path, monkeypatch):

    def full(*_):
        raise OSError(28, "No space left on device")

    class FullDisk:
        def on_epoch_end(self, runner, epoch):
            if epoch == 3:
                monkeypatch.setattr(os, "fsync", full)
                raise KeyboardInterrupt

    runner, recorder = job(), Recorder()
    with pytest.raises(KeyboardInterrupt) as error:
        runner.train(
            *moons[:2],
            num_epochs=9,
            log_epochs=0,
            keep="last",
            save_dir=tmp_path,
            callbacks=[FullDisk(), recorder],
        )
    (note,) = error.value.__notes__
    assert note.endswith("manifest.json.new: cannot be written: No space left on device")
    assert recorder.calls[-1] == "end"


def test_weights_that_are_infinite_at_a_finite_loss_are_not_kept(moons, tmp_path):
    model = Sequential(Linear(2, 1, "a"), Logistic(), Linear(1, 1, "fc2"), Logistic())
    runner = RunnerV2_1(model, BatchGD(0.1, model), accuracy, BinaryCrossEntropyLoss(model))

    class Explode:
        def on_epoch_end(self, runner, epoch):
            if epoch == 2:
                model.layers[0].params["b"].fill_(torch.inf)

    with pytest.raises(NonFiniteError, match="weights of epoch 3 are nan or infinite"):
        runner.train(
            *moons[:2],
            num_epochs=9,
            log_epochs=0,
            keep="last",
            save_dir=tmp_path,
            callbacks=[Explode()],
        )
    assert all(tensor.isfinite().all() for tensor in state(model))
    assert runner.kept_epoch == 2


def test_weights_that_a_callback_sets_at_the_beginning_are_the_start(job, moons):
    class Resume:
        def on_train_begin(self, runner):
            for tensor in state(runner.model):
                tensor.fill_(0.5)
            runner.optimizer.lr = 0.0
            runner.stop = True

    runner = job()
    runner.train(*moons[:2], num_epochs=9, log_epochs=0, callbacks=[Resume()])
    assert all((tensor == 0.5).all() for tensor in state(runner.model))
