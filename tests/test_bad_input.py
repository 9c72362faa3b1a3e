"""Bad input is told in one line that names it, and changes nothing."""

import numpy as np
import pytest
import torch
from bad_input import BAD, X, Y

from opnet import BinaryCrossEntropyLoss, Model_MLP_L2, Momentum, accuracy
from opnet.walk import state
from runners import RunnerV2_1

MANY_BYTES = 2**20


class World:
    """A small training that has run, its files, and what a bad call could change."""

    def __init__(self, directory):
        self.directory = directory
        self.model = Model_MLP_L2(2, 5, 1, generator=torch.Generator().manual_seed(0))
        self.optimizer = Momentum(0.5, self.model)
        self.loss = BinaryCrossEntropyLoss(self.model)
        self.runner = RunnerV2_1(self.model, self.optimizer, accuracy, self.loss)
        self.runner.train([X, Y], [X, Y], num_epochs=2, log_epochs=0, save_dir=directory / "run")
        (directory / "file").write_text("a file")

    def tensors(self):
        kept = self.optimizer.state_dict().values()
        return [
            t.numpy().tobytes() for t in (*state(self.model), *kept, torch.get_rng_state(), X, Y)
        ]

    def others(self):
        files = {path: content(path) for path in sorted(self.directory.rglob("*"))}
        numbers = [list(history) for history in self.runner.histories]
        told = (self.runner.kept_epoch, self.runner.stop, self.optimizer.lr)
        return files, numbers, told, str(np.random.get_state())


def content(path):
    """What must not change of a file; who has last held a lock may."""
    if not path.is_file() or path.name == ".lock":
        return path.lstat().st_mode
    size = path.stat().st_size
    return path.read_bytes() if size < MANY_BYTES else size


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def test_no_row_stands_twice():
    names = [row.name for row in BAD]
    assert sorted(set(names)) == sorted(names)


@pytest.mark.parametrize("row", BAD, ids=lambda row: row.name)
def test_bad_input_is_told_in_one_line_and_changes_nothing(world, row):
    row.given(world)
    tensors, others = world.tensors(), world.others()
    with pytest.raises(row.error, match=row.said) as caught:
        row.call(world)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500
    assert world.tensors() == tensors
    assert world.others() == others
