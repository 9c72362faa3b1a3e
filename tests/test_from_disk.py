"""Training on rows that are read block by block is training on the same rows in memory."""

import copy
import pickle
from threading import enumerate as enumerate_threads

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
from opnet.walk import every_part, state
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


class Failing:
    """Rows whose fifth block comes from `fault` from the fourth epoch on."""

    def __init__(self, rows, fault):
        self.rows, self.fault, self.reads = rows, fault, 0

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, rows):
        self.reads += rows.start == 4 * BLOCK
        return self.fault(self.rows[rows]) if self.reads == 4 else self.rows[rows]


def gone(part):
    raise OSError("the disk has gone")


@pytest.mark.parametrize(
    ("fault", "error", "said"),
    [
        (gone, OSError, "the disk has gone"),
        (lambda part: part[:-1], ValueError, r"^train_set: X\[28:35\] has shape \[6, 2\], wanted"),
        (lambda part: part[:, :1], ValueError, r"^train_set: X\[28:35\] has shape \[7, 1\], wan"),
        (lambda part: part * 1j, TypeError, r"^train_set: X\[28:35\] is torch.complex64, the"),
        (lambda part: part * torch.nan, ValueError, r"^train_set: X\[28, 0\] is nan"),
    ],
    ids=["an error", "fewer rows", "fewer columns", "another dtype", "nan"],
)
def test_rows_that_fail_midway_end_the_run_with_what_was_done(files, fault, error, said):
    ((X, y), dev_rows), _ = files
    train(plain := job(), ([X, y], dev_rows), num_epochs=3)
    runner = job()
    with pytest.raises(error, match=said) as caught:
        train(runner, ([Failing(X, fault), y], dev_rows))
    assert error is not OSError or caught.value.__notes__ == ["while train_set: X[28:35] was read"]
    assert runner.histories == plain.histories
    assert runner.kept_epoch == plain.kept_epoch
    assert all(map(torch.equal, state(runner.model), state(plain.model)))
    assert not [thread for thread in enumerate_threads() if thread.name.startswith("opnet-rows")]
    assert all(getattr(part, "_memory", None) is None for part in every_part(runner.loss_fn))
    train(runner, ([X, y], dev_rows), num_epochs=1)


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


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda rows: pickle.loads(pickle.dumps(rows))])
def test_a_copy_reads_its_own_file(copied, tmp_path):
    for value in (1.0, 2.0):
        np.save(tmp_path / f"{value}.npy", np.full((3, 2), value, np.float32))
    first = from_npy(tmp_path / "1.0.npy")
    again = copied(first)
    del first
    other = from_npy(tmp_path / "2.0.npy")
    assert (again[0:1].tolist(), other[0:1].tolist()) == ([[1.0, 1.0]], [[2.0, 2.0]])
