"""A run that was stopped and goes on ends as one that was not: every bit of it."""

import json
import logging
import os
import signal
import threading

import pytest
import torch

from opnet import (
    Adagrad,
    Adam,
    BatchGD,
    BatchNorm,
    BinaryCrossEntropyLoss,
    CheckpointError,
    Cosine,
    Dropout,
    Linear,
    Logistic,
    Momentum,
    NonFiniteError,
    ReduceOnPlateau,
    RMSprop,
    Sequential,
    StepDecay,
    Tanh,
    WarmUp,
    accuracy,
    checkpoint,
)
from opnet.walk import state
from runners import EarlyStopping, RunnerV2_1
from runners.interrupts import held_back

OPTIMIZERS = [BatchGD, Momentum, Adagrad, RMSprop, Adam]
SCHEDULES = {
    "none": lambda: None,
    "step": lambda: StepDecay(0.05, 3),
    "cosine": lambda: Cosine(0.05, 12),
    "plateau": lambda: WarmUp(ReduceOnPlateau(0.05, patience=0, threshold=0.5), 2),
    "function": lambda: lambda epoch: 0.05 / (1 + epoch),
}


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def job(rule=Adam, lr=0.05, hidden=6, drawing=True):
    first = Linear(2, hidden, "a", generator=seeded(1))
    layers = [first, Tanh(), Dropout(0.2, generator=seeded(2) if drawing else None)]
    last = Linear(hidden, 1, "b", generator=seeded(4))
    model = Sequential(*layers, BatchNorm(hidden, "bn"), last, Logistic())
    return RunnerV2_1(model, rule(lr, model), accuracy, BinaryCrossEntropyLoss(model))


def train(runner, moons, directory, *, num_epochs=12, seed=3, **how):
    how = {"log_epochs": 0, "batch_size": 16, "generator": seeded(seed), "save_every": 2} | how
    runner.train(*moons[:2], num_epochs=num_epochs, save_dir=directory, **how)


def everything_in_memory(runner):
    memory = checkpoint.memory_of(runner.optimizer)
    tensors = [*state(runner.model), *(memory[name] for name in sorted(memory))]
    lists = [list(history) for history in runner.histories]
    return [tensor.tolist() for tensor in tensors], lists, runner.kept_epoch, runner.optimizer.lr


def everything(runner, directory):
    """All that a run leaves, in memory and on disk."""
    memory = checkpoint.memory_of(runner.optimizer)
    tensors = [*state(runner.model), *(memory[name] for name in sorted(memory))]
    files = {path.name: path.read_bytes() for path in directory.glob("*.pd*")}
    numbers = [list(history) for history in runner.histories]
    states = {k: t.tolist() for k, t in checkpoint.read_state(directory).tensors.items()}
    states["held"] = [
        (part, key, value)
        for part, values in json.loads(bytes(states["held"])).items()
        for key, value in values.items()
        if key not in ("training", "floored")  # how the last call of an op was made
    ]
    return [tensor.tolist() for tensor in tensors], files, numbers, runner.kept_epoch, states


@pytest.mark.parametrize("keep", ["last", "best_score", "best_loss"])
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("rule", OPTIMIZERS)
def test_n_and_m_epochs_are_n_plus_m(rule, schedule, keep, moons, tmp_path):
    def run(directory, num_epochs, **how):
        runner = job(rule)
        how |= {"schedule": SCHEDULES[schedule](), "callbacks": [EarlyStopping(30)]}
        train(runner, moons, directory, num_epochs=num_epochs, keep=keep, **how)
        return everything(runner, directory)

    whole = run(tmp_path / "whole", 12)
    assert len(run(tmp_path / "parts", 5)[2][0]) == 5
    assert run(tmp_path / "parts", 12, resume=True, seed=99) == whole


def test_what_draws_from_the_global_generator_goes_on_too(moons, tmp_path):
    def run(directory, num_epochs, seed, **how):
        torch.manual_seed(seed)
        runner = job(drawing=False)
        train(runner, moons, directory, num_epochs=num_epochs, batch_size=None, **how)
        return everything(runner, directory)

    whole = run(tmp_path / "whole", 9, 0)
    run(tmp_path / "parts", 4, 0)
    assert run(tmp_path / "parts", 9, 1, resume=True) == whole


class At:
    """Does something at the end of an epoch."""

    def __init__(self, epoch, does):
        self.epoch, self.does = epoch, does

    def on_epoch_end(self, runner, epoch):
        if epoch == self.epoch:
            self.does()


def boom(*_):
    raise RuntimeError("boom")


def ctrl_c():
    os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize(
    ("does", "error", "done"), [(boom, RuntimeError, 6), (ctrl_c, KeyboardInterrupt, 8)]
)
def test_a_run_that_was_stopped_goes_on(does, error, done, moons, tmp_path):
    train(whole := job(), moons, tmp_path / "whole")
    with pytest.raises(error) as stop:
        train(job(), moons, tmp_path / "parts", callbacks=[At(7, does)])
    if does is ctrl_c:
        assert str(stop.value) == "after epoch 8/12, which is saved: resume goes on from it"
    assert checkpoint.read_state(tmp_path / "parts").about["epochs_done"] == done
    train(again := job(), moons, tmp_path / "parts", resume=True)
    assert everything(again, tmp_path / "parts") == everything(whole, tmp_path / "whole")


def test_in_one_process_the_runner_itself_goes_on(moons, tmp_path):
    train(whole := job(), moons, tmp_path / "whole")
    runner = job()
    with pytest.raises(KeyboardInterrupt):
        train(runner, moons, tmp_path / "parts", callbacks=[At(4, ctrl_c)])
    train(runner, moons, tmp_path / "parts", resume=True)
    assert everything(runner, tmp_path / "parts") == everything(whole, tmp_path / "whole")


def test_a_second_ctrl_c_does_not_wait_and_ctrl_c_is_as_before_afterwards(moons, tmp_path):
    before = signal.getsignal(signal.SIGINT)
    runner, seen = job(), []

    def twice(predicts, labels):
        if len(runner.train_loss) == 4 and not seen:
            seen.append(True)
            ctrl_c()
            ctrl_c()
        return accuracy(predicts, labels)

    runner.metric = twice
    with pytest.raises(KeyboardInterrupt) as stop:
        train(runner, moons, tmp_path)
    assert not stop.value.args
    assert signal.getsignal(signal.SIGINT) is before
    assert checkpoint.read_state(tmp_path).about["epochs_done"] == 4


def test_a_ctrl_c_that_nobody_asks_for_is_not_lost():
    with pytest.raises(KeyboardInterrupt), held_back(True):
        ctrl_c()
    with pytest.raises(RuntimeError), held_back(True):
        boom(ctrl_c())


def test_nothing_is_held_back_in_a_thread(moons, tmp_path):
    worker = threading.Thread(target=lambda: train(job(), moons, tmp_path))
    worker.start()
    worker.join()
    assert checkpoint.read_state(tmp_path).about["ended"]


def test_after_a_nan_the_state_is_the_last_good_one(moons, tmp_path):
    def run(**how):
        runner = job()
        schedule = lambda epoch: 0.05 if epoch < 7 else 1e38  # noqa: E731
        with pytest.raises(NonFiniteError) as error:
            train(runner, moons, tmp_path, schedule=schedule, **how)
        return str(error.value), runner.histories, [t.tolist() for t in state(runner.model)]

    first = run()
    assert checkpoint.read_state(tmp_path).about["epochs_done"] == 6
    assert run(resume=True) == first


def test_a_run_that_has_ended_is_given_back_and_a_longer_one_goes_on(moons, tmp_path):
    train(ended := job(), moons, tmp_path)
    train(again := job(), moons, tmp_path, resume=True)
    assert everything(again, tmp_path) == everything(ended, tmp_path)
    with pytest.raises(CheckpointError, match="has 12 epochs already, num_epochs is 11"):
        train(job(), moons, tmp_path, num_epochs=11, resume=True)


def test_a_run_that_a_callback_has_stopped_stays_stopped(moons, tmp_path):
    def run(**how):
        stopping = EarlyStopping(1, min_delta=1.0)
        train(runner := job(), moons, tmp_path, callbacks=[stopping], **how)
        return everything(runner, tmp_path)

    first = run()
    assert len(first[2][0]) < 12
    assert run(resume=True) == first


def test_a_run_that_another_callback_has_stopped_goes_on_without_it(moons, tmp_path):
    train(whole := job(), moons, tmp_path / "whole")
    runner = job()
    stop = At(4, lambda: setattr(runner, "stop", True))
    train(runner, moons, tmp_path / "parts", callbacks=[stop])
    assert len(runner.train_loss) == 5
    train(again := job(), moons, tmp_path / "parts", resume=True)
    assert everything(again, tmp_path / "parts") == everything(whole, tmp_path / "whole")


class Countdown:
    """A learner's: counts epochs down from a number that its caller gave it."""

    def __init__(self, left, every=1):
        self.left, self.every, self.seen = left, every, []

    def on_epoch_end(self, runner, epoch):
        self.left -= self.every
        self.seen.append(epoch)


def test_what_a_callback_counts_goes_on_and_what_it_was_given_stays(moons, tmp_path):
    with pytest.raises(RuntimeError):
        train(job(), moons, tmp_path, callbacks=[EarlyStopping(30), Countdown(20), At(7, boom)])
    again = Countdown(20, every=2)
    train(job(), moons, tmp_path, callbacks=[At(99, boom), again, EarlyStopping(30)], resume=True)
    assert (again.left, again.every, again.seen) == (20 - 6 - 2 * 6, 2, list(range(12)))


def test_what_a_callback_saves_meanwhile_gives_way_to_what_is_kept(moons, tmp_path, monkeypatch):
    monkeypatch.setattr("runners.best.SECONDS_BETWEEN_WRITES", 0)
    runner = job()

    def spoil():
        state(runner.model)[0].zero_()
        runner.save_model(tmp_path)

    train(runner, moons, tmp_path, callbacks=[At(11, spoil)], keep="last")
    other = job()
    other.load_model(tmp_path)
    kept = [tensor.tolist() for tensor in state(runner.model)]
    assert [tensor.tolist() for tensor in state(other.model)] == kept


# --- what is refused


class Witness:
    """Tells whether a training began, and whether it ended."""

    def __init__(self):
        self.told = []

    def on_train_begin(self, runner):
        self.told.append("begin")

    def on_train_end(self, runner):
        self.told.append("end")


@pytest.mark.parametrize("how", [{"resume": True, "batch_size": 8}, {"resume": False}])
def test_a_training_that_is_refused_has_not_begun(how, moons, tmp_path):
    with pytest.raises(RuntimeError):
        train(job(), moons, tmp_path, callbacks=[At(7, boom)])
    with pytest.raises(CheckpointError):
        train(job(), moons, tmp_path, callbacks=[witness := Witness()], **how)
    assert witness.told == []


def test_a_training_that_cannot_save_its_first_state_ends(moons, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "save_state", boom)
    with pytest.raises(RuntimeError):
        train(job(), moons, tmp_path, callbacks=[witness := Witness()])
    assert witness.told == ["begin", "end"]


def test_no_epochs_of_a_run_that_has_some_are_refused(moons, tmp_path):
    train(job(), moons, tmp_path)
    with pytest.raises(CheckpointError, match="has 12 epochs already, num_epochs is 0"):
        train(job(), moons, tmp_path, num_epochs=0, resume=True)


OTHERS = {
    "a rate": ({"lr": 0.1}, {}, r"optimizer.init_lr is 0.1, was 0.05"),
    "a rule": ({"rule": RMSprop}, {}, r"optimizer.class is 'RMSprop', was 'Adam'"),
    "a width": ({"hidden": 7}, {}, r"holds another model: a.pdparams: W is float32 \[2, 6\]"),
    "a batch size": ({}, {"batch_size": 8}, r"batch_size is 8, was 16"),
    "a block size": ({}, {"block_size": 8}, r"block_size is 8, was None"),
    "a schedule": ({}, {"schedule": Cosine(0.05, 12)}, r"schedule is Cosine, was None"),
    "keep": ({}, {"keep": "last"}, r"keep is 'last', was 'best_score'"),
    "patience": ({}, {"callbacks": [EarlyStopping(3)]}, "callbacks is "),
}


@pytest.mark.parametrize(("made", "how", "said"), OTHERS.values(), ids=OTHERS)
def test_another_run_is_refused_and_changes_nothing(made, how, said, moons, tmp_path):
    with pytest.raises(RuntimeError):
        train(job(), moons, tmp_path, callbacks=[At(7, boom)])
    files = {path: path.read_bytes() for path in tmp_path.rglob("*.*") if path.name != ".lock"}
    runner = job(**made)
    before = [tensor.tolist() for tensor in state(runner.model)]
    with pytest.raises(CheckpointError, match=said) as error:
        train(runner, moons, tmp_path, resume=True, **how)
    assert "\n" not in str(error.value)
    assert [tensor.tolist() for tensor in state(runner.model)] == before
    assert not runner.train_loss
    assert {path: path.read_bytes() for path in files} == files


def test_other_data_are_refused(moons, tmp_path):
    train(job(), moons, tmp_path)
    (X, y), dev, _ = moons
    X = X.clone()
    X[3, 1] += 1e-6
    with pytest.raises(CheckpointError, match=r"of another run: data\[0\]\[0\] is 'float32"):
        train(job(), ([X, y], dev), tmp_path, resume=True)


def test_a_run_that_can_go_on_is_not_written_over(moons, tmp_path):
    with pytest.raises(RuntimeError):
        train(job(), moons, tmp_path, callbacks=[At(7, boom)])
    with pytest.raises(CheckpointError, match="a run of 6 epochs that can go on: pass resume=True"):
        train(job(), moons, tmp_path)
    assert checkpoint.read_state(tmp_path).about["epochs_done"] == 6


def test_where_nothing_is_a_run_starts_anew(moons, tmp_path):
    train(whole := job(), moons, tmp_path / "whole")
    train(again := job(), moons, tmp_path / "again", resume=True)
    assert everything(again, tmp_path / "again") == everything(whole, tmp_path / "whole")


@pytest.mark.parametrize(
    ("how", "error", "said"),
    [
        ({"save_every": 2}, ValueError, "need a save_dir"),
        ({"resume": True}, ValueError, "need a save_dir"),
        ({"save_every": 0}, ValueError, "save_every is 0, wanted a whole number >= 1"),
        ({"save_every": "2"}, TypeError, "save_every is '2'"),
        ({"resume": 1}, TypeError, "resume is 1, wanted True or False"),
    ],
)
def test_arguments_that_do_not_fit(how, error, said, moons, tmp_path):
    directory = None if "save_dir" in said else tmp_path
    with pytest.raises(error, match=said):
        job().train(*moons[:2], num_epochs=2, save_dir=directory, **how)


def test_a_damaged_state_is_named(moons, tmp_path):
    train(job(), moons, tmp_path)
    path = tmp_path / "resume" / "run.pdstate"
    data = bytearray(path.read_bytes())
    data[300] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match=r"run.pdstate: damaged or changed"):
        train(job(), moons, tmp_path, resume=True)


def test_what_the_last_bits_depend_on_is_recorded_and_a_change_said(
    moons, tmp_path, caplog, monkeypatch
):
    train(job(), moons, tmp_path)
    told = checkpoint.read_state(tmp_path).about["environment"]
    assert told["threads"] == 1
    assert {"opnet", "python", "torch", "threads", "cpu", "device"} == set(told)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    with caplog.at_level(logging.WARNING, "runners"):
        train(job(), moons, tmp_path, num_epochs=13, resume=True, threads=2)
    assert "threads is 2, was 1: the last bits may differ" in caplog.text


class Fading(Tanh):
    """A learner's: scales down with the steps that it has seen, which it counts by itself."""

    def forward(self, inputs):
        if self.training:
            self.steps = getattr(self, "steps", 0) + 1
        return super().forward(inputs / (1 + 0.01 * getattr(self, "steps", 0)))

    def backward_inputs(self, grads):
        return super().backward_inputs(grads) / (1 + 0.01 * self.steps)


def test_what_an_op_counts_goes_on(moons, tmp_path):
    def run(directory, num_epochs, **how):
        first, last = Linear(2, 4, "a", generator=seeded(1)), Linear(4, 1, "b", generator=seeded(2))
        model = Sequential(first, Fading(), last, Logistic())
        parts = Adam(0.05, model), accuracy, BinaryCrossEntropyLoss(model)
        train(runner := RunnerV2_1(model, *parts), moons, directory, num_epochs=num_epochs, **how)
        return everything(runner, directory)

    whole = run(tmp_path / "whole", 12)
    run(tmp_path / "parts", 5)
    assert run(tmp_path / "parts", 12, resume=True) == whole


def holding(part, key, value):
    """A change: the state holds that value too."""

    def change(tensors, about):
        held = json.loads(bytes(tensors["held"].tolist()))
        held.setdefault(part, {})[key] = value
        packed = torch.tensor(list(json.dumps(held).encode()), dtype=torch.uint8)
        return {**tensors, "held": packed}, about

    return change


UNFIT = {
    "nothing": lambda tensors, about: (tensors, {}),
    "a key too few": lambda tensors, about: (tensors, {**about, "settings": None}),
    "a count of text": lambda tensors, about: (tensors, {**about, "epochs_done": "6"}),
    "epochs that were not": lambda tensors, about: (tensors, {**about, "epochs_done": 5}),
    "no tensors": lambda tensors, about: ({}, about),
    "no weights": lambda tensors, about: (
        {name: tensor for name, tensor in tensors.items() if not name.startswith("last.")},
        about,
    ),
    "a shape": lambda tensors, about: ({**tensors, "last.weight.0": torch.ones(3)}, about),
    "a random state that is none": lambda tensors, about: (
        {**tensors, "random.torch": torch.full_like(tensors["random.torch"], 255)},
        about,
    ),
    "a kept epoch of text": lambda tensors, about: (tensors, {**about, "kept_epoch": ["x", None]}),
    "another name": lambda tensors, about: ({**tensors, "held.lr": torch.tensor(1.0)}, about),
    "no values": lambda tensors, about: ({**tensors, "held": torch.tensor([7])}, about),
    "no memory": lambda tensors, about: (
        {name: tensor for name, tensor in tensors.items() if ".memory." not in name},
        about,
    ),
    "a memory's shape": lambda tensors, about: (
        {**tensors, "kept.memory.a.W.mean": torch.ones(3)},
        about,
    ),
    "a value of params": holding("model.layers.0", "params", [1, 2]),
    "a value of a method": holding("optimizer", "step", 3),
    "a row for a number": holding("optimizer", "lr", [1.0, 2.0]),
    "a kind that is none": holding("optimizer", "lr", {"float32": 1.0, "tuple": []}),
    "a value of nobody": holding("model.layers.99", "steps", 3),
    "no random state": lambda tensors, about: (
        {name: tensor for name, tensor in tensors.items() if name != "random.torch"},
        about,
    ),
}


@pytest.mark.parametrize("change", UNFIT.values(), ids=UNFIT)
def test_a_state_that_is_none_is_refused_and_changes_nothing(change, moons, tmp_path):
    with pytest.raises(RuntimeError):
        train(job(), moons, tmp_path, callbacks=[At(7, boom)])
    found = checkpoint.read_state(tmp_path)
    checkpoint.save_state(tmp_path, checkpoint.RunState(*change(*found)))
    runner = job()
    before, random = everything_in_memory(runner), torch.get_rng_state()
    with pytest.raises(CheckpointError, match="resume: ") as error:
        train(runner, moons, tmp_path, resume=True)
    assert "\n" not in str(error.value)
    assert everything_in_memory(runner) == before
    assert torch.equal(torch.get_rng_state(), random)
