"""Every test starts from one seed and one thread: tiny tensors on many threads are slow."""

import signal
from pathlib import Path

import numpy as np
import pytest
import torch

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a job in the background has it
    signal.signal(signal.SIGINT, signal.default_int_handler)  # for the tests of Ctrl-C


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)
    torch.set_num_threads(1)


@pytest.fixture
def moons():
    """Train, dev and test rows of a small two-moons problem."""
    from opnet import make_moons, split

    return split(*make_moons(120, noise=0.2, seed=0), (60, 30, 30), seed=0)


@pytest.fixture
def job():
    """A fresh runner over Model_MLP_L2: job(lr=..., hidden=..., seed=...)."""
    from opnet import BatchGD, BinaryCrossEntropyLoss, Model_MLP_L2, accuracy
    from runners import RunnerV2_1

    def make(lr=1.0, hidden=5, seed=0):
        model = Model_MLP_L2(2, hidden, 1, generator=torch.Generator().manual_seed(seed))
        return RunnerV2_1(model, BatchGD(lr, model), accuracy, BinaryCrossEntropyLoss(model))

    return make


@pytest.fixture(scope="session")
def paddle():
    """Start and trajectory that Paddle itself computed for NNDL 4.2: data, weights, histories."""
    directory = Path(__file__).parent / "data" / "moons_noise_0.5"
    return np.load(directory / "start.npz"), np.load(directory / "trajectory.npz")


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def ran(capsys):
    """(exit code, stdout, stderr) of `python -m opnet` and these words."""
    from runners.command_line import main

    def run(*words):
        code = main([str(word) for word in words])
        return code, *capsys.readouterr()

    return run


@pytest.fixture(scope="session")
def moons_run(tmp_path_factory):
    """The directory of a `train` on two moons."""
    from command_lines import MOONS

    from runners.command_line import main

    out = tmp_path_factory.mktemp("moons")
    assert main(["train", *MOONS, "--out", str(out), "-q"]) == 0
    return out


@pytest.fixture(scope="session")
def flowers_run(tmp_path_factory):
    """The directory of a `train` on a CSV of three classes in words, flowers.csv beside it."""
    from command_lines import FLOWERS

    from runners.command_line import main

    where = tmp_path_factory.mktemp("flowers")
    (where / "flowers.csv").write_text(FLOWERS)
    how = ["--data", str(where / "flowers.csv"), "--target", "kind", "--epochs", "60"]
    assert main(["train", *how, "--out", str(where / "run"), "-q"]) == 0
    return where / "run"
