"""A model comes back as it was saved, or not at all where its constructor makes another."""

import math

import pytest

from opnet import (
    CheckpointError,
    LeakyReLU,
    Linear,
    Logistic,
    Model_MLP_L2,
    Op,
    Sequential,
    Tanh,
    checkpoint,
    load,
)
from opnet.describe import description


def saved(model, directory):
    about = {"model": description(model)}
    checkpoint.save(directory, checkpoint.layers_of(model), about=about)


def other_op(model):
    model.layers[1] = model.act_fn1 = Tanh()


def other_number(model):
    model.layers[1].negative_slope = 0.2


class Net(Sequential):
    """Makes its own layers."""

    def __init__(self, n):
        self.n = n
        super().__init__(Linear(2, n, "fc1"), LeakyReLU(0.1), Linear(n, 1, "fc2"), Fill(math.nan))


class Fill(Op):
    """y = x, of a layer that keeps what is no number."""

    def __init__(self, value, name=None):
        super().__init__(name)
        self.value = value

    def forward(self, inputs):
        return inputs

    def backward_inputs(self, grads):
        return grads


CHANGES = {
    "another op": (other_op, "layer 1 is opnet.Tanh, its constructor makes opnet.LeakyReLU"),
    "another number": (other_number, "layer 1 is opnet.LeakyReLU, its constructor makes another"),
    "one more": (
        lambda net: net.layers.append(Logistic()),
        "has 5 layers, its constructor makes 4",
    ),
    "one less": (lambda net: net.layers.pop(), "has 3 layers, its constructor makes 4"),
}


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize(("change", "said"), CHANGES.values(), ids=CHANGES)
def test_a_model_that_was_changed_after_it_was_made_is_not_made_again(
    change, said, nested, tmp_path, monkeypatch
):
    monkeypatch.setattr("opnet.restore._registered", {"Net": Net})
    net, other = Net(3), Net(3)
    for one in (net, other):
        saved(one, tmp_path)
        assert load(tmp_path)
        change(one)
    model, other = ((Sequential(x, Logistic()) if nested else x) for x in (net, other))
    for path in tmp_path.iterdir():
        path.unlink()
    saved(model, tmp_path)
    way_out = "make it and use load_model of a runner"
    with pytest.raises(CheckpointError, match=f"Net cannot be made again: {said}; {way_out}$"):
        load(tmp_path)
    checkpoint.load(tmp_path, other)


def test_a_manifest_that_does_not_tell_the_layers_is_read(tmp_path):
    model = Model_MLP_L2(2, 5, 1)
    about = {"model": description(model)}
    assert about["model"].pop("holds")
    checkpoint.save(tmp_path, checkpoint.layers_of(model), about=about)
    assert load(tmp_path)
