"""What an optimizer keeps is saved, restored, and never stands beside weights not its own."""

import copy
import logging
import os

import pytest
import torch
from book import BookGD
from recorder import Recorder, StopAt, weights

from opnet import (
    Adagrad,
    Adam,
    BatchGD,
    BinaryCrossEntropyLoss,
    CheckpointError,
    Model_MLP_L2,
    Momentum,
    NonFiniteError,
    RMSprop,
    accuracy,
    checkpoint,
    load,
)
from runners import RunnerV2_1

STATEFUL = [Momentum, Adagrad, RMSprop, Adam]
FILE = checkpoint.OPTIMIZER


def runner_of(rule, lr=0.05, seed=0, hidden=5):
    model = Model_MLP_L2(2, hidden, 1, generator=torch.Generator().manual_seed(seed))
    optimizer = None if rule is None else rule(lr, model)
    return RunnerV2_1(model, optimizer, accuracy, BinaryCrossEntropyLoss(model))


def kept(runner):
    return copy.deepcopy(runner.optimizer.state_dict())


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def train(runner, moons, **arguments):
    runner.train(*moons[:2], **({"num_epochs": 7, "log_epochs": 0, "keep": "last"} | arguments))


@pytest.mark.parametrize("rule", STATEFUL)
def test_a_run_that_is_saved_and_loaded_goes_on_to_the_last_bit(rule, moons, tmp_path):
    once, first, second = runner_of(rule), runner_of(rule), runner_of(rule, seed=1)
    train(once, moons, num_epochs=12)
    train(first, moons, num_epochs=5, save_dir=tmp_path / "by train")
    first.save_model(tmp_path / "by hand")
    for directory in ("by train", "by hand"):
        file = torch.load(tmp_path / directory / FILE, weights_only=True)
        assert same(file, first.optimizer.state_dict())
        second.load_model(tmp_path / directory)
        train(second, moons, num_epochs=7)
        assert second.train_loss[-7:] == once.train_loss[-7:]
        assert all(map(torch.equal, weights(second), weights(once)))
        assert same(kept(second), kept(once))


class Memories(Recorder):
    """Keeps what the optimizer kept at the end of each epoch, too."""

    def __init__(self):
        super().__init__()
        self.memories = []

    def on_epoch_end(self, runner, epoch):
        super().on_epoch_end(runner, epoch)
        self.memories.append(kept(runner))


@pytest.mark.parametrize("error", [None, KeyboardInterrupt()])
def test_the_memory_of_the_kept_weights_is_what_is_kept(moons, tmp_path, error):
    runner, recorder = runner_of(Adam, lr=2.0, seed=3), Memories()
    try:
        callbacks = [recorder, StopAt(20, error)]
        train(
            runner, moons, num_epochs=99, keep="best_loss", callbacks=callbacks, save_dir=tmp_path
        )
    except KeyboardInterrupt:
        assert error
    assert runner.kept_epoch < 20
    assert all(map(torch.equal, weights(runner), recorder.weights[runner.kept_epoch]))
    assert same(kept(runner), recorder.memories[runner.kept_epoch])
    assert same(torch.load(tmp_path / FILE, weights_only=True), kept(runner))


def test_an_interrupt_inside_a_step_leaves_weights_and_memory_of_one_epoch(moons):
    runner, calls = runner_of(Adam), []
    plain = Adam.step

    def torn_step():
        calls.append(1)
        plain(runner.optimizer)
        if len(calls) == 8:
            raise KeyboardInterrupt

    runner.optimizer.step = torn_step
    with pytest.raises(KeyboardInterrupt):
        train(runner, moons, num_epochs=50)
    reference = runner_of(Adam)
    train(reference, moons, num_epochs=7)
    assert all(map(torch.equal, weights(runner), weights(reference)))
    assert same(kept(runner), kept(reference))


# --- which directories hold it


def names_in(directory):
    return sorted(path.name for path in directory.iterdir() if path.name != ".lock")


@pytest.mark.parametrize("rule", [BatchGD, BookGD, None])
def test_what_keeps_nothing_writes_no_file_and_removes_that_of_another(rule, moons, tmp_path):
    files = ["fc1.pdparams", "fc2.pdparams"]
    for start in ("save_model", "train"):
        directory = tmp_path / start
        train(runner_of(Adam), moons, save_dir=directory)
        assert names_in(directory) == [*files, "manifest.json", FILE]
        runner = runner_of(rule, seed=1)
        if rule is None or start == "save_model":
            runner.save_model(directory)
        else:
            train(runner, moons, save_dir=directory)
        assert names_in(directory) == [*files, "manifest.json"]
        other = runner_of(Adam)
        train(other, moons)
        other.load_model(directory)
        assert all(map(torch.equal, weights(other), weights(runner)))


def test_a_save_that_fails_midway_leaves_weights_and_memory_of_one_moment(
    moons, tmp_path, monkeypatch
):
    runner = runner_of(Adam)
    runner.save_model(tmp_path)
    train(runner, moons)
    written = []
    plain = os.replace

    def second_fails(*paths):
        written.append(paths)
        if len(written) == 2:
            raise OSError(28, "No space left on device")
        plain(*paths)

    monkeypatch.setattr(os, "replace", second_fails)
    with pytest.raises(CheckpointError, match=r"fc1.pdparams: cannot be written: No space left"):
        runner.save_model(tmp_path)
    monkeypatch.undo()
    other = runner_of(Adam, seed=1)
    other.load_model(tmp_path)  # the manifest had taken its place: the set is the new one
    assert all(map(torch.equal, weights(other), weights(runner)))
    assert same(kept(other), kept(runner))


def test_a_memory_that_is_not_finite_is_not_written_and_not_trained_on(moons, tmp_path):
    runner = runner_of(Adagrad)
    runner.save_model(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    runner.optimizer.state_dict()["fc2.b.sum_of_squares"].fill_(torch.inf)
    with pytest.raises(
        NonFiniteError, match=r"in fc2.b.sum_of_squares of optimizer.pdopt; nothing"
    ):
        runner.save_model(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    with pytest.raises(NonFiniteError, match="what the optimizer keeps of epoch 6 are nan or inf"):
        train(runner, moons)


@pytest.mark.parametrize("rule", STATEFUL)
def test_without_a_file_of_its_kind_an_optimizer_starts_anew(rule, moons, tmp_path, caplog):
    for other in (BatchGD, *STATEFUL):
        if other is not rule:
            saved, runner = runner_of(other, seed=1), runner_of(rule)
            train(saved, moons, save_dir=tmp_path)
            train(runner, moons)
            with caplog.at_level(logging.INFO, "opnet"):
                runner.load_model(tmp_path)
            assert all(map(torch.equal, weights(runner), weights(saved)))
            assert not any(tensor.any() for tensor in kept(runner).values())
    assert len(caplog.records) == 3
    assert "starts anew" in caplog.text


def test_who_keeps_nothing_does_not_look_at_the_file(moons, tmp_path):
    train(runner_of(Adam), moons, save_dir=tmp_path)
    (tmp_path / "manifest.json").unlink()
    (tmp_path / FILE).write_bytes(b"junk")
    for rule in (BatchGD, BookGD, None):
        runner_of(rule).load_model(tmp_path)
    assert load(tmp_path).fc1.params["W"].shape == (2, 5)


def test_a_learners_own_memory_travels_too(tmp_path):
    class Counting(BookGD):
        def __init__(self, init_lr, model):
            super().__init__(init_lr, model)
            self.counts = {"all.steps": torch.tensor(0)}

        def state_dict(self):
            return self.counts

        def load_state(self, state):
            self.counts["all.steps"].copy_(state.get("all.steps", torch.tensor(0)))

    runner = runner_of(Counting)
    runner.optimizer.counts["all.steps"].fill_(3)
    runner.save_model(tmp_path)
    runner.optimizer.counts["all.steps"].fill_(0)
    runner.load_model(tmp_path)
    assert runner.optimizer.counts["all.steps"] == 3


def test_an_optimizer_of_torch_steps_ones_params_and_keeps_its_own_state(moons, tmp_path):
    runner = runner_of(None)
    params = [*runner.model.fc1.params.values(), *runner.model.fc2.params.values()]

    class OfTorch(torch.optim.Adam):
        def step(self):
            for param, op in zip(params, ("fc1", "fc1", "fc2", "fc2"), strict=True):
                layer = getattr(runner.model, op)
                (key,) = (k for k, p in layer.params.items() if p is param)
                param.grad = layer.grads[key]
            super().step()

    runner.optimizer = OfTorch(params, lr=0.1)
    train(runner, moons, save_dir=tmp_path)
    assert runner.train_loss[-1] < runner.train_loss[0]
    assert not (tmp_path / FILE).exists()


# --- files that do not fit


def unfit(change):
    def write(path):
        tensors = torch.load(path, weights_only=True)
        change(tensors)
        torch.save(tensors, path)

    return write


BAD_FILES = {
    "text": (lambda path: path.write_text("hello"), "no checkpoint that can be read safely"),
    "a list": (lambda path: torch.save([1], path), "holds a list, wanted a dict of tensors"),
    "a number": (lambda path: torch.save({"a.mean": 1}, path), "'a.mean' is a int, wanted a Ten"),
    "a directory": (lambda path: (path.unlink(), path.mkdir()), "not a regular file"),
    "a shape": (
        unfit(lambda t: t.update({"fc1.W.mean": torch.zeros(2, 6)})),
        r"fc1.W.mean is float32 \[2, 6\], optimizer wants float32 \[2, 5\]",
    ),
    "a dtype": (
        unfit(lambda t: t.update({"fc1.W.t": torch.tensor(1.0)})),
        r"fc1.W.t is float32 \[\], optimizer wants int64 \[\]",
    ),
    "a name too few": (unfit(lambda t: t.pop("fc1.W.mean")), "holds .*, optimizer wants "),
    "a name too many": (
        unfit(lambda t: t.update({"fc3.W.mean": torch.zeros(1)})),
        r"holds .*fc3.W.mean.*, optimizer wants ",
    ),
    "nan": (
        unfit(lambda t: t["fc2.b.mean"].fill_(torch.nan)),
        "nan or infinite values in fc2.b.mean",
    ),
}


@pytest.mark.parametrize(("write", "said"), BAD_FILES.values(), ids=BAD_FILES.keys())
def test_a_file_that_does_not_fit_is_named_and_nothing_changes(moons, tmp_path, write, said):
    train(runner_of(Adam, seed=1), moons, save_dir=tmp_path)
    (tmp_path / "manifest.json").unlink()
    write(tmp_path / FILE)
    runner = runner_of(Adam)
    train(runner, moons)
    before, memory = weights(runner), kept(runner)
    with pytest.raises(CheckpointError, match=said) as error:
        runner.load_model(tmp_path)
    assert FILE in str(error.value)
    assert "\n" not in str(error.value)
    assert all(map(torch.equal, weights(runner), before))
    assert same(kept(runner), memory)


def test_layers_that_do_not_fit_keep_the_memory_as_it_was(moons, tmp_path):
    train(runner_of(Adam, hidden=6), moons, save_dir=tmp_path)
    runner = runner_of(Adam)
    train(runner, moons)
    memory = kept(runner)
    with pytest.raises(
        CheckpointError, match=r"fc1.pdparams: W is .*; optimizer.pdopt: fc1.W.mean"
    ):
        runner.load_model(tmp_path)
    assert same(kept(runner), memory)


def test_a_place_that_cannot_be_taken_is_named(tmp_path):
    (tmp_path / FILE).mkdir()
    with pytest.raises(CheckpointError, match=r"optimizer.pdopt: is a directory"):
        runner_of(Adam).save_model(tmp_path)
    assert names_in(tmp_path) == [FILE]
