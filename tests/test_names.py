"""Names that a container finds for layers: what is saved can be loaded, or nothing is written."""

import pytest
import torch

from opnet import CheckpointError, Linear, Op, Sequential, checkpoint
from opnet.walk import state


class Holding(Sequential):
    """Holds each layer as the attribute of its name."""

    def __init__(self, **layers):
        for name, layer in layers.items():
            setattr(self, name, layer)
        super().__init__(*layers.values())


def of_class(name):
    return Sequential(type(name, (Linear,), {})(2, 1))


SAVED = {
    "letters of any script": lambda: Holding(schicht_ü=Linear(2, 2), 層=Linear(2, 1)),
    "upper and lower case": lambda: Holding(
        Ü=Linear(2, 2), ü=Linear(2, 2), Maß=Linear(2, 2), mass=Linear(2, 1)
    ),
    "a class of any script": lambda: of_class("Größe"),
    "a long nested name": lambda: Holding(**{"a" * 70: Sequential(Linear(2, 1, "b" * 70))}),
    "a long class": lambda: of_class("L" * 120),
    "the longest": lambda: of_class("L" * 198),
    "that of the optimizer": lambda: Holding(optimizer=Linear(2, 1)),
}


@pytest.mark.parametrize("make", SAVED.values(), ids=SAVED)
def test_what_is_saved_can_be_loaded(make, tmp_path):
    model, other = make(), make()
    for _ in range(2):
        checkpoint.save(checkpoint.prepare(tmp_path, model), checkpoint.layers_of(model))
    checkpoint.load(tmp_path, other)
    assert all(map(torch.equal, state(other), state(model)))


BY_CASE = "two files differ by upper and lower case only"
REFUSED = {
    "a way out": (
        lambda: Holding(**{"../evil": Linear(2, 1)}),
        r"names '../evil.pdparams', wanted",
    ),
    "a whole path": (
        lambda: Holding(**{"/nowhere/x": Linear(2, 1)}),
        "names '/nowhere/x.pdparams'",
    ),
    "a hidden file": (lambda: Holding(**{".lock": Linear(2, 1)}), "names '.lock.pdparams'"),
    "a space": (lambda: Holding(**{"a b": Linear(2, 1)}), "names 'a b.pdparams'"),
    "a new line": (lambda: Holding(**{"a\nb": Linear(2, 1)}), r"names 'a\\nb.pdparams'"),
    "half a letter": (lambda: Holding(**{"\ud800": Linear(2, 1)}), r"names '\\ud800.pdparams'"),
    "a letter in two parts": (lambda: Holding(**{"u\u0308": Linear(2, 1)}), "names 'u"),
    "letters that disks may fold": (lambda: Holding(**{"ﬁ": Linear(2, 1)}), "names 'ﬁ.pdparams'"),
    "one too long": (lambda: of_class("L" * 199), "names 'LLL"),
    "one too long in bytes": (lambda: of_class("層" * 67), "names '層層"),
    "case": (lambda: Holding(A=Sequential(Linear(2, 2, "B")), b=Linear(2, 1, "a.b")), BY_CASE),
}


@pytest.mark.parametrize(("make", "said"), REFUSED.values(), ids=REFUSED)
def test_a_name_that_no_file_can_have_is_refused_before_anything_is_written(make, said, tmp_path):
    model, directory = make(), tmp_path / "within"
    directory.mkdir()
    way_out = "give the layers other names"
    for write in (
        lambda: checkpoint.prepare(directory, model),
        lambda: checkpoint.save(directory, checkpoint.layers_of(model)),
    ):
        with pytest.raises(CheckpointError, match=f"within: {said}.*; {way_out}$"):
            write()
    assert [path.name for path in tmp_path.rglob("*") if path.name != ".lock"] == ["within"]


# --- names that other programs give to tensors, given by a learner


class Holds(Op):
    """y = x, with params of any name."""

    def __init__(self, **params):
        super().__init__("fc1")
        self.params = params

    def forward(self, inputs):
        return inputs

    def backward_inputs(self, grads):
        return grads


KEYS = {
    "as nn.Linear": {"weight": (3, 2), "bias": (3,)},
    "square": {"weight": (3, 3)},
    "as nn.BatchNorm": {"weight": (3,), "running_mean": (3,), "num_batches_tracked": ()},
    "twice in ours": {"_mean": (3,), "running_mean": (3,)},
}


@pytest.mark.parametrize("verify", [True, False])
@pytest.mark.parametrize("shapes", KEYS.values(), ids=KEYS)
def test_keys_of_other_programs_come_back_in_an_op_that_calls_them_so(shapes, verify, tmp_path):
    model, other = (
        Holds(**{key: fill(shape) for key, shape in shapes.items()})
        for fill in (torch.randn, torch.zeros)
    )
    for _ in range(2):
        checkpoint.save(checkpoint.prepare(tmp_path, model), checkpoint.layers_of(model))
    checkpoint.load(tmp_path, other, verify=verify)
    assert all(map(torch.equal, state(other), state(model)))
    (tmp_path / "manifest.json").unlink()
    checkpoint.load(tmp_path, other)


def test_files_of_one_save_are_named_as_they_are_where_they_do_not_fit(tmp_path):
    model = Holds(weight=torch.ones(3, 2), bias=torch.ones(3))
    checkpoint.save(tmp_path, checkpoint.layers_of(model))
    with pytest.raises(
        CheckpointError, match=r"holds \['bias', 'weight'\], model wants \['W', 'b'"
    ):
        checkpoint.load(tmp_path, Linear(2, 3, "fc1"))
