"""Checkpoints: what is written, read and refused; a model changes as a whole or not at all."""

import io
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch

from opnet import (
    CheckpointError,
    Linear,
    Logistic,
    Model_MLP_L2,
    NonFiniteError,
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


def unchanged(model, before):
    return all(map(torch.equal, state(model), before))


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


def test_nothing_is_left_of_the_writing_and_an_error_keeps_the_old_file(
    model, tmp_path, monkeypatch
):
    (first, second) = saved(model, tmp_path)
    before = first.read_bytes(), second.read_bytes()
    model.fc1.params["W"].add_(1)

    def full(*_):
        raise OSError(28, "No space left on device")

    names = sorted(os.listdir(tmp_path))
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointError, match=r"manifest.json.new: cannot be written: No space"):
        saved(model, tmp_path)
    assert (first.read_bytes(), second.read_bytes()) == before
    assert sorted(os.listdir(tmp_path)) == names


def test_weights_that_are_not_finite_are_not_written(model, tmp_path):
    (first, _) = saved(model, tmp_path)
    before = first.read_bytes()
    model.fc2.params["b"].fill_(torch.nan)
    with pytest.raises(NonFiniteError, match="nan or infinite values in b of fc2"):
        saved(model, tmp_path)
    assert first.read_bytes() == before


def test_a_directory_of_another_model_is_refused(model, tmp_path):
    saved(model, tmp_path)
    wide = Model_MLP_L2(2, 6, 1)
    with pytest.raises(
        CheckpointError, match=r"another model: fc1.pdparams: W is float32 \[2, 5\]"
    ):
        checkpoints.prepare(tmp_path, wide)
    with pytest.raises(CheckpointError, match=r"holds fc2.pdparams, which this model has not"):
        checkpoints.prepare(tmp_path, Sequential(Linear(2, 5, "fc1"), Logistic()))
    assert unchanged(load(tmp_path), state(model))


def test_a_save_dir_that_is_a_file_is_refused(model, tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(CheckpointError, match=r"cannot be made: (File exists|Not a directory)"):
            checkpoints.prepare(path, model)


def test_a_directory_that_may_not_be_written_is_refused(model, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may everywhere
    with pytest.raises(CheckpointError, match="cannot be written to"):
        checkpoints.prepare(tmp_path, model)


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


def flipped_pickle(value):
    """A torch zip whose pickle is not one."""
    source, target = io.BytesIO(torch_bytes(value)), io.BytesIO()
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            new.writestr(name, b"junk" if name.endswith("data.pkl") else old.read(name))
    return target.getvalue()


GOOD = {"W": torch.ones(5, 1), "b": torch.ones(1, 1)}
SAFELY = "no checkpoint that can be read safely"
BAD_FILES = {
    "empty": (b"", SAFELY),
    "text": (b"hello\n", SAFELY),
    "HTML": (b"<!DOCTYPE html><html></html>", SAFELY),
    "truncated": (torch_bytes(GOOD)[:-100], "no whole archive"),
    "a broken pickle": (flipped_pickle(GOOD), SAFELY),
    "a list": (torch_bytes([1, 2]), "holds a list, wanted a dict of tensors"),
    "a dict of numbers": (torch_bytes({"W": 1.0}), "'W' is a float, wanted a Tensor"),
    "a shape": (
        torch_bytes({**GOOD, "W": torch.ones(5, 2)}),
        r"W is float32 \[5, 2\], model wants",
    ),
    "a shape that broadcasts": (torch_bytes({**GOOD, "b": torch.ones(1)}), r"b is float32 \[1\]"),
    "a dtype": (torch_bytes({**GOOD, "b": torch.ones(1, 1).double()}), r"b is float64 \[1, 1\]"),
    "a key too few": (
        torch_bytes({"W": torch.ones(5, 1)}),
        r"holds \['W'\], model wants \['W', 'b'\]",
    ),
    "a key too many": (torch_bytes({**GOOD, "c": torch.ones(1)}), r"holds \['W', 'b', 'c'\]"),
    "nan": (torch_bytes({**GOOD, "b": torch.full((1, 1), torch.nan)}), "nan or inf.* in b of fc2"),
}


@pytest.mark.parametrize(("content", "said"), BAD_FILES.values(), ids=BAD_FILES.keys())
def test_a_file_that_does_not_fit_is_named_and_the_model_stays(
    model, other, tmp_path, content, said
):
    saved_alone(model, tmp_path)
    (tmp_path / "fc2.pdparams").write_bytes(content)
    before = [tensor.clone() for tensor in state(other)]
    with pytest.raises(CheckpointError, match=said) as error:
        checkpoints.load(tmp_path, other)
    assert "fc2" in str(error.value)
    assert "\n" not in str(error.value)
    assert unchanged(other, before)


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


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("wrap", [pickle.dumps, lambda value, _: torch_bytes(value)])
def test_code_in_a_file_is_refused_and_not_run(model, other, tmp_path, wrap, protocol, monkeypatch):
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    saved_alone(model, tmp_path)
    content = wrap({"W": Canary(tmp_path / "was run"), "b": 1}, protocol)
    (tmp_path / "fc1.pdparams").write_bytes(content)
    before = [tensor.clone() for tensor in state(other)]
    with pytest.raises(CheckpointError, match=f"fc1.pdparams: {SAFELY}"):
        checkpoints.load(tmp_path, other)
    assert not (tmp_path / "was run").exists()
    assert unchanged(other, before)


def test_what_is_missing_is_named_all_of_it(model, other, tmp_path):
    before = [tensor.clone() for tensor in state(other)]
    with pytest.raises(CheckpointError, match="nowhere: no such directory"):
        checkpoints.load(tmp_path / "nowhere", other)
    with pytest.raises(
        CheckpointError, match=r"fc1.pdparams: no such file; .*fc2.pdparams: no such"
    ):
        checkpoints.load(tmp_path, other)
    saved(model, tmp_path)
    (tmp_path / "fc2.pdparams").unlink()
    with pytest.raises(CheckpointError, match=r"^[^;]*fc2.pdparams: no such file$"):
        checkpoints.load(tmp_path, other)
    (tmp_path / "fc2.pdparams").mkdir()
    with pytest.raises(CheckpointError, match=r"fc2.pdparams: not a regular file"):
        checkpoints.load(tmp_path, other)
    (tmp_path / "fc2.pdparams").rmdir()
    os.mkfifo(tmp_path / "fc2.pdparams")
    with pytest.raises(CheckpointError, match=r"fc2.pdparams: not a regular file"):
        checkpoints.load(tmp_path, other)
    assert unchanged(other, before)


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
