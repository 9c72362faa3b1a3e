"""Construction, names and containers: what is refused, what is named, what is walked."""

import pytest
import torch

from opnet import Linear, Logistic, Model_MLP_L2, Op, Sequential
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
        ([twice := Twice(), Logistic(), twice], ValueError, "layer 2 .Twice.* stands there twice"),
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


def test_the_first_layers_input_gradient_is_not_computed_in_a_step():
    calls = []

    class Watched(Linear):
        def backward_inputs(self, grads):
            calls.append(self.name)
            return super().backward_inputs(grads)

    model = Sequential(Watched(2, 3, "first"), Logistic(), Watched(3, 1, "second"))
    model(torch.randn(4, 2))
    model.backward_params(torch.randn(4, 1))
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
