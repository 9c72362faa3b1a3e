"""Each moment of a save, as a kill would leave it: what is read is of one save, or refused."""

import logging
import os
import re
import shutil

import pytest
import torch

from opnet import (
    BatchGD,
    CheckpointError,
    LeakyReLU,
    Linear,
    Momentum,
    Sequential,
    checkpoint,
    load,
)
from opnet import Model_MLP_L2 as Net
from opnet.checkpoint import atomic
from opnet.describe import description
from opnet.walk import state


def filled(number, optimizer):
    """A model, and what its optimizer keeps, all of one number."""
    model = Net(2, 5, 1)
    memory = checkpoint.memory_of(optimizer(0.1, model))
    for tensor in (*state(model), *memory.values()):
        tensor.fill_(number)
    return model, memory


def saved(directory, number, optimizer=Momentum):
    model, memory = filled(number, optimizer)
    about = {"model": description(model)}
    checkpoint.save(directory, checkpoint.layers_of(model), memory, about)


def numbers(directory, verify):
    """What a load puts into model and optimizer; an optimizer that starts anew holds 0."""
    model = Net(2, 5, 1)
    optimizer = Momentum(0.1, model)
    checkpoint.load(directory, model, optimizer, verify=verify)
    kept = checkpoint.memory_of(optimizer).values()
    weights = {float(number) for tensor in state(model) for number in tensor.flatten()}
    return weights, {float(number) for tensor in kept for number in tensor.flatten()}


@pytest.fixture
def moments(tmp_path_factory, monkeypatch):
    """{moment: a copy of the directory} of what `work(directory)` does, told call by call."""

    def of(directory, work):
        copies = []

        def keep():
            copies.append(tmp_path_factory.mktemp("moment") / "copy")
            shutil.copytree(directory, copies[-1])

        def watched(call):
            def watching(path, *rest):
                keep()
                return call(path, *rest)

            return watching

        def half(path, data):
            path.write_bytes(data[: len(data) // 2])
            keep()
            path.unlink()
            write_new(path, data)

        write_new = atomic.write_new
        with monkeypatch.context() as patch:
            patch.setattr(atomic, "write_new", half)
            for name in ("put_in_place", "remove"):
                patch.setattr(atomic, name, watched(getattr(atomic, name)))
            work(directory)
        keep()
        return copies

    return of


REFUSED = re.compile(
    r"(\S+\.new: is left of a save, and no manifest.json says .*?; take .new off its name "
    r"to read it, or delete it to read those(; |$))+"
)
# (old, new): Momentum keeps something, BatchGD nothing
KINDS = [(Momentum, Momentum), (Momentum, BatchGD), (BatchGD, Momentum)]


def one_save(directory, kinds, verify=True):
    """Which of two saves is read: "old" or "new"; the optimizer's are of the same."""
    (number,), kept = numbers(directory, verify)
    assert kept == {0.0 if kinds[number == 2.0] is BatchGD else number}
    return "new" if number == 2.0 else "old"


def judge(copy, kinds):
    """What is read as it is, with verify=False, and without the manifest, which may be refused."""
    ends = [one_save(copy, kinds), one_save(copy, kinds, verify=False)]
    (copy / "manifest.json").unlink(missing_ok=True)
    try:
        return [*ends, one_save(copy, kinds)]
    except CheckpointError as error:
        return [*ends, "refused" if REFUSED.fullmatch(str(error)) else str(error)]


@pytest.mark.parametrize("kinds", KINDS, ids=lambda kinds: "-".join(k.__name__ for k in kinds))
def test_no_moment_of_a_save_is_read_as_a_mixture(kinds, moments, tmp_path):
    saved(tmp_path, 1.0, kinds[0])
    seen = [judge(copy, kinds) for copy in moments(tmp_path, lambda d: saved(d, 2.0, kinds[1]))]
    assert all(end[0] == end[1] for end in seen)  # verify=False reads what the manifest names
    before = [end for end in seen if end[0] == "old"]
    assert len(before) >= 4
    assert all(end == ["old"] * 3 for end in before)  # readable, with the manifest and without it
    assert seen[-1] == ["new"] * 3
    assert ["new", "new", "refused"] in seen


def test_no_moment_of_the_next_save_is_either(moments, tmp_path):
    saved(tmp_path, 1.0)
    for left in moments(tmp_path, lambda directory: saved(directory, 2.0)):
        for copy in moments(left, lambda directory: saved(directory, 2.0)):
            first, second, third = judge(copy, KINDS[0])
            assert first == second
            assert third in (first, "refused")


def test_the_first_save_beside_files_of_others_leaves_them_readable(moments, tmp_path):
    saved(tmp_path, 1.0, BatchGD)
    (tmp_path / "manifest.json").unlink()
    kinds = BatchGD, BatchGD
    seen = [judge(copy, kinds) for copy in moments(tmp_path, lambda d: saved(d, 2.0, BatchGD))]
    assert seen[:4] == [["old"] * 3] * 4


def test_a_save_that_was_killed_before_its_commit_does_not_stand_in_the_way(moments, tmp_path):
    saved(tmp_path, 1.0)
    (tmp_path / "manifest.json").unlink()
    for copy in moments(tmp_path, lambda directory: saved(directory, 2.0)):
        checkpoint.prepare(copy, Net(2, 5, 1))
        saved(copy, 3.0)
        assert numbers(copy, True) == ({3.0}, {3.0})


def test_both_ways_out_of_an_unfinished_save_are_true(moments, tmp_path):
    saved(tmp_path, 1.0)
    copies = moments(tmp_path, lambda directory: saved(directory, 2.0))
    halfway = {"fc2.pdparams.new", "optimizer.pdopt.new"}
    (between,) = (copy for copy in copies if {p.name for p in copy.glob("*.new")} == halfway)
    (between / "manifest.json").unlink()
    with pytest.raises(CheckpointError, match=REFUSED):
        numbers(between, True)
    with pytest.raises(CheckpointError, match=REFUSED):
        checkpoint.prepare(between, Net(2, 5, 1))  # a save would delete them
    for name in halfway:
        (between / name).rename(between / name.removesuffix(".new"))
    assert numbers(between, True) == ({2.0}, {2.0})


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_what_no_save_leaves_does_not_make_files_unreadable(make, tmp_path):
    saved(tmp_path, 1.0)
    (tmp_path / "manifest.json").unlink()
    make(tmp_path / "fc1.pdparams.new")
    assert numbers(tmp_path, True) == ({1.0}, {1.0})


def test_verify_false_makes_the_model_that_the_manifest_describes(tmp_path, caplog):
    model = Sequential(Linear(2, 3, "fc1"), LeakyReLU(0.1), Linear(3, 1, "fc2"))
    about = {"model": description(model)}
    checkpoint.save(tmp_path, checkpoint.layers_of(model), about=about)
    torch.save({"W": torch.ones(2, 3), "b": torch.ones(1, 3)}, tmp_path / "fc1.pdparams")
    with caplog.at_level(logging.WARNING, "opnet"):
        again = load(tmp_path, verify=False)
    assert description(again) == description(model)
    assert again.layers[0].params["W"].eq(1).all()
    assert "read without the sums of manifest.json" in caplog.text
