"""The bridge: an op in torch is the op, by its own backward; a module of torch as an op is it."""

import copy
import pickle
from collections import OrderedDict

import pytest
import torch
from book import BookLogistic, PlainLinear
from cases import CASES, LOSS_CASES
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from witness import close, grads_of, replayed

from opnet import (
    Adam,
    BatchNorm,
    BinaryCrossEntropyLoss,
    Dropout,
    Linear,
    Logistic,
    MeanSquaredErrorLoss,
    Model_MLP_L2,
    Op,
    Sequential,
    Tanh,
    load,
)
from opnet.bridge import as_function, as_module, from_module
from opnet.step import training_step
from opnet.walk import every_op, state

every_case = pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])


def inputs_of(case, *batch):
    return torch.randn(*batch, *case.shape, dtype=torch.float64)


class Square(Op):
    """y = x^2,  dy/dx = 2 x."""

    def forward(self, inputs):
        self.inputs = inputs
        self.outputs = inputs**2
        return self.outputs

    def backward_inputs(self, grads):
        return 2 * self.inputs * grads


@every_case
def test_torch_finds_that_each_op_is_differentiated_as_it_computes(case):
    module, X = as_module(case.make()), inputs_of(case, 2).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x, *_: replayed(module, x), (X, *module.parameters()), fast_mode=True
    )


@every_case
@given(batch=st.lists(st.integers(1, 3), max_size=2).map(tuple))
@settings(max_examples=5, deadline=None)
def test_gradients_in_torch_are_the_bits_of_the_ops_own_backward(case, batch):
    op, X = case.make(), inputs_of(case, *batch).requires_grad_()
    outputs = replayed(op, X)
    upstream = torch.randn_like(outputs)
    own = [op.backward(upstream), *(g.clone() for g in grads_of(op))]
    module = as_module(op)
    replayed(module, X).backward(upstream)
    found = [X.grad, *(p.grad for p in module.parameters())]
    assert all(map(torch.equal, found, own))
    assert not any(part.outputs.requires_grad for part in every_op(op))  # a graph would stay alive


@every_case
def test_a_function_needs_no_parameters_to_walk_back_to_its_inputs(case):
    op, X = case.make(), inputs_of(case).requires_grad_()
    outputs = replayed(as_function(op), X)
    (grad,) = torch.autograd.grad(outputs.sum(), X)
    replayed(op, X)
    close(grad, op.backward(torch.ones_like(outputs)))
    assert not any(p.requires_grad for p in state(op))


@every_case
def test_a_module_is_the_op_in_the_same_memory_and_so_are_its_copies(case):
    module = as_module(case.make())
    for twin in (module, copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        ours = {name: tensor.data_ptr() for name, tensor in twin.state_dict().items()}
        assert sorted(ours.values()) == sorted(tensor.data_ptr() for tensor in state(twin.op))
        twin.float()
        assert all(tensor.dtype == torch.float32 for tensor in state(twin.op))
        for mode in (False, True):
            twin.train(mode)
            assert all(leaf.training is mode for leaf in every_op(twin.op))
            assert all(leaf.training is mode for leaf in twin.modules())
        X = inputs_of(case).float()
        assert torch.equal(replayed(twin, X), replayed(twin.op, X))


@pytest.mark.parametrize("case", LOSS_CASES, ids=[case.name for case in LOSS_CASES])
def test_a_loss_without_a_model_is_a_function_too(case):
    loss, p = as_function(case.make(None)), torch.rand(5, 4, dtype=torch.float64)
    p, labels = p.requires_grad_(), case.labels(p)
    own = case.make(None)
    assert torch.equal(loss(p, labels), own(p, labels))
    (3 * loss(p, labels)).backward()
    close(p.grad, 3 * own.backward_inputs())


def test_names_are_those_of_a_checkpoint():
    nested = Sequential(Sequential(Linear(2, 3, "a"), BatchNorm(3, "bn")), Linear(3, 1))
    assert [*as_module(Model_MLP_L2(2, 5, 1)).state_dict()] == ["fc1.W", "fc1.b", "fc2.W", "fc2.b"]
    assert [*as_module(Linear(2, 3)).state_dict()] == ["W", "b"]
    assert [*as_module(nested).state_dict()] == [
        *("Sequential_0.a.W", "Sequential_0.a.b", "Sequential_0.bn.W", "Sequential_0.bn.b"),
        *("Sequential_0.bn.running_mean", "Sequential_0.bn.running_var"),
        *("Linear_1.W", "Linear_1.b"),
    ]


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-12)], ids=str
)
def test_by_torchs_adam_an_op_in_a_torch_model_becomes_what_opnets_adam_makes_of_it(
    dtype, tolerance
):
    X, y = torch.randn(64, 3, dtype=dtype), torch.rand(64, 1, dtype=dtype)
    torchs = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 4), nn.Linear(4, 1)).to(dtype)
    ops = from_module(torchs)
    ops.layers[2:3] = [copy.deepcopy(ops.layers[2]), Square()]
    torchs[2] = nn.Sequential(as_module(copy.deepcopy(ops.layers[2])), as_module(Square()))
    adam, loss_fn = Adam(0.01, ops), MeanSquaredErrorLoss(ops)
    theirs = torch.optim.Adam(torchs.parameters(), 0.01)
    for _ in range(100):
        training_step(ops, loss_fn, adam, X, y)
        theirs.zero_grad()
        nn.functional.mse_loss(torchs(X), y).backward()
        theirs.step()
    first = ops.layers[0].params["W"]
    assert (first - from_module(torchs[0]).params["W"]).abs().max() < tolerance
    for key, param in ops.layers[2].params.items():
        assert (param - torchs[2][0].op.params[key]).abs().max() < tolerance


def test_what_either_side_writes_is_in_both(moons, job, tmp_path):
    runner = job()
    module = as_module(runner.model)
    torch.optim.SGD(module.parameters(), 0.1)
    runner.train(*moons[:2], num_epochs=3, log_epochs=0, save_dir=tmp_path)
    for name, param in module.state_dict().items():
        layer, key = name.split(".")
        assert torch.equal(param, getattr(load(tmp_path), layer).params[key])
    module.load_state_dict({name: p + 1 for name, p in module.state_dict().items()})
    runner.load_model(tmp_path)
    assert torch.equal(module.fc1.W, load(tmp_path).fc1.params["W"])
    with torch.no_grad():
        assert torch.equal(module(moons[2][0]), runner.predict(moons[2][0]))


def test_a_function_may_be_called_again_before_it_is_walked_back():
    op = Sequential(Linear(2, 2, dtype=torch.float64), Tanh())
    f, (a, b) = as_function(op), torch.randn(2, 3, 2, dtype=torch.float64).requires_grad_()
    first, second = f(a), f(b)
    latest = op.outputs
    grads = torch.autograd.grad(first.sum() + second.sum(), [a, b])
    assert op.outputs is latest
    for x, grad in zip((a, b), grads, strict=True):
        op(x)
        close(grad, op.backward(torch.ones(3, 2, dtype=torch.float64)))


class KeepsInADict(Square):
    """y = x^2,  dy/dx = 2 x."""

    def __init__(self):
        self.kept = {}

    def forward(self, inputs):
        self.kept["x"] = inputs
        return inputs**2

    def backward_inputs(self, grads):
        return 2 * self.kept["x"] * grads


class KeepsATape(Square):
    """y = x^2,  dy/dx = 2 x."""

    def __init__(self):
        self.kept = []

    def forward(self, inputs):
        self.kept.append(inputs)
        return inputs**2

    def backward_inputs(self, grads):
        return 2 * self.kept.pop() * grads


@pytest.mark.parametrize("kind", [Square, KeepsInADict, KeepsATape])
def test_wherever_an_op_keeps_what_it_reads_each_call_has_its_own(kind):
    op = kind()
    f, xs = as_function(op), [torch.full((1, 1), n, requires_grad=True) for n in (1.0, 5.0, 7.0)]
    sum(f(x) for x in xs).backward()
    assert [x.grad.item() for x in xs] == [2.0, 10.0, 14.0]
    y = f(xs[0]).sum()
    y.backward(retain_graph=True)
    with torch.no_grad():
        f(xs[1])
    y.backward()
    assert xs[0].grad.item() == 6.0


def test_what_a_backward_takes_from_a_tape_is_gone():
    op, x = KeepsATape(), torch.ones(1, 1, requires_grad=True)
    for _ in range(3):
        as_function(op)(x).sum().backward()
    assert op.kept == []


def test_grads_add_up_in_torch_and_are_overwritten_in_the_op():
    module = as_module(Linear(2, 3))
    for _ in range(2):
        module(torch.ones(5, 2)).sum().backward()
    assert module.W.grad.unique().tolist() == [10.0]
    assert module.op.grads["W"].unique().tolist() == [5.0]


def test_a_frozen_layer_is_not_trained_and_lets_gradients_through():
    module = as_module(Sequential(Linear(2, 3, "a"), Linear(3, 1, "b")))
    module.b.requires_grad_(False)
    module(torch.ones(5, 2)).sum().backward()
    assert module.b.W.grad is None
    assert module.a.W.grad is not None


def test_ops_in_the_books_style_cross_too():
    model = as_module(Sequential(PlainLinear(2, 3, "fc1"), BookLogistic()))
    X = torch.randn(4, 2, requires_grad=True)
    model(X).sum().backward()
    witness = nn.Linear(2, 3)
    witness.weight.data, witness.bias.data = model.fc1.W.data.T, model.fc1.b.data[0]
    x = X.detach().requires_grad_()
    witness(x).sigmoid().sum().backward()
    close(X.grad, x.grad, 1e-6)
    assert model.fc1.b.grad.shape == model.fc1.b.shape


def test_a_second_derivative_is_refused():
    x = torch.ones(1, 1, dtype=torch.float64, requires_grad=True)
    y = as_function(Tanh())(x).sum()
    with pytest.raises(RuntimeError, match=r"^Tanh: create_graph=True, but an op has no second"):
        torch.autograd.grad(y, x, create_graph=True)
    with pytest.raises(RuntimeError, match=r"^Tanh: create_graph=True, but an op has no second"):
        torch.autograd.gradgradcheck(as_function(Tanh()), (x,))


def test_a_param_that_was_replaced_is_no_longer_shared_and_refused():
    by_op, by_module = as_module(Linear(2, 3)), as_module(Sequential(Linear(2, 3, "fc1")))
    by_op.op.to(torch.float64)
    with pytest.raises(RuntimeError, match="Linear: W was replaced since as_module made a module"):
        by_op(torch.ones(1, 2))
    by_module.load_state_dict({k: v + 1 for k, v in by_module.state_dict().items()}, assign=True)
    with pytest.raises(RuntimeError, match="Linear 'fc1': W was replaced since as_module"):
        by_module(torch.ones(1, 2))
    normed, weighed = as_module(BatchNorm(2)), as_module(Linear(2, 2))
    normed.running_mean = torch.ones(1, 2)
    with pytest.raises(RuntimeError, match="BatchNorm: running_mean was replaced since"):
        normed(torch.ones(3, 2))
    nn.utils.parametrize.register_parametrization(weighed, "W", nn.Tanh())
    with pytest.raises(RuntimeError, match="Linear: W was replaced since as_module"):
        weighed(torch.ones(1, 2))


class CountsRows(Op):
    """y = x, and the rows that it has met are in its buffers."""

    def __init__(self):
        self.buffers["rows"] = torch.zeros(1)

    def forward(self, inputs):
        self.buffers["rows"] = self.buffers["rows"] + len(inputs)
        return inputs * 1

    def backward_inputs(self, grads):
        return grads


def test_a_buffer_that_an_op_makes_anew_is_the_modules():
    module = as_module(Sequential(CountsRows()))
    for rows in (2, 3):
        module(torch.ones(rows, 1))
    assert [t.tolist() for t in module.state_dict().values()] == [[5.0]]


def test_a_step_of_opnets_builds_no_graph_over_params_of_a_module():
    model = Sequential(Linear(2, 3), Tanh(), Linear(3, 1))
    as_module(model)
    loss_fn, optimizer = MeanSquaredErrorLoss(model), Adam(0.01, model)
    _, loss = training_step(
        model, loss_fn, optimizer, torch.randn(8, 2), torch.randn(8, 1), block_size=4
    )
    assert not loss.requires_grad


def test_what_was_written_to_since_gives_no_wrong_gradient():
    module, x = as_module(Logistic()), torch.ones(1, 1, requires_grad=True)
    y = module(x)
    y.detach().zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


@pytest.mark.parametrize(
    ("made", "error", "said"),
    [
        (lambda: as_module(Linear), TypeError, "as_module: came the class Linear, wanted an op"),
        (
            lambda: as_function(Tanh())(torch.ones(1, 1), torch.ones(1, 1)),
            TypeError,
            "Tanh: came 2 inputs, torch's walk back wants 1",
        ),
        (lambda: as_function(3), TypeError, "as_function: came a int, wanted an op"),
        (
            lambda: as_function(BinaryCrossEntropyLoss(Model_MLP_L2(2, 5, 1))),
            TypeError,
            "BinaryCrossEntropyLoss has a model, wanted a loss without one",
        ),
        (
            lambda: as_module(Sequential(Linear(1, 1, "forward"))),
            ValueError,
            "as_module: Sequential: attribute 'forward' already exists",
        ),
        (
            lambda: from_module(nn.Sequential(nn.Conv2d(1, 1, 1))),
            TypeError,
            "from_module: no op for Conv2d, wanted one of BatchNorm1d, ",
        ),
        (lambda: from_module(nn.Tanh), TypeError, "from_module: came the class Tanh"),
        (lambda: from_module(nn.Softmax(dim=1)), ValueError, "wanted dim=-1, the last axis"),
        (lambda: from_module(nn.GELU("tanh")), ValueError, "wanted approximate='none'"),
        (lambda: from_module(nn.Softplus(2)), ValueError, "wanted beta=1"),
        (lambda: from_module(nn.Softplus(threshold=1)), ValueError, "and threshold=20"),
        (lambda: from_module(nn.Hardtanh(0, 6)), ValueError, "wanted min_val=-1 and max_val=1"),
        (lambda: from_module(nn.LayerNorm((2, 3))), ValueError, "over several axes"),
        (lambda: from_module(nn.LayerNorm(2, bias=False)), ValueError, "has no b, which"),
        (
            lambda: from_module(nn.BatchNorm1d(2, track_running_stats=False)),
            ValueError,
            "has no running_mean, which",
        ),
        (lambda: from_module(nn.BatchNorm1d(2, momentum=None)), ValueError, "wanted a momentum"),
        (
            lambda: from_module(nn.Sequential(*[nn.Linear(2, 2)] * 2)),
            TypeError,
            "a layer with weights stands in two places",
        ),
        (
            lambda: from_module(nn.utils.spectral_norm(nn.Linear(2, 2))),
            TypeError,
            "has hooks, which an op has not",
        ),
    ],
)
def test_what_cannot_cross_is_refused_by_name(made, error, said):
    with pytest.raises(error) as raised:
        made()
    assert said in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1


norm = nn.BatchNorm1d(3, eps=0.1, momentum=0.3)
nn.init.uniform_(norm.weight)
nn.init.uniform_(norm.running_var)
TORCHS = {
    "sigmoid": nn.Sigmoid(),
    "tanh": nn.Tanh(),
    "relu": nn.ReLU(inplace=False),
    "leaky": nn.LeakyReLU(0.3),
    "elu": nn.ELU(0.7),
    "silu": nn.SiLU(),
    "hard sigmoid": nn.Hardsigmoid(),
    "hard tanh": nn.Hardtanh(),
    "softplus": nn.Softplus(),
    "gelu": nn.GELU(),
    "softmax": nn.Softmax(dim=-1),
    "log softmax": nn.LogSoftmax(dim=-1),
    "dropout": nn.Dropout(0.4),
    "linear": nn.Linear(3, 2),
    "linear without bias": nn.Linear(3, 2, bias=False),
    "layer norm": nn.LayerNorm(3, eps=0.1),
    "batch norm": norm,
    "batch norm in eval mode": copy.deepcopy(norm).eval(),
    "twice one activation": nn.Sequential(
        nn.Linear(3, 3), tanh := nn.Tanh(), nn.Linear(3, 1), tanh
    ),
}


@pytest.mark.parametrize("module", TORCHS.values(), ids=TORCHS)
def test_a_module_as_an_op_has_its_values_and_gradients(module):
    module = copy.deepcopy(module).double()
    op, X = from_module(module), 3 * torch.randn(5, 3, dtype=torch.float64)
    assert all(leaf.training is module.training for leaf in every_op(op))
    x = X.clone().requires_grad_()
    if isinstance(op, Dropout):  # which draws in its own way
        assert op.p == module.p
        module, op = module.eval(), op.eval()
    theirs = module(x)
    upstream = torch.randn_like(theirs)
    theirs.backward(upstream)
    close(op(X), theirs.detach(), 1e-8)  # torch's softplus is z from 20 on
    close(op.backward(upstream), x.grad, 1e-8)
    wanted = {
        layer.weight.grad.T if isinstance(layer, nn.Linear) else layer.weight.grad[None]
        for layer in module.modules()
        if hasattr(layer, "weight")
    }
    assert all(
        any(torch.allclose(g, w) for g in grads_of(op) if g.shape == w.shape) for w in wanted
    )
    for key, tensor in getattr(op, "buffers", {}).items():
        close(tensor[0], getattr(module, key))


def test_given_names_stay_and_weights_are_copies():
    torchs = nn.Sequential(OrderedDict(fc1=nn.Linear(2, 3), act=nn.Sequential(nn.Tanh())))
    op = from_module(torchs)
    assert [layer.name for layer in op.layers] == ["fc1", "act"]
    assert op.layers[0].params["W"].data_ptr() != torchs.fc1.weight.data_ptr()
    unnamed = from_module(nn.Sequential(nn.Linear(2, 3)))
    assert [layer.name for layer in unnamed.layers] == ["Linear_0"]
