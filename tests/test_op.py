"""Construction, names and containers: what is refused, what is named, what is walked."""

import pytest
import torch

from opnet import (
    BatchGD,
    BinaryCrossEntropyLoss,
    Linear,
    Logistic,
    Model_MLP_L2,
    Op,
    Sequential,
)
from opnet.step import training_step
from opnet.tensors import pick_device
from opnet.walk import named_layers, named_ops


class Twice(Op):
    """y = 2 x,  dy/dx = 2."""

    def forward(self, inputs):
        return inputs * 2

    def backward_inputs(self, grads):
        return grads * 2


class NoBackward(Op):
    def forward(self, inputs):
        return inputs


class NoForward(Op):
    def backward(self, grads):
        return grads


def names(model):
    return [name for name, _ in named_layers(model)]


def test_an_op_without_a_name_is_named_by_its_container():
    model = Model_MLP_L2(2, 5, 1)
    assert names(model) == ["fc1", "act_fn1", "fc2", "act_fn2"]
    assert [layer.name for layer in model.layers] == names(model)
    assert str(model.act_fn1) == "Logistic 'act_fn1'"
    assert names(Sequential(Linear(1, 1, "in"), Twice())) == ["in", "Twice_1"]


def test_only_given_names_clash():
    with pytest.raises(ValueError, match="Sequential: layers 0 and 2 are both named 'A'"):
        Sequential(Linear(1, 1, "a"), Logistic(), Linear(1, 1, "A"))
    first, second = Sequential(Logistic()), Sequential(Logistic())
    merged = Sequential(*first.layers, *second.layers)
    assert names(merged) == ["Logistic_0", "Logistic_1"]
    assert names(Sequential(Linear(1, 1, "Twice_1"), Twice())) == ["Twice_1", "Twice_1_"]


def test_ops_in_nested_containers_have_a_path():
    model = Sequential(Sequential(Linear(1, 1, "a"), Logistic()), Linear(1, 1, "a"))
    assert list(named_ops(model)) == ["Sequential_0.a", "Sequential_0.Logistic_1", "a"]
    assert list(named_ops(Linear(1, 1))) == ["Linear"]
    with pytest.raises(ValueError, match=r"two ops are called 'Sequential_1\.a'"):
        named_ops(Sequential(Linear(1, 1, "Sequential_1.a"), Sequential(Linear(1, 1, "a"))))


@pytest.mark.parametrize(
    ("layers", "error", "said"),
    [
        ([], ValueError, "has no layers"),
        ([3], TypeError, r"layer 0 \(int\) has no forward"),
        ([Logistic], TypeError, "layer 0 is the class Logistic"),
        ([Twice(), NoBackward()], TypeError, r"layer 1 \(NoBackward\) has no backward"),
        ([NoForward()], TypeError, r"layer 0 \(NoForward\) has no forward"),
        ([Op()], TypeError, r"layer 0 \(Op\) has no forward"),
        ([twice := Twice(), Logistic(), twice], ValueError, "Twice stands in two places"),
    ],
)
def test_what_is_no_chain_is_refused_at_construction(layers, error, said):
    with pytest.raises(error, match=said):
        Sequential(*layers)


@pytest.mark.parametrize("name", ["", "a/b", "../x", ".hidden", "x" * 101, "a b", "é"])
def test_a_name_that_is_no_file_name_is_refused(name):
    with pytest.raises(ValueError, match="Linear: name is"):
        Linear(1, 1, name)


@pytest.mark.parametrize("which", ["input_size", "output_size"])
@pytest.mark.parametrize(
    ("size", "error"),
    [(0, ValueError), (-1, ValueError), (2.5, TypeError), ("2", TypeError), (True, TypeError)],
)
def test_a_size_that_is_none_is_refused(which, size, error):
    with pytest.raises(error, match=f"Linear 'fc1': {which} is .* whole number >= 1"):
        Linear(**{"input_size": 1, "output_size": 1, "name": "fc1", which: size})


@pytest.mark.parametrize(
    ("init", "error", "said"),
    [
        (lambda shape: torch.zeros(3), ValueError, r"W returned float32 \[3\], wanted .*\[2, 4\]"),
        (lambda shape: 0.0, TypeError, "W returned a float, wanted a Tensor"),
        (lambda shape: torch.ones(shape, dtype=int), TypeError, "wanted floating point"),
        (None, TypeError, "weight_init is None, wanted a callable"),
    ],
)
def test_an_initialiser_that_does_not_fit_is_refused(init, error, said):
    with pytest.raises(error, match=said):
        Linear(2, 4, "fc1", init)


def test_an_initialiser_gets_the_shape_as_a_list_and_nothing_else():
    seen = []

    def init(*args, **kwargs):
        seen.append((args, kwargs))
        return torch.full(args[0], 7.0)

    op = Linear(2, 3, "fc1", init, init, generator=torch.Generator(), dtype=torch.float64)
    assert seen == [(([2, 3],), {}), (([1, 3],), {})]
    assert op.params["W"].dtype == op.grads["b"].dtype == torch.float64


def test_params_have_memory_of_their_own():
    start = torch.zeros(2, 3)
    op = Linear(2, 3, "fc1", lambda shape: start)
    op.params["W"].add_(1)
    assert not start.any()


def test_default_initialisers_draw_from_the_generator_or_the_global_one():
    torch.manual_seed(3)
    W = torch.randn(2, 3)
    torch.manual_seed(3)
    assert torch.equal(Linear(2, 3).params["W"], W)
    generator = torch.Generator().manual_seed(3)
    assert torch.equal(Linear(2, 3, generator=generator).params["W"], W)
    assert not Linear(2, 3).params["b"].any()


@pytest.mark.parametrize(
    ("inputs", "error", "said"),
    [
        (torch.ones(4, 3), ValueError, "Linear 'fc1': inputs have 3 columns, W wants 2"),
        (torch.ones(2), ValueError, r"float32 \[2\], wanted \[..., N, 2\]: .reshape\(1, -1\)"),
        (torch.ones(4, 2, dtype=int), TypeError, r"torch.int64, .*\.to\(torch.float32\)"),
        (torch.ones(4, 2, dtype=torch.float64), TypeError, "inputs are torch.float64"),
        ([[1.0, 2.0]], TypeError, "inputs are a list, wanted a Tensor"),
    ],
)
def test_inputs_that_do_not_fit_are_named(inputs, error, said):
    with pytest.raises(error, match=said):
        Linear(2, 1, "fc1")(inputs)


def test_train_and_eval_reach_every_op():
    model = Sequential(Sequential(Twice()), Logistic())
    model.eval()
    assert not model.training
    assert not model.layers[0].layers[0].training
    model.train()
    assert model.layers[0].layers[0].training


def test_one_op_in_two_nested_containers_is_refused():
    shared = Linear(2, 2, "a")
    with pytest.raises(ValueError, match="Linear 'a' stands in two places"):
        Sequential(Sequential(shared, Logistic()), Sequential(shared, Logistic()))


def test_a_name_of_the_class_does_not_clash():
    class Named(Twice):
        name = "twice"

    assert names(Sequential(Named(), Named())) == ["Named_0", "Named_1"]


def test_a_layer_whose_backward_returns_nothing_is_named():
    class Silent(Twice):
        def backward(self, grads):
            pass

    model = Sequential(Linear(2, 2, "fc1"), Silent(), Logistic())
    with pytest.raises(TypeError, match="Silent 'Silent_1': backward returned None"):
        model.backward(model(torch.randn(3, 2)))


def test_an_error_of_a_learners_own_backward_is_not_renamed():
    class Typo(Twice):
        def backward(self, grads):
            return grads * self.kpet

    op = Typo()
    op(torch.ones(2, 2))
    with pytest.raises(AttributeError, match="kpet"):
        op.backward(torch.ones(2, 2))


def test_a_learners_whole_backward_may_take_what_it_likes():
    class SoftmaxRegression(Op):
        """NNDL 3.1: a model whose backward takes the labels."""

        def __init__(self):
            self.outputs = None

        def forward(self, inputs):
            self.outputs = torch.softmax(inputs, dim=1)
            return self.outputs

        def backward(self, labels):
            return self.outputs - torch.eye(3)[labels]

    op = SoftmaxRegression()
    with pytest.raises(RuntimeError, match="SoftmaxRegression: backward before forward"):
        op.backward(torch.tensor([0, 1]))
    op(torch.randn(2, 3))
    assert op.backward(torch.tensor([0, 1])).shape == (2, 3)


@pytest.mark.parametrize("where", ["class", "instance"])
def test_a_backward_written_beside_a_half_is_the_one_that_counts(where):
    calls = []

    class Counted(Linear):
        def backward(self, grads):
            calls.append(1)
            return super().backward(grads)

        def backward_params(self, grads):
            super().backward_params(grads)

    op = Counted(2, 1, "fc1") if where == "class" else Linear(2, 1, "fc1")
    if where == "instance":
        plain = op.backward
        op.backward = lambda grads: calls.append(1) or plain(grads)
    model = Sequential(op, Logistic())
    model.backward_params(model(torch.randn(3, 2)))
    assert calls == [1]


def test_grads_that_were_set_to_none_are_made_again():
    op = Linear(2, 1, "fc1")
    op.grads = None
    op.backward(op(torch.randn(3, 2)))
    assert op.grads["W"].shape == (2, 1)


def test_to_moves_floating_tensors_only():
    op = Linear(2, 1, "fc1")
    op.buffers["seen"] = torch.tensor(3)
    op.to(torch.float64)
    assert (op.params["W"].dtype, op.buffers["seen"].dtype) == (torch.float64, torch.int64)
    with pytest.raises(TypeError, match=r"to\(torch.int64\), wanted a device or a floating"):
        op.to(torch.int64)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"dtype": "float64"}, "dtype is 'float64', wanted floating point, as torch.float64"),
        ({"dtype": torch.int64}, "dtype is torch.int64"),
        ({"generator": 0}, "generator is 0, wanted a torch.Generator"),
    ],
)
def test_options_of_the_wrong_type_are_named(options, said):
    with pytest.raises(TypeError, match=f"Linear 'fc1': {said}"):
        Linear(2, 1, "fc1", **options)


def test_the_first_layers_input_gradient_is_not_computed_in_a_step():
    calls = []

    class Watched(Linear):
        def backward_inputs(self, grads):
            calls.append(self.name)
            return super().backward_inputs(grads)

    model = Sequential(Watched(2, 3, "first"), Logistic(), Watched(3, 1, "second"))
    loss_fn = BinaryCrossEntropyLoss(model)
    training_step(model, loss_fn, BatchGD(0.1, model), torch.randn(4, 2), torch.ones(4, 1))
    assert calls == ["second"]


def test_auto_picks_a_device_that_is_there():
    assert pick_device("auto").type in ("cuda", "mps", "cpu")
    assert pick_device("cpu") == torch.device("cpu")
    with pytest.raises(ValueError, match="device is 'gpu'"):
        pick_device("gpu")
    if not torch.cuda.is_available():
        assert pick_device("auto").type != "cuda"
        with pytest.raises(ValueError, match="'cuda': this machine"):
            Linear(1, 1, device="cuda")
