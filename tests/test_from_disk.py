"""Training on rows that are read block by block is training on the same rows in memory."""

import numpy as np
import pytest
import torch

from opnet import (
    BatchGD,
    BatchNorm,
    BinaryCrossEntropyLoss,
    CheckpointError,
    Linear,
    Logistic,
    Sequential,
    accuracy,
)
from opnet.data import from_npy
from opnet.walk import state
from runners import RunnerV2_1

BLOCK = 7


def job(*between):
    first = Linear(2, 5, "a", generator=torch.Generator().manual_seed(1))
    last = Linear(5, 1, "b", generator=torch.Generator().manual_seed(2))
    model = Sequential(first, Logistic(), *between, last, Logistic())
    return RunnerV2_1(model, BatchGD(1.0, model), accuracy, BinaryCrossEntropyLoss(model))


@pytest.fixture
def files(moons, tmp_path):
    """The train and the dev set, in memory and as files."""
    return moons[:2], [on_disk(rows, tmp_path / f"{i}") for i, rows in enumerate(moons[:2])]


def on_disk(rows, stem):
    sources = []
    for name, values in zip("Xy", rows, strict=True):
        path = stem.with_suffix(f".{name}.npy")
        np.save(path, values.numpy())
        sources.append(from_npy(path))
    return sources


def train(runner, sets, num_epochs=8, **how):
    runner.train(*sets, num_epochs=num_epochs, log_epochs=0, block_size=BLOCK, **how)


def test_a_run_is_that_of_the_rows_in_memory_bit_for_bit(files):
    in_memory, from_disk = files
    train(one := job(), in_memory)
    train(other := job(), from_disk)
    assert one.histories == other.histories
    assert all(map(torch.equal, state(one.model), state(other.model)))
    assert other.evaluate(from_disk[1]) == pytest.approx(one.evaluate(in_memory[1]), rel=1e-6)
    X, _ = in_memory[1]
    torch.testing.assert_close(other.predict(from_disk[1][0]), one.predict(X))


def test_a_nan_is_named_by_its_row_and_the_best_weights_stay(files, tmp_path):
    (train_rows, dev_rows), _ = files
    X = train_rows[0].clone()
    X[40, 1] = torch.nan
    runner = job()
    before = [tensor.clone() for tensor in state(runner.model)]
    with pytest.raises(ValueError, match=r"X\[40, 1\] is nan"):
        train(runner, [on_disk([X, train_rows[1]], tmp_path / "bad"), dev_rows])
    assert all(map(torch.equal, state(runner.model), before))
    assert not runner.train_loss


def test_what_needs_all_rows_at_once_is_refused(files):
    _, from_disk = files
    with pytest.raises(TypeError, match="X is read block by block, wanted a model"):
        train(job(BatchNorm(5, "bn")), from_disk)
    with pytest.raises(TypeError, match="X is read block by block, wanted a model"):
        job(BatchNorm(5, "bn")).predict(from_disk[0][0])
    with pytest.raises(TypeError, match="batch_size needs rows in memory"):
        train(job(), from_disk, batch_size=10)


def test_a_learners_loss_does_not_keep_predict_from_reading_blocks(files):
    _, (_, (X, _)) = files
    runner = job()
    runner.loss_fn = lambda predicts, labels: (predicts - labels).square().mean()
    assert runner.predict(X).shape == (len(X), 1)


def test_a_run_goes_on_with_the_same_file_and_not_with_another(files, tmp_path):
    in_memory, from_disk = files
    train(whole := job(), from_disk)
    train(job(), from_disk, num_epochs=3, save_dir=tmp_path, save_every=1)
    X, y = in_memory[0]
    other = on_disk([X + 1, y], tmp_path / "other")
    with pytest.raises(CheckpointError, match="of another run: data"):
        train(job(), [other, from_disk[1]], save_dir=tmp_path, resume=True)
    train(again := job(), from_disk, save_dir=tmp_path, resume=True)
    assert again.histories == whole.histories
    assert all(map(torch.equal, state(again.model), state(whole.model)))
