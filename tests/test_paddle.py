"""Paddle's own files are read as it wrote them, and what is written is what it would write."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from opnet import CheckpointError
from opnet.archive import unpacked
from opnet.paddle import NAMES, load_paddle, paddle_bytes

DATA = Path(__file__).parent / "data" / "paddle"
W = torch.from_numpy(np.load(DATA / "W.npy"))
b = torch.zeros(1, 5)


def same(found, wanted):
    if isinstance(wanted, torch.Tensor):
        return found.dtype == wanted.dtype and torch.equal(found, wanted)
    if isinstance(wanted, dict):
        return list(found) == list(wanted) and all(same(found[key], wanted[key]) for key in wanted)
    if isinstance(wanted, list):
        return len(found) == len(wanted) and all(map(same, found, wanted))
    return type(found) is type(wanted) and found == wanted


FILES = {
    "fc1.pdparams": {"W": W, "b": b},
    "fc1_p2.pdparams": {"W": W, "b": b},
    "tensor.pdtensor": W,
    "nested.pdparams": {"a": [W, b], "n": 3, "s": "x"},
    "dtypes.pdparams": {"h": W.bfloat16(), "i": torch.tensor([1, 2]), "z": torch.tensor(3.5)},
    "empty.pdparams": {},
}


@pytest.mark.parametrize(("name", "wanted"), FILES.items(), ids=FILES.keys())
def test_what_paddle_wrote_is_read(name, wanted):
    assert same(load_paddle(DATA / name), wanted)


@pytest.mark.parametrize("path", sorted(DATA.glob("*.pd*")), ids=lambda path: path.name)
def test_every_array_of_paddle_is_that_of_numpy(path):
    """The files are our own: here the real pickle may read them."""
    content = pickle.loads(path.read_bytes())
    if not isinstance(content, dict) or path.name in ("nested.pdparams", "dtypes.pdparams"):
        return
    content.pop(NAMES)
    assert same(load_paddle(path), {k: torch.from_numpy(a) for k, a in content.items()})


DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
DTYPES += [torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_what_is_written_is_read_again(dtype):
    base = (torch.arange(12).reshape(3, 4) % 2).to(dtype)
    tensors = {"W": base, "turned": base.T, "one": base[0, 1], "none": base[:0]}
    content, by = unpacked(paddle_bytes(tensors), "x")
    assert by == "paddle"
    assert list(content.pop(NAMES)) == list(tensors)
    assert same(content, tensors)


def test_the_bytes_are_those_of_paddle_but_for_its_names():
    real = pickle.loads((DATA / "dtypes.pdparams").read_bytes())
    ours = pickle.loads(paddle_bytes(FILES["dtypes.pdparams"]))
    assert list(real) == list(ours)
    for key in ("h", "i", "z"):
        assert (real[key].dtype, real[key].shape) == (ours[key].dtype, ours[key].shape)
        assert real[key].tobytes() == ours[key].tobytes()
    assert paddle_bytes({})[:2] == (DATA / "empty.pdparams").read_bytes()[:2]


def test_what_is_no_regular_file_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(DATA / "fc1.pdparams")
    (tmp_path / "directory").mkdir()
    (tmp_path / "empty").write_bytes(b"")
    rows = {
        "nothing": "no such file",
        "pipe": "not a regular file",
        "link": "a symbolic link",
        "directory": "not a regular file|Is a directory",
        "empty": "no checkpoint that can be read safely",
    }
    for name, said in rows.items():
        with pytest.raises(CheckpointError, match=said) as error:
            load_paddle(tmp_path / name)
        assert str(error.value).startswith(str(tmp_path))
