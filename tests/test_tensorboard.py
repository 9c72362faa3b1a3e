"""TensorBoard: what it writes is read back by its own reader, and it changes nothing of a run."""

import sys

import pytest
import torch
from recorder import histories, weights
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from opnet import (
    Adam,
    BinaryCrossEntropyLoss,
    Dropout,
    Linear,
    Logistic,
    Model_MLP_L2,
    ReLU,
    Sequential,
    accuracy,
)
from opnet.tracking import EventFiles
from runners import EarlyStopping, RunnerV2_1, Snapshots, TensorBoard

CURVES = {
    "loss/train": "train_loss",
    "loss/dev": "dev_loss",
    "scores/train": "train_scores",
    "scores/dev": "dev_scores",
}
SPREAD = [f"{kind}/fc{i}.{key}" for kind in ("params", "grads") for i in (1, 2) for key in "Wb"]


def read(directory):
    found = EventAccumulator(str(directory), {"histograms": 0, "scalars": 0, "images": 0})
    found.Reload()
    return found


def train(runner, moons, **how):
    runner.train(*moons[:2], **{"num_epochs": 25, "log_epochs": 0} | how)
    return runner


def test_curves_histograms_and_the_boundary_are_read_back(job, moons, tmp_path):
    sets = dict(zip(("train", "dev"), moons, strict=False))
    board, copies = TensorBoard(tmp_path, every=10, sets=sets), Snapshots(every=10)
    runner = train(job(), moons, callbacks=[board, copies])
    found, steps = read(tmp_path), [9, 19, 24]
    assert set(found.Tags()["scalars"]) == {*CURVES}
    for tag, name in CURVES.items():
        curve = found.Scalars(tag)
        assert [point.step for point in curve] == steps
        values = [getattr(runner, name)[step] for step in steps]
        assert [point.value for point in curve] == pytest.approx(values, rel=1e-6)
    assert set(found.Tags()["histograms"]) == {*SPREAD}
    for at, point in enumerate(found.Histograms("params/fc1.W")):
        W = copies.weights[steps[at]][0]
        assert (point.step, point.histogram_value.num) == (steps[at], W.numel())
        assert point.histogram_value.sum == pytest.approx(float(W.sum()), rel=1e-5, abs=1e-6)
    (image,) = found.Images("boundary")
    assert (image.step, min(image.width, image.height) > 300) == (24, True)


def test_the_gradients_are_those_of_the_epoch(job, moons, tmp_path):
    runner = train(job(), moons, num_epochs=1, callbacks=[TensorBoard(tmp_path, every=1)])
    (point,) = read(tmp_path).Histograms("grads/fc2.W")
    W = runner.model.fc2.grads["W"]
    assert point.histogram_value.max == pytest.approx(float(W.max()), rel=1e-6)


def test_a_run_may_be_resumed_with_more_to_look_at_it(job, moons, tmp_path):
    how = {"save_dir": tmp_path / "run", "save_every": 10, "resume": True}
    train(job(), moons, num_epochs=20, **how)
    board, copies = TensorBoard(tmp_path / "board", every=10), Snapshots(every=10)
    runner = train(job(), moons, num_epochs=35, callbacks=[board, copies], **how)
    assert [*copies.weights] == [29, 34]
    assert [point.step for point in read(tmp_path / "board").Scalars("loss/dev")] == [29, 34]
    assert histories(runner) == histories(train(job(), moons, num_epochs=35))


def test_a_second_train_goes_on_where_the_first_ended(job, moons, tmp_path):
    board = TensorBoard(tmp_path, every=10)
    runner = train(job(), moons, num_epochs=20, callbacks=[board])
    train(runner, moons, num_epochs=20, callbacks=[board])
    assert [point.step for point in read(tmp_path).Scalars("loss/dev")] == [9, 19, 29, 39]


def with_dropout():
    generator = torch.Generator().manual_seed(0)
    ops = Linear(2, 8, generator=generator), ReLU(), Dropout(0.2, generator=generator)
    return Sequential(*ops, Linear(8, 1, generator=generator), Logistic())


def two_layers():
    return Model_MLP_L2(2, 5, 1, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("every", [1, 7])
@pytest.mark.parametrize("made", [two_layers, with_dropout])
@pytest.mark.parametrize(
    "how", [{"step": "eager"}, {"step": "captured"}, {"batch_size": 16}], ids=str
)
def test_nothing_of_a_run_changes(moons, tmp_path, how, made, every):
    ends = []
    for there in (False, True):
        model = made()
        runner = RunnerV2_1(model, Adam(0.05, model), accuracy, BinaryCrossEntropyLoss(model))
        sets = {"train": moons[0]} if every == 7 else None
        looks = [TensorBoard(tmp_path, every, sets), Snapshots(every)] if there else []
        generator, callbacks = torch.Generator().manual_seed(1), [*looks, EarlyStopping(20)]
        before = torch.get_rng_state()
        train(runner, moons, generator=generator, callbacks=callbacks, num_epochs=60, **how)
        assert torch.equal(torch.get_rng_state(), before)
        ends.append([torch.tensor(histories(runner)), *weights(runner), generator.get_state()])
    assert all(map(torch.equal, *ends))


@pytest.mark.parametrize(
    ("values", "counts"),
    [
        ([0.0, 0.125, 3.0, 1.5, 3.0], [1, 1, 1, 2]),
        ([0.25] * 6, [6]),
        ([-(2.0**100)], [1]),
    ],
)
def test_a_histogram_counts_every_element_once(tmp_path, values, counts):
    files = EventFiles(tmp_path)
    files.histogram("h", torch.tensor(values, dtype=torch.bfloat16), 3)
    files.close()
    (point,) = read(tmp_path).Histograms("h")
    found = point.histogram_value
    assert (found.num, found.min, found.max) == (len(values), min(values), max(values))
    assert [n for n in found.bucket if n] == counts
    assert found.bucket_limit[-1] == max(values)


def test_what_is_not_finite_is_left_out(tmp_path):
    files = EventFiles(tmp_path)
    files.histogram("some", torch.tensor([1.0, torch.inf, 2.0, torch.nan]), 0)
    files.histogram("none", torch.tensor([torch.nan]), 0)
    files.close()
    assert read(tmp_path).Tags()["histograms"] == ["some"]
    assert read(tmp_path).Histograms("some")[0].histogram_value.num == 2


def test_sets_that_do_not_fit_are_refused_before_anything_is_trained(job, moons, tmp_path):
    board = TensorBoard(tmp_path, sets={"train": [torch.zeros(4, 3), torch.zeros(4, 1)]})
    runner = job()
    with pytest.raises(ValueError, match="DecisionBoundary: train has 3 features"):
        train(runner, moons, callbacks=[board])
    assert not runner.dev_loss


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({"log_dir": "", "every": 1}, ValueError, "TensorBoard: log_dir"),
        ({"log_dir": "runs", "every": 0}, ValueError, "TensorBoard: every is 0"),
        ({"log_dir": "file/runs"}, ValueError, "TensorBoard: file/runs: cannot be written: Not a"),
    ],
)
def test_what_it_cannot_use_is_named(tmp_path, monkeypatch, arguments, error, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(error, match=said):
        TensorBoard(**arguments)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_without_tensorboard_one_line_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ImportError, match=r"not installed: pip install 'opnet\[tensorboard\]'$"):
        TensorBoard(tmp_path)


def test_of_several_ranks_the_first_writes(job, moons, tmp_path, monkeypatch):
    launched = {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
    with monkeypatch.context() as told:
        for name, value in launched.items():
            told.setenv(name, value)
        second = TensorBoard(tmp_path / "second", every=1)
    train(job(), moons, callbacks=[second, TensorBoard(tmp_path / "first", every=1)])
    assert [path.name for path in tmp_path.iterdir()] == ["first"]


def test_snapshots_keep_the_weights_of_their_epochs(job, moons):
    every, some = Snapshots(), Snapshots(every=4)
    runner = train(job(), moons, num_epochs=10, keep="last", callbacks=[every, some])
    assert ([*every.weights], [*some.weights]) == ([*range(10)], [3, 7, 9])
    assert all(all(map(torch.equal, some.weights[e], every.weights[e])) for e in some.weights)
    assert torch.equal(some.at(9)(moons[0][0]), runner.predict(moons[0][0]))
    model = some.at(3)
    assert model is not runner.model
    assert not torch.equal(model(moons[0][0]), runner.predict(moons[0][0]))
    with pytest.raises(KeyError):
        some.at(4)
