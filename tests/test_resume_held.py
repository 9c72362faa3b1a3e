"""What a learner's own parts hold between epochs goes on too, or is refused at the start."""

import json
import os
import signal

import numpy as np
import pytest
import torch
from test_resume import At, boom, everything, job, seeded, train

from opnet import (
    BinaryCrossEntropyLoss,
    CheckpointError,
    Dropout,
    Linear,
    Logistic,
    Momentum,
    Op,
    Sequential,
    accuracy,
    checkpoint,
)
from opnet.walk import dict_of, leaf_ops, named_ops, state
from runners import RunnerV2_1


class Lazy:
    """Momentum that makes its memory at the first step."""

    def __init__(self, lr, model):
        self.lr, self.model, self.v = lr, model, {}

    def step(self):
        for name, op in named_ops(self.model).items():
            for key, param in dict_of(op, "params").items():
                v = self.v.setdefault(f"{name}.{key}", torch.zeros_like(param))
                param.sub_(self.lr * v.mul_(0.9).add_(op.grads[key]))

    def state_dict(self):
        return dict(self.v)

    def load_state(self, state):
        self.v = {key: tensor.clone() for key, tensor in state.items()}
        for tensor in self.v.values():
            if tensor.dim() != 2:
                raise ValueError("Lazy: wanted two\naxes")


class Counting:
    """Gradient descent that slows down; keeps nothing but numbers."""

    def __init__(self, lr, model):
        self.lr, self.model, self.steps = lr, model, np.int64(0)

    def step(self):
        self.steps = self.steps + 1
        for op in leaf_ops(self.model):
            for key, param in dict_of(op, "params").items():
                param.sub_(self.lr / float(self.steps) * op.grads[key])


class Around(Op):
    """An op that holds another, and knows no layers."""

    def __init__(self):
        super().__init__("around")
        self.parts = {"inner": [Dropout(0.5, generator=seeded(2))]}

    def forward(self, inputs):
        return self.parts["inner"][0].forward(inputs)

    def backward_inputs(self, grads):
        return self.parts["inner"][0].backward(grads)


class Milestones:
    """Halves the rate at each milestone, which it forgets then."""

    def __init__(self):
        self.ahead, self.lr = [3], 0.5

    def __call__(self, epoch):
        if self.ahead and epoch >= self.ahead[0]:
            self.ahead.pop(0)
            self.lr /= 2
        return self.lr


class Once:
    """Halves the rate once."""

    def __init__(self):
        self.due, self.lr = 3, 0.5

    def __call__(self, epoch):
        if self.due is not None and epoch >= self.due:
            self.due, self.lr = None, self.lr / 2
        return self.lr


class Single:
    """Counts in single precision."""

    def __init__(self):
        self.lr = np.float32(1)

    def __call__(self, epoch):
        self.lr = self.lr * np.float32(0.9)
        return float(self.lr)


def closure():
    lr = 0.5

    def schedule(epoch):
        nonlocal lr
        lr *= 0.9
        return lr

    return schedule


def wrapped():
    inner = Milestones()

    def schedule(epoch):
        return inner(epoch) / 2

    return schedule


class Phases:
    """A callback that keeps a string, a dict, a set, a tuple, a list that it empties, and draws."""

    def __init__(self):
        self.phase, self.seen, self.at, self.pair = "warm", {}, [3], (0, 1.0)
        self.epochs, self.sources = set(), [seeded(7)]

    def on_epoch_end(self, runner, epoch):
        self.seen[epoch] = runner.dev_loss[-1]
        self.epochs.add(epoch)
        self.pair = (len(self.epochs), self.pair[1] / 2)
        if self.at and epoch >= self.at[0]:
            self.at.pop(0)
            self.phase = "cool"
        runner.optimizer.lr = 0.1 / len(self.seen) * (2 if self.phase == "warm" else self.pair[1])
        runner.optimizer.lr += 0.1 * float(torch.rand((), generator=self.sources[0]))


def own(rule=Momentum, *between):
    first, last = Linear(2, 4, "a", generator=seeded(1)), Linear(4, 1, "b", generator=seeded(2))
    model = Sequential(first, *between, last, Logistic())
    return RunnerV2_1(model, rule(0.3, model), accuracy, BinaryCrossEntropyLoss(model))


HELD = {
    "memory made late": (lambda: own(Lazy), lambda: {}),
    "a counter of NumPy's": (lambda: own(Counting), lambda: {}),
    "an op in an op": (lambda: own(Momentum, Around()), lambda: {}),
    "a list that is emptied": (own, lambda: {"schedule": Milestones()}),
    "a number that becomes None": (own, lambda: {"schedule": Once()}),
    "single precision": (own, lambda: {"schedule": Single()}),
    "a closure": (own, lambda: {"schedule": closure()}),
    "a schedule closed over": (own, lambda: {"schedule": wrapped()}),
    "a callback's": (own, lambda: {"callbacks": [Phases()]}),
}


@pytest.mark.parametrize(("made", "how"), HELD.values(), ids=HELD)
def test_what_a_part_holds_goes_on(made, how, moons, tmp_path):
    def run(directory, num_epochs, **also):
        runner, parts = made(), how()
        train(runner, moons, directory, num_epochs=num_epochs, **parts, **also)
        return everything(runner, directory)

    whole = run(tmp_path / "whole", 9)
    run(tmp_path / "parts", 2)
    run(tmp_path / "parts", 6, resume=True)
    assert run(tmp_path / "parts", 9, resume=True) == whole


class AroundMomentum:
    """An optimizer around another, without a way to give what that keeps."""

    def __init__(self, lr, model):
        self.lr, self.model, self.inner = lr, model, Momentum(lr, model)

    def step(self):
        self.inner.step()


class InTuple(AroundMomentum):
    """Keeps arrays in a tuple."""

    def __init__(self, lr, model):
        self.lr, self.model, self.inner = lr, model, (np.zeros(1),)


@pytest.mark.parametrize("rule", [AroundMomentum, InTuple])
def test_an_optimizer_that_cannot_give_what_it_keeps_is_refused(rule, moons, tmp_path):
    said = f"{rule.__name__} keeps 'inner' and has no state_dict"
    with pytest.raises(TypeError, match=said):
        train(own(rule), moons, tmp_path / "new" / "deep")
    assert not any(tmp_path.iterdir())


def test_an_optimizer_that_refuses_its_memory_is_as_it_was(moons, tmp_path):
    with pytest.raises(RuntimeError):
        train(own(Lazy), moons, tmp_path, callbacks=[At(7, boom)])
    tensors, about = checkpoint.read_state(tmp_path)
    tensors = {**tensors, "last.memory.b.b": torch.ones(1)}
    checkpoint.save_state(tmp_path, checkpoint.RunState(tensors, about))
    for runner in (own(Lazy), trained := own(Lazy)):
        if runner is trained:
            runner.train(*moons[:2], num_epochs=1, log_epochs=0)
        kept = {key: tensor.tolist() for key, tensor in runner.optimizer.v.items()}
        weights = [tensor.tolist() for tensor in state(runner.model)]
        with pytest.raises(CheckpointError, match=r"Lazy refuses the memory: .* wanted two axes"):
            train(runner, moons, tmp_path, resume=True)
        assert {key: t.tolist() for key, t in runner.optimizer.v.items()} == kept
        assert [tensor.tolist() for tensor in state(runner.model)] == weights


# --- settings


class With:
    """A schedule with an argument."""

    def __init__(self, rate):
        self.rate = rate

    def __call__(self, epoch):
        return 0.1


def empty_cell():
    def schedule(epoch):
        return later if epoch > 100 else 0.1

    if not schedule:
        later = 1
    return schedule


RATE = 0.1


def of_a_global(epoch):
    return RATE


SAME = {
    "nan": lambda: With(float("nan")),
    "an empty cell": empty_cell,
    "a set": lambda: lambda epoch: 0.1 if epoch in {1, 2} else 0.2,
}
OTHERS = {
    "a set": (
        lambda epoch: 0.1 if epoch in {1, 2} else 0.2,
        lambda epoch: 0.1 if epoch in {1, 5} else 0.2,
    ),
    "a function in it": (
        lambda epoch: max((0.1,), key=lambda rate: rate * 2),
        lambda epoch: max((0.1,), key=lambda rate: rate * 3),
    ),
    "a number of NumPy's": (With(np.float32(0.5)), With(np.float32(0.25))),
}


@pytest.mark.parametrize("schedule", SAME.values(), ids=SAME)
def test_the_same_settings_are_taken(schedule, moons, tmp_path):
    train(job(), moons, tmp_path, num_epochs=2, schedule=schedule())
    train(job(), moons, tmp_path, num_epochs=3, schedule=schedule(), resume=True)


@pytest.mark.parametrize(("was", "now"), OTHERS.values(), ids=OTHERS)
def test_other_settings_are_refused(was, now, moons, tmp_path):
    train(job(), moons, tmp_path, num_epochs=2, schedule=was)
    with pytest.raises(CheckpointError, match=r"of another run: schedule\."):
        train(job(), moons, tmp_path, num_epochs=3, schedule=now, resume=True)


def test_a_changed_global_is_refused(moons, tmp_path, monkeypatch):
    train(job(), moons, tmp_path, num_epochs=2, schedule=of_a_global)
    monkeypatch.setitem(globals(), "RATE", 0.2)
    with pytest.raises(CheckpointError, match=r"schedule.globals.RATE is 0.2, was 0.1"):
        train(job(), moons, tmp_path, num_epochs=3, schedule=of_a_global, resume=True)


# --- when it is saved, and where


def test_resume_alone_takes_the_epochs_between_saves_of_then(moons, tmp_path):
    train(job(), moons, tmp_path, num_epochs=3, save_every=3)
    with pytest.raises(RuntimeError):
        train(job(), moons, tmp_path, resume=True, save_every=None, callbacks=[At(7, boom)])
    about = checkpoint.read_state(tmp_path).about
    assert (about["epochs_done"], about["save_every"]) == (6, 3)


@pytest.mark.parametrize(("seconds", "done"), [(1e9, 0), (0, 7)])
def test_resume_alone_saves_by_the_clock(seconds, done, moons, tmp_path, monkeypatch):
    monkeypatch.setattr("runners.resume.SECONDS_BETWEEN_SAVES", seconds)
    with pytest.raises(RuntimeError):
        train(job(), moons, tmp_path, resume=True, save_every=None, callbacks=[At(7, boom)])
    assert checkpoint.read_state(tmp_path).about["epochs_done"] == done
    train(job(), moons, tmp_path, resume=True, save_every=None)
    assert checkpoint.read_state(tmp_path).about["epochs_done"] == 12


def test_a_run_that_can_go_on_is_not_written_over_by_one_that_saves_no_state(moons, tmp_path):
    with pytest.raises(RuntimeError):
        train(job(), moons, tmp_path, callbacks=[At(7, boom)])
    files = {path: path.read_bytes() for path in tmp_path.rglob("*.*") if path.name != ".lock"}
    with pytest.raises(CheckpointError, match="a run of 6 epochs that can go on: pass resume=True"):
        train(job(), moons, tmp_path, save_every=None)
    assert {path: path.read_bytes() for path in files} == files


@pytest.mark.parametrize("save_every", [None, 2])
def test_the_files_stay_together_where_a_callback_goes_elsewhere(
    save_every, moons, tmp_path, monkeypatch
):
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path)
    away = At(1, lambda: os.chdir(tmp_path / "other"))
    train(job(), moons, "run", callbacks=[away], save_every=save_every)
    assert (tmp_path / "run" / "a.pdparams").exists()
    assert not any((tmp_path / "other").iterdir())


class Stop:
    """Stops the run at an epoch, which Ctrl-C or an error may end too."""

    def __init__(self, does=None):
        self.does = does

    def on_epoch_end(self, runner, epoch):
        if epoch == 3:
            runner.stop = True
            if self.does:
                self.does()


class Killed(RuntimeError):
    """A process that ends between a save and the next epoch."""


def test_a_run_that_is_stopped_and_interrupted_at_once_stays_stopped(moons, tmp_path):
    train(whole := job(), moons, tmp_path / "whole", callbacks=[Stop()])
    ctrl_c = Stop(lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        train(job(), moons, tmp_path / "parts", callbacks=[ctrl_c])
    train(again := job(), moons, tmp_path / "parts", callbacks=[Stop()], resume=True)
    assert everything(again, tmp_path / "parts") == everything(whole, tmp_path / "whole")
    train(longer := job(), moons, tmp_path / "parts", resume=True)
    assert len(longer.train_loss) == 12


def test_a_run_that_is_stopped_and_killed_after_the_save_stays_stopped(
    moons, tmp_path, monkeypatch
):
    save = checkpoint.save_state

    def killed(directory, found):
        save(directory, found)
        if found.about["epochs_done"] == 4:
            raise Killed

    monkeypatch.setattr(checkpoint, "save_state", killed)
    with pytest.raises(Killed):
        train(job(), moons, tmp_path, callbacks=[Stop()])
    monkeypatch.undo()
    train(again := job(), moons, tmp_path, callbacks=[Stop()], resume=True)
    assert len(again.train_loss) == 4


def test_the_values_are_text_that_anybody_can_read(moons, tmp_path):
    train(own(Counting), moons, tmp_path, num_epochs=2, batch_size=None)
    held = json.loads(bytes(checkpoint.read_state(tmp_path).tensors["held"].tolist()))
    assert held["optimizer"]["steps"] == {"int64": 2}
