"""Checkpoints: what is written, read and refused; a model changes as a whole or not at all."""

import io
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from opnet import (
    CheckpointError,
    Linear,
    Logistic,
    Model_MLP_L2,
    Sequential,
    accuracy,
    load,
    make_moons,
)
from opnet import checkpoint as checkpoints
from opnet.walk import state


def saved(model, directory):
    return checkpoints.save(checkpoints.prepare(directory, model), checkpoints.layers_of(model))


def saved_alone(model, directory):
    """As the book writes: the files of the layers and no manifest."""
    saved(model, directory)
    (directory / "manifest.json").unlink()


@pytest.fixture
def model():
    return Model_MLP_L2(2, 5, 1, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def other():
    return Model_MLP_L2(2, 5, 1, generator=torch.Generator().manual_seed(2))


def test_a_file_a_layer_that_torch_reads_alone(model, tmp_path):
    paths = saved(model, tmp_path / "deep" / "down")
    assert [path.name for path in paths] == ["fc1.pdparams", "fc2.pdparams"]
    assert sorted(path.name for path in paths[0].parent.iterdir()) == [
        ".lock",
        "fc1.pdparams",
        "fc2.pdparams",
        "manifest.json",
    ]
    for path, layer in zip(paths, (model.fc1, model.fc2), strict=True):
        tensors = torch.load(path, weights_only=True)
        assert tensors.keys() == layer.params.keys()
        assert all(torch.equal(tensors[key], layer.params[key]) for key in tensors)


def test_load_restores_every_bit_in_place(model, other, tmp_path):
    saved(model, tmp_path)
    addresses = [tensor.data_ptr() for tensor in state(other)]
    checkpoints.load(tmp_path, other)
    assert all(map(torch.equal, state(other), state(model)))
    assert [tensor.data_ptr() for tensor in state(other)] == addresses


@pytest.mark.parametrize(("hidden", "dtype"), [(1, torch.float32), (7, torch.float64)])
def test_opnet_load_reads_the_sizes_from_the_files(hidden, dtype, tmp_path):
    model = Model_MLP_L2(3, hidden, 2, dtype=dtype)
    saved(model, tmp_path)
    rng = torch.get_rng_state()
    again = load(tmp_path)
    X = torch.randn(4, 3, dtype=dtype, generator=torch.Generator())
    assert torch.equal(again(X), model(X))
    assert torch.equal(torch.get_rng_state(), rng)


def test_views_and_gradients_do_not_travel(tmp_path):
    big = torch.randn(100_000)
    model = Sequential(Linear(2, 3, "fc1"), Logistic())
    model.layers[0].params["W"] = big[:6].reshape(3, 2).T
    model.layers[0].buffers["seen"] = torch.tensor(3)
    (path,) = saved(model, tmp_path)
    assert path.stat().st_size < 10_000
    assert torch.load(path, weights_only=True).keys() == {"W", "b", "seen"}


def test_the_same_weights_give_the_same_bytes_under_any_path(model, tmp_path):
    a, b = saved(model, tmp_path / "a"), saved(model, tmp_path / "longer name")
    assert [path.read_bytes() for path in a] == [path.read_bytes() for path in b]


# --- files that do not fit


class Canary:
    """A pickle that touches a file when it is run."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def torch_bytes(value):
    stream = io.BytesIO()
    torch.save(value, stream)
    return stream.getvalue()


def test_a_refused_file_is_said_in_one_line_without_advice_to_read_it_unsafely(tmp_path):
    (tmp_path / "fc1.pdparams").write_bytes(pickle.dumps({"W": Canary("x")}, 4))
    (tmp_path / "fc2.pdparams").write_bytes(torch_bytes({"W": Canary("x")}))
    code = f"import opnet\ntry: opnet.load({str(tmp_path)!r})\nexcept ValueError as e: print(e)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    first, second = done.stdout.strip().split("; ")
    assert first.endswith(
        "fc1.pdparams: no checkpoint that can be read safely: "
        "it names posix.mkdir, which is no tensor"
    )
    assert second.endswith("it names posix.mkdir, which is no tensor")


@pytest.mark.parametrize(
    "W",
    [
        torch.ones(2, 5, dtype=torch.int64),
        torch.ones(2, 5, dtype=torch.complex64),
        torch.ones(2, 5).to(torch.float8_e4m3fn),
        torch.ones(2, 0),
        torch.ones(2, 5).to_sparse(),
        torch.ones(2, 5, device="meta"),
    ],
    ids=["int64", "complex", "float8", "empty", "sparse", "meta"],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_tensors_of_another_kind_are_a_checkpoint_error(model, other, tmp_path, W):
    saved_alone(model, tmp_path)
    torch.save({"W": W, "b": torch.zeros(1, 5)}, tmp_path / "fc1.pdparams")
    for read in (load, lambda directory: checkpoints.load(directory, other)):
        with pytest.raises(CheckpointError) as error:
            read(tmp_path)
        assert len(str(error.value)) < 400


def test_other_files_are_ignored(model, other, tmp_path):
    saved_alone(model, tmp_path)
    for name in ("README", "fc1", "fc1.pdparams.bak", "loss.png", "Logistic.pdparams"):
        (tmp_path / name).write_text("not parameters")
    checkpoints.load(tmp_path, other)
    assert all(map(torch.equal, state(other), state(model)))


def test_opnet_load_wants_two_linear_layers_that_fit(tmp_path):
    saved_alone(Sequential(Linear(2, 5, "fc1"), Linear(4, 1, "fc2")), tmp_path)
    with pytest.raises(CheckpointError, match=r"fc2.pdparams: W is float32 \[4, 1\], model wants"):
        load(tmp_path)
    torch.save({"w": torch.ones(1)}, tmp_path / "fc1.pdparams")
    with pytest.raises(CheckpointError, match="no two matrices W"):
        load(tmp_path)


def test_the_shipped_checkpoint_loads_and_separates_the_moons():
    model = load(Path(__file__).parents[1] / "checkpoints" / "moons")
    X, y = make_moons(2000, noise=0.2, seed=1)
    assert accuracy(model(X), y) > 0.95
