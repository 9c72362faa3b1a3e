"""Models come back from what others and opnet itself have written, or nothing changes."""

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from cases import CASES

import opnet
from opnet import (
    CheckpointError,
    Dropout,
    LayerNorm,
    Linear,
    Logistic,
    Model_MLP_L2,
    Op,
    Sequential,
    checkpoint,
    load,
    load_paddle,
    register,
    save_paddle,
)
from opnet.allowance import Allowance
from opnet.checkpoint import lock, manifest
from opnet.describe import description
from opnet.walk import state
from runners import RunnerV2_1

PADDLE = Path(__file__).parent / "data" / "paddle"


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def saved(model, directory):
    about = {"model": description(model)}
    directory = checkpoint.prepare(directory, model)
    checkpoint.save(directory, checkpoint.layers_of(model), about=about)


def loads(model, directory, **how):
    RunnerV2_1(model, None, None, None).load_model(directory, **how)


def equal(a, b):
    return len(a) == len(b) and all(map(torch.equal, a, b))


# --- made again from the manifest


OPS = [case for case in CASES if type(case.make()).__module__.startswith("opnet.")]


@pytest.mark.parametrize("case", OPS, ids=lambda case: case.name)
def test_every_op_of_opnet_comes_back_as_it_was_made(case, tmp_path):
    op = case.make()
    model = op if isinstance(op, Sequential) else Sequential(op, LayerNorm(3, "norm"))
    saved(model, tmp_path)
    before = torch.get_rng_state()
    again = load(tmp_path)
    assert torch.equal(torch.get_rng_state(), before)
    assert description(again) == description(model)
    assert equal(state(again), state(model))
    assert again.training


class Scale(Op):
    """y = factor x,  dy/dx = factor."""

    def __init__(self, factor, name=None):
        super().__init__(name)
        self.factor = factor

    def forward(self, inputs):
        self.outputs = inputs * self.factor
        return self.outputs

    def backward_inputs(self, grads):
        return grads * self.factor


class Forgetful(Scale):
    """Does not keep what it was made with."""

    def __init__(self, times):
        super().__init__(times)


def test_a_learners_class_comes_back_when_it_is_registered(tmp_path, monkeypatch):
    monkeypatch.setattr("opnet.restore._registered", {})
    model = Sequential(Linear(2, 3, "fc", generator=seeded()), Scale(2.5))
    saved(model, tmp_path)
    with pytest.raises(CheckpointError, match=r"class 'Scale' is not known: pass it to opnet.reg"):
        load(tmp_path)
    assert register(Scale) is Scale
    X = torch.randn(4, 2)
    assert torch.equal(load(tmp_path)(X), model(X))
    for unfit in (3, "Scale", torch.Tensor):
        with pytest.raises(TypeError, match=r"register: .* is no class with forward and backward"):
            register(unfit)


class Wide(Op):
    """y = x + m,  dy/dx = 1; m is the mean of n numbers that the constructor draws and reads."""

    def __init__(self, n, name=None):
        super().__init__(name)
        self.n = n
        self.m = float(torch.randn(n).mean()) + torch.linspace(0, 1, 5)[2].item()

    def forward(self, inputs):
        return inputs + self.m

    def backward_inputs(self, grads):
        return grads


def test_a_learners_constructor_may_read_numbers_and_not_take_all_memory(tmp_path, monkeypatch):
    monkeypatch.setattr("opnet.restore._registered", {})
    register(Wide)
    saved(Sequential(Linear(2, 3, "fc1"), Wide(4)), tmp_path)
    assert load(tmp_path).layers[1].n == 4
    rewritten(tmp_path, lambda c: c["about"]["model"]["layers"][1]["arguments"].update(n=10**11))
    with pytest.raises(CheckpointError, match=r"model take more than \d+ bytes; make it and use"):
        load(tmp_path)


# what makes n numbers, each in its own way
MADE = {
    "empty": torch.empty,
    "randn": torch.randn,
    "full": lambda n: torch.full((n,), 1.0),
    "arange": torch.arange,
    "eye": lambda n: torch.eye(n, 1),
    "repeat": lambda n: torch.ones(1).repeat(n),
    "clone": lambda n: torch.ones(1).expand(n).clone(),
    "sum": lambda n: torch.ones(1).expand(n) + 1,
    "cat": lambda n: torch.cat([torch.ones(1).expand(n // 2)] * 2),
    "outer": lambda n: torch.ones(n // 100, 1) * torch.ones(100),
    "sort": lambda n: torch.ones(1).expand(n).sort(),
    "a generator's": lambda n: torch.randn(n, generator=seeded()),
}


@pytest.mark.parametrize("make", MADE.values(), ids=MADE)
def test_an_allowance_is_for_every_way_to_make_a_tensor(make):
    with Allowance(2**20, ""):
        make(2**14)
    with Allowance(2**20, ""), pytest.raises(CheckpointError, match="more than 1048576 bytes"):
        make(2**40)


def test_an_allowance_is_for_all_tensors_together():
    with Allowance(2**20, ""):
        torch.ones(2**16)
        with pytest.raises(CheckpointError, match="more than 1048576 bytes"):
            [torch.ones(2**16) for _ in range(4)]


def test_a_load_does_not_import_the_compiler(tmp_path):
    saved(Sequential(Linear(2, 3, "fc1"), opnet.BatchNorm(3, "norm"), Logistic()), tmp_path)
    code = f"import sys, opnet; opnet.load({str(tmp_path)!r}); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch._dynamo", "sympy"} & {*done.stdout.split()}


def test_what_a_constructor_does_not_keep_can_be_saved_and_not_made_again(tmp_path):
    register(Forgetful)
    model = Sequential(Linear(2, 3, "fc"), Forgetful(2.0))
    saved(model, tmp_path)
    with pytest.raises(CheckpointError, match="Forgetful keeps no plain 'times'; make it and use"):
        load(tmp_path)
    other = Sequential(Linear(2, 3, "fc"), Forgetful(2.0))
    loads(other, tmp_path)
    assert equal(state(other), state(model))


def test_a_class_of_a_learner_is_not_taken_for_opnets_of_the_same_name(tmp_path):
    class Linear(opnet.Linear):
        """Another one."""

    saved(Sequential(Linear(2, 3, "fc")), tmp_path)
    with pytest.raises(CheckpointError, match="class 'Linear' is not known"):
        load(tmp_path)


# --- manifests that were made to harm


def rewritten(directory, change):
    """The manifest after `change`, with a sum that is right again."""
    path = directory / "manifest.json"
    content = json.loads(path.read_text())
    change(content)
    content.pop("sha256")
    path.write_text(json.dumps(content | {"sha256": manifest._sum(content)}))


def arguments(content):
    return content["about"]["model"]["arguments"]


HARMFUL = {
    "huge sizes": (lambda c: arguments(c).update(hidden_size=10**9), r"take more than \d+ bytes"),
    "other sizes": (lambda c: arguments(c).update(hidden_size=6), r"W is float32 \[2, 5\]"),
    "sizes of no use": (lambda c: arguments(c).update(hidden_size=-1), "input_size|output_size"),
    "another argument": (lambda c: arguments(c).update(evil=1), "unexpected keyword"),
    "a dtype": (lambda c: arguments(c).update(dtype="os"), "dtype is 'os', wanted one of"),
    "a class": (lambda c: c["about"]["model"].update({"class": "os.system"}), "'os.system' is not"),
    "no op": (lambda c: c["about"]["model"].update({"class": "opnet.BatchGD"}), "is not known"),
    "a private name": (
        lambda c: c["about"]["model"].update({"class": "opnet._ROOMS"}),
        "not known",
    ),
    "no model": (lambda c: c["about"].update(model=[1]), "describes a layer as"),
}


@pytest.mark.parametrize(("change", "said"), HARMFUL.values(), ids=HARMFUL)
def test_a_manifest_that_would_harm_is_refused_in_one_line(change, said, tmp_path):
    saved(Model_MLP_L2(2, 5, 1), tmp_path)
    rewritten(tmp_path, change)
    with pytest.raises(CheckpointError, match=said) as error:
        load(tmp_path)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 500


@pytest.mark.parametrize("text", ['{"a": NaN}', "1" * 10**5])
def test_a_manifest_that_is_none_is_refused(text, tmp_path):
    saved(Model_MLP_L2(2, 5, 1), tmp_path)
    (tmp_path / "manifest.json").write_text(text)
    for read in (load, lambda path: checkpoint.prepare(path, Model_MLP_L2(2, 5, 1))):
        with pytest.raises(CheckpointError, match=r"manifest.json: is damaged"):
            read(tmp_path)


def test_a_deep_model_is_refused(tmp_path):
    saved(Model_MLP_L2(2, 5, 1), tmp_path)
    deep = {"class": "opnet.Sequential", "arguments": {}, "layers": []}
    for _ in range(100):
        deep = {"class": "opnet.Sequential", "arguments": {}, "layers": [deep]}
    rewritten(tmp_path, lambda c: c["about"].update(model=deep))
    with pytest.raises(CheckpointError, match="describes a layer as"):
        load(tmp_path)


# --- files changed by hand, links, files of other programs


def test_a_file_changed_by_hand_is_refused_with_both_ways_out(tmp_path):
    model, other = Model_MLP_L2(2, 5, 1), Model_MLP_L2(2, 5, 1, generator=seeded(7))
    saved(model, tmp_path)
    torch.save(dict(other.fc1.params), tmp_path / "fc1.pdparams")
    with pytest.raises(CheckpointError, match=r"delete manifest.json or pass verify=False"):
        load(tmp_path)
    assert equal(state(load(tmp_path, verify=False))[:2], state(other)[:2])
    (tmp_path / "manifest.json").unlink()
    assert equal(state(load(tmp_path))[:2], state(other)[:2])


def test_what_the_manifest_does_not_name_is_ignored(tmp_path):
    saved(model := Model_MLP_L2(2, 5, 1), tmp_path)
    for name in ("act_fn1.pdparams", "fc3.pdparams", "optimizer.pdopt", "fc1.pdparams.new"):
        (tmp_path / name).write_bytes(b"junk")
    assert equal(state(load(tmp_path)), state(model))
    saved(model, tmp_path)
    assert not (tmp_path / "fc1.pdparams.new").exists()
    assert (tmp_path / "fc3.pdparams").read_bytes() == b"junk"


def test_another_models_checkpoint_is_named_with_what_differs(tmp_path):
    saved(Model_MLP_L2(2, 5, 1), tmp_path)
    unlike = Sequential(Linear(2, 5, "fc1"), Logistic(), Linear(5, 1, "last"))
    with pytest.raises(
        CheckpointError, match=r"holds \['fc1', 'fc2'\], model wants \['fc1', 'last'"
    ):
        loads(unlike, tmp_path)


def test_links_are_not_followed_and_not_written_through(tmp_path):
    saved(model := Model_MLP_L2(2, 5, 1), tmp_path / "here")
    target = tmp_path / "target"
    (tmp_path / "here" / "fc1.pdparams").rename(target)
    (tmp_path / "here" / "fc1.pdparams").symlink_to(target)
    before = target.read_bytes()
    with pytest.raises(CheckpointError, match=r"fc1.pdparams: a symbolic link, wanted the file"):
        load(tmp_path / "here")
    model.fc1.params["W"].add_(1)
    checkpoint.save(tmp_path / "here", checkpoint.layers_of(model))
    assert target.read_bytes() == before
    assert not (tmp_path / "here" / "fc1.pdparams").is_symlink()


def test_a_new_file_far_too_large_is_not_read(tmp_path):
    saved(model := Model_MLP_L2(2, 5, 1), tmp_path)
    with open(tmp_path / "fc1.pdparams.new", "wb") as file:
        file.truncate(10 * 2**30)
    saved(model, tmp_path)
    assert equal(state(load(tmp_path)), state(model))


@pytest.mark.parametrize("path", sorted(PADDLE.glob("fc1*.pdparams")), ids=lambda path: path.name)
def test_a_layer_of_paddles_is_read(path, tmp_path):
    (tmp_path / "fc.pdparams").write_bytes(path.read_bytes())
    model = Sequential(Linear(2, 5, "fc"))
    loads(model, tmp_path)
    assert np.array_equal(model.layers[0].params["W"].numpy(), np.load(PADDLE / "W.npy"))


def test_a_whole_net_of_paddles_is_one_file():
    model, wanted = load(PADDLE / "net_sd.pdparams"), load_paddle(PADDLE / "net_sd.pdparams")
    assert torch.equal(model.fc1.params["W"], wanted["fc1.weight"])
    assert torch.equal(model.fc2.params["b"], wanted["fc2.bias"].reshape(1, 1))
    other = Model_MLP_L2(2, 5, 1)
    loads(other, PADDLE / "net_sd.pdparams")
    assert equal(state(other), state(model))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_what_is_saved_for_paddle_is_read_again(dtype, tmp_path):
    model = Model_MLP_L2(2, 5, 1).to(dtype)
    paths = save_paddle(model, tmp_path)
    assert torch.equal(load_paddle(paths[0])["W"], model.fc1.params["W"])
    assert equal(state(load(tmp_path)), state(model))


def torch_net(inputs, hidden, outputs):
    net = torch.nn.Sequential()
    net.add_module("fc1", torch.nn.Linear(inputs, hidden))
    net.add_module("act", torch.nn.Sigmoid())
    net.add_module("fc2", torch.nn.Linear(hidden, outputs))
    return net


def test_layers_and_nets_of_torch_are_transposed(tmp_path):
    net, X = torch_net(2, 5, 1), torch.randn(4, 2)
    torch.save(net.state_dict(), tmp_path / "net.pt")
    for name in ("fc1", "fc2"):
        torch.save(getattr(net, name).state_dict(), tmp_path / f"{name}.pdparams")
    wanted = net(X).sigmoid().detach()
    for path in (tmp_path, tmp_path / "net.pt"):
        loads(model := Model_MLP_L2(2, 5, 1), path)
        for again in (model, load(path)):
            assert torch.allclose(again(X), wanted, atol=1e-6)


def test_a_square_matrix_of_torchs_must_be_told_which_way_round_it_is(tmp_path):
    net, X = torch_net(3, 3, 3), torch.randn(4, 3)
    torch.save(net.state_dict(), tmp_path / "net.pt")
    for read in (load, lambda path: loads(Model_MLP_L2(3, 3, 3), path)):
        with pytest.raises(CheckpointError, match=r"square .*transpose=True .*transpose=False"):
            read(tmp_path / "net.pt")
    there = load(tmp_path / "net.pt", transpose=True)
    assert torch.allclose(there(X), net(X).sigmoid(), atol=1e-6)
    plain = load(tmp_path / "net.pt", transpose=False)
    assert torch.equal(plain.fc1.params["W"], net.fc1.weight)


def test_what_cannot_be_verified_is_said_once(tmp_path, caplog):
    saved(Model_MLP_L2(2, 5, 1), tmp_path)
    with caplog.at_level(logging.WARNING, "opnet"):
        load(tmp_path)
        assert not caplog.records
        (tmp_path / "manifest.json").unlink()
        torch.save({}, tmp_path / "Logistic.pdparams")  # the book's, of an activation
        load(tmp_path)
    (record,) = caplog.records
    said = record.getMessage()
    assert "read without manifest.json" in said
    assert "Logistic.pdparams ignored" in said


# --- two writers


HOLD = """
import sys, time
from pathlib import Path
from opnet.checkpoint import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    root = str(Path(__file__).parents[1])
    environment = os.environ | {"PYTHONPATH": root}
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, env=environment
    )
    assert other.stdout.readline() == b"held\n"
    yield other
    other.kill()
    other.wait()
    other.stdout.close()


def test_a_second_writer_waits_and_is_told_who_the_first_is(holder, tmp_path, monkeypatch):
    assert lock.SECONDS_TO_WAIT == 10
    monkeypatch.setattr(lock, "SECONDS_TO_WAIT", 0.3)
    model = Model_MLP_L2(2, 5, 1)
    with pytest.raises(CheckpointError, match=rf"process {holder.pid} on .* is writing here"):
        saved(model, tmp_path)
    holder.kill()  # and its lock is gone
    holder.wait()
    saved(model, tmp_path)
    assert equal(state(load(tmp_path)), state(model))


def test_nobody_else_writes_where_a_run_does(holder, moons, job, tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "SECONDS_TO_WAIT", 0.3)
    with pytest.raises(CheckpointError, match=f"process {holder.pid}"):
        job().train(*moons[:2], num_epochs=3, log_epochs=0, save_dir=tmp_path)
    assert not list(tmp_path.glob("*.pdparams"))


def test_dropout_comes_back_with_its_share():
    assert description(Dropout(0.25))["arguments"]["p"] == 0.25
