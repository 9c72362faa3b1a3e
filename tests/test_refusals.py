"""What a checkpoint cannot hold or give back is refused in one line with the way out; all stays."""

import json
import os

import pytest
import torch

from opnet import (
    CheckpointError,
    Linear,
    Model_MLP_L2,
    Momentum,
    Sequential,
    checkpoint,
    load,
    save_paddle,
)
from opnet.checkpoint import manifest
from opnet.checkpoint.run_state import RunState, read_state, save_state
from opnet.describe import description
from opnet.walk import state

ELSEWHERE = "choose another directory or empty this one"
AS_THEY_ARE = "to read the files as they are, delete manifest.json or pass verify=False"


@pytest.fixture
def model():
    return Model_MLP_L2(2, 5, 1, generator=torch.Generator().manual_seed(1))


def saved(model, directory):
    about = {"model": description(model)}
    checkpoint.save(directory, checkpoint.layers_of(model), about=about)
    return directory


def refused(said, call, *args, kind=CheckpointError, **how):
    with pytest.raises(kind, match=said) as error:
        call(*args, **how)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 1500
    return str(error.value)


# --- ways out, and that they are some


def test_the_ways_out_of_a_damaged_manifest_are_true(model, tmp_path):
    (saved(model, tmp_path) / "manifest.json").write_text("{")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert refused("manifest.json: is damaged", load, tmp_path).endswith(f"; {AS_THEY_ARE}")
    for write in (checkpoint.prepare, lambda where, model: save_paddle(model, where)):
        assert refused("is damaged", write, tmp_path, model).endswith(f"; {ELSEWHERE}")
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert all(map(torch.equal, state(load(tmp_path, verify=False)), state(model)))
    (tmp_path / "manifest.json").unlink()
    assert all(map(torch.equal, state(load(tmp_path)), state(model)))
    for path in tmp_path.iterdir():
        path.unlink()
    saved(model, checkpoint.prepare(tmp_path, model))


@pytest.mark.parametrize("keep", ["manifest.json", "fc2.pdparams"])
@pytest.mark.parametrize("damage", [lambda p: p.write_text("x"), lambda p: p.mkdir(), os.mkfifo])
def test_a_place_whose_files_are_damaged_is_refused_with_the_way_out(damage, keep, model, tmp_path):
    saved(model, tmp_path)
    for name in {"manifest.json", "fc1.pdparams"} - {keep}:
        (tmp_path / name).unlink()
    damage(tmp_path / "fc1.pdparams")
    message = refused("fc1.pdparams: ", checkpoint.prepare, tmp_path, model)
    assert message.count(ELSEWHERE) == 1
    assert message.endswith(ELSEWHERE)


def test_a_damaged_run_is_not_advised_to_be_read_as_it_is(tmp_path):
    save_state(tmp_path, RunState({"W": torch.ones(2)}, {}))
    where = tmp_path / "resume"
    (where / "run.pdstate").write_bytes(b"x")
    assert refused("damaged or", read_state, tmp_path).endswith(f"; to begin anew, delete {where}")
    (where / "manifest.json").write_text("{")
    assert refused("is damaged", read_state, tmp_path).endswith(f"; to begin anew, delete {where}")


@pytest.mark.parametrize("name", ["fc1.pdparams.new", "manifest.json.new", "manifest.json"])
def test_a_directory_in_the_place_of_a_file_is_named(name, model, tmp_path):
    (tmp_path / name).mkdir()
    way_out = ELSEWHERE if name == "manifest.json" else "move it away"
    refused(f"{name}: (is a directory|not a regular file).*; {way_out}$", saved, model, tmp_path)
    (tmp_path / name).rmdir()
    assert load(saved(model, tmp_path))


@pytest.mark.parametrize("name", ["fc1.pdparams.new", "manifest.json.new"])
@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("nowhere")])
def test_a_pipe_or_a_link_in_the_place_of_a_new_file_is_no_obstacle(make, name, model, tmp_path):
    make(tmp_path / name)
    assert all(map(torch.equal, state(load(saved(model, tmp_path))), state(model)))


def test_a_directory_of_no_file_of_this_save_is_left_alone(model, tmp_path):
    (tmp_path / "other.pdparams.new").mkdir()
    saved(model, tmp_path)
    assert (tmp_path / "other.pdparams.new").is_dir()


# --- what the manifest says of the tensors


def kinds(name, **changed):
    return lambda content: content["files"][name]["tensors"].update(changed)


UNLIKE = {
    "a shape": (kinds("fc1.pdparams", W="float32 [2, 6]"), r"fc1.*W is float32 \[2, 5\], manifest"),
    "a dtype": (kinds("fc2.pdparams", b="float64 [1, 1]"), r"fc2.*b is float32 \[1, 1\], manifest"),
    "0-d": (kinds("fc2.pdparams", b="float32 []"), r"manifest.json wants float32 \[\]"),
    "a buffer": (kinds("fc1.pdparams", n="int64 []"), r"manifest.json wants \['W', 'b', 'n'\]"),
    "a huge shape": (kinds("fc1.pdparams", W=f"float32 [{'9' * 10**5}]"), "wants float32 .999"),
    "a huge key": (kinds("fc1.pdparams", **{"\n" * 10**5: "float32 []"}), "manifest.json wants "),
    "a number": (kinds("fc1.pdparams", W=3), "fc1.pdparams has no list of tensors"),
    "a list": (lambda c: c["files"]["fc1.pdparams"].update(tensors=["W"]), "no list of tensors"),
    "a size": (lambda c: c["files"]["fc1.pdparams"].update(size=10**6), "fc1.pdparams: damaged"),
    "a huge size": (lambda c: c["files"]["fc1.pdparams"].update(size=10**300), "has no size"),
    "a device": (
        lambda c: c["about"]["model"]["arguments"].update(device="meta"),
        r"fc1: W is float32 \[2, 5\], wanted a dense tensor that holds",
    ),
    "a long reason": (
        lambda c: c["about"]["model"].update(arguments=None, why="x" * 10**5),
        "cannot be made again",
    ),
    "a long number": (
        lambda c: c["about"]["model"]["arguments"].update(hidden_size=10**30),
        "'size' failed to unpack",
    ),
}


@pytest.mark.parametrize("save", [saved, save_paddle])
@pytest.mark.parametrize(("change", "said"), UNLIKE.values(), ids=UNLIKE)
def test_what_the_manifest_says_of_the_tensors_is_compared(change, said, save, model, tmp_path):
    save(model, tmp_path)
    content = json.loads((tmp_path / "manifest.json").read_text())
    change(content)
    del content["sha256"]
    (tmp_path / "manifest.json").write_text(
        json.dumps(content | {"sha256": manifest._sum(content)})
    )
    refused(said, load, tmp_path)


PLAIN = [torch.float16, torch.bfloat16, torch.float64, torch.bool]
PLAIN += [torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8]


@pytest.mark.parametrize("save", [saved, save_paddle])
@pytest.mark.parametrize("shape", [(), (2, 3), (0, 3)])
@pytest.mark.parametrize("dtype", PLAIN, ids=str)
def test_a_buffer_of_every_kind_comes_back(dtype, shape, save, tmp_path):
    model, other = (Sequential(Linear(2, 3, "fc1")) for _ in range(2))
    model.layers[0].buffers["n"] = torch.ones(shape, dtype=dtype)
    other.layers[0].buffers["n"] = torch.zeros(shape, dtype=dtype)
    save(model, tmp_path)
    checkpoint.load(tmp_path, other)
    assert all(map(torch.equal, state(other), state(model)))


# --- what no file of a layer can hold


UNFIT = {
    "complex": (torch.ones(2, dtype=torch.complex64), r"c is complex64 \[2\], wanted a dense"),
    "float8": (torch.ones(2).to(torch.float8_e4m3fn), r"c is float8_e4m3fn \[2\], wanted a dense"),
    "uint16": (torch.ones(2).to(torch.uint16), r"c is uint16 \[2\], wanted a dense"),
    "sparse": (torch.ones(2, 2).to_sparse(), r"c is float32 \[2, 2\], wanted a dense"),
    "meta": (torch.ones(2, device="meta"), r"c is float32 \[2\], wanted a dense"),
    "a number": (3, "c is a int, wanted a dense"),
    "None": (None, "c is a NoneType, wanted a dense"),
    "expanded": (
        torch.ones(1, 2).expand(3, 2),
        r"c is float32 \[3, 2\], .* one value in many places",
    ),
}


@pytest.mark.parametrize(
    "save", [checkpoint.prepare, lambda where, model: save_paddle(model, where)]
)
@pytest.mark.parametrize(("value", "said"), UNFIT.values(), ids=UNFIT)
def test_what_a_file_cannot_give_back_is_not_written(value, said, save, tmp_path):
    model = Sequential(Linear(2, 3, "fc1"))
    saved(model, tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    model.layers[0].buffers["c"] = value
    refused(f"^fc1: {said}", save, tmp_path, model, kind=TypeError)
    refused(f"^fc1: {said}", checkpoint.load, tmp_path, model, kind=TypeError)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("key", [3, None, ("a", 1)])
def test_a_key_that_is_no_string_is_not_written(key, tmp_path):
    model = Sequential(Linear(2, 3, "fc1"))
    model.layers[0].buffers[key] = torch.ones(1)
    refused("fc1: a key of its tensors is", checkpoint.prepare, tmp_path, model, kind=TypeError)


class Keeping:
    """An optimizer of a learner's that keeps `state`."""

    def __init__(self, state):
        self.state_dict = lambda: state

    def load_state(self, state):
        pass


@pytest.mark.parametrize(
    ("kept", "said"),
    [
        ({"step": 3}, "step is a int, wanted a dense"),
        ({"step": None}, "step is a NoneType, wanted a dense"),
        ({("fc1", "W"): torch.ones(1)}, r"a key of its tensors is \('fc1', 'W'\), wanted a string"),
        ({"c": torch.ones(1, 2).expand(3, 2)}, "one value in many places"),
        ([torch.ones(1)], "state_dict gives a list, wanted a dict of tensors"),
        (None, "state_dict gives a NoneType, wanted a dict of tensors"),
    ],
)
def test_what_an_optimizer_keeps_is_tensors_by_name(kept, said):
    refused(f"^Keeping: .*{said}", checkpoint.memory_of, Keeping(kept), kind=TypeError)


@pytest.mark.parametrize("path", ["\ud800", "a/\ud800/b"])
def test_a_path_that_no_disk_can_have_is_refused_at_the_door(path, model):
    for call in (load, lambda path: save_paddle(model, path)):
        refused(r"is .*\\ud800.*, wanted a path", call, path, kind=ValueError)


def test_a_run_that_can_go_on_outlives_the_way_out_of_damaged_files_beside_it(model, tmp_path):
    saved(model, tmp_path)
    save_state(tmp_path, RunState({"W": torch.ones(2)}, {}))
    way_out = (
        f"choose another directory or delete the files of this one, all but {tmp_path / 'resume'}$"
    )
    for damage in ("fc1.pdparams", "manifest.json"):
        (tmp_path / damage).write_bytes(b"x")
        refused(f"{damage}: .*; {way_out}", checkpoint.prepare, tmp_path, model)
    refused(f"; {way_out}", checkpoint.prepare, tmp_path, Sequential(Linear(2, 3, "other")))
    for path in tmp_path.iterdir():
        if path.is_file():
            path.unlink()
    saved(model, checkpoint.prepare(tmp_path, model))
    assert read_state(tmp_path).tensors["W"].tolist() == [1, 1]


@pytest.mark.parametrize("model", [None, {"a": 1}, "net", Linear])
def test_what_is_no_model_is_not_written(model, tmp_path):
    refused("save_paddle: model is .*, wanted", save_paddle, model, tmp_path, kind=TypeError)
    assert not list(tmp_path.iterdir())


# --- a copy that fails half-way


def test_a_tensor_that_cannot_be_written_to_leaves_the_others_as_they_were(model, tmp_path):
    saved(model, tmp_path)
    other = Model_MLP_L2(2, 5, 1)
    with torch.inference_mode():
        other.fc2.params["W"] = torch.ones(5, 1)
    before = [tensor.clone() for tensor in state(other)]
    refused("cannot be put into place", checkpoint.load, tmp_path, other)
    assert all(map(torch.equal, state(other), before))


def test_an_optimizer_that_does_not_take_what_it_kept_leaves_the_model_as_it_was(model, tmp_path):
    memory = checkpoint.memory_of(Momentum(0.1, model))
    checkpoint.save(tmp_path, checkpoint.layers_of(model), memory)
    other = Model_MLP_L2(2, 5, 1)
    optimizer = Momentum(0.1, other)

    def fails(state):
        raise KeyError("velocity")

    optimizer.load_state = fails
    before = [tensor.clone() for tensor in state(other)]
    refused("cannot be put into place: 'velocity'", checkpoint.load, tmp_path, other, optimizer)
    assert all(map(torch.equal, state(other), before))
