"""Each optimizer is torch's own, step for step; what is refused before anything has moved."""

import copy

import pytest
import torch
from book import BookGD, BookLoss, BookModel
from hypothesis import given, settings
from hypothesis import strategies as st
from witness import close

from opnet import (
    Adagrad,
    Adam,
    BatchGD,
    Linear,
    Logistic,
    Model_MLP_L2,
    Momentum,
    Optimizer,
    RMSprop,
    Sequential,
)
from opnet.walk import state

EQUAL = [  # ours, torch's; the rules in all their own options
    (BatchGD, {}, torch.optim.SGD, {}),
    (Momentum, {}, torch.optim.SGD, {"momentum": 0.9}),
    (Momentum, {"rho": 0.5}, torch.optim.SGD, {"momentum": 0.5}),
    (Momentum, {"nesterov": True}, torch.optim.SGD, {"momentum": 0.9, "nesterov": True}),
    (Adagrad, {}, torch.optim.Adagrad, {}),
    (Adagrad, {"epsilon": 0.1}, torch.optim.Adagrad, {"eps": 0.1}),
    (RMSprop, {}, torch.optim.RMSprop, {}),
    (RMSprop, {"beta": 0.5, "epsilon": 0.1}, torch.optim.RMSprop, {"alpha": 0.5, "eps": 0.1}),
    (Adam, {}, torch.optim.Adam, {}),
    (
        Adam,
        {"beta1": 0.5, "beta2": 0.9, "epsilon": 0.1},
        torch.optim.Adam,
        {"betas": (0.5, 0.9), "eps": 0.1},
    ),
    (Adam, {"beta1": 0.0, "beta2": 0.0}, torch.optim.Adam, {"betas": (0.0, 0.0)}),
]
SHARED = [
    {},
    {"weight_decay": 0.1},
    {"weight_decay": 0.1, "decay_biases": True},
    {"decay_biases": True},
    {"clip_value": 0.5},
    {"clip_norm": 2.0},
    {"weight_decay": 0.1, "clip_value": 1.0, "clip_norm": 2.0},
]
RULES = [BatchGD, Momentum, Adagrad, RMSprop, Adam]
STATEFUL = RULES[1:]


def two_layers(sizes=(3, 4, 2), dtype=torch.float64):
    i, h, o = sizes
    fc1, fc2 = Linear(i, h, "fc1", dtype=dtype), Linear(h, o, "fc2", dtype=dtype)
    return Sequential(fc1, Logistic(), fc2)


def draw_grads(model, scale=1.0):
    """Put new gradients into `model`; return copies."""
    grads = [grad.normal_(0, scale) for op in model.layers for grad in op.grads.values()]
    return [grad.clone() for grad in grads]


class Torch:
    """What a user of torch writes for the same options."""

    def __init__(self, kind, lr, model, arguments, options):
        self.leaves = [tensor.clone().requires_grad_() for tensor in state(model)]
        decay = options.get("weight_decay", 0.0)
        on_biases = decay if options.get("decay_biases") else 0.0
        groups = [
            {"params": self.leaves[0::2], "weight_decay": decay},
            {"params": self.leaves[1::2], "weight_decay": on_biases},
        ]
        self.optimizer, self.options = kind(groups, lr=lr, **arguments), options

    def step(self, grads):
        for leaf, grad in zip(self.leaves, grads, strict=True):
            leaf.grad = grad
        if "clip_value" in self.options:
            torch.nn.utils.clip_grad_value_(self.leaves, self.options["clip_value"])
        if "clip_norm" in self.options:
            torch.nn.utils.clip_grad_norm_(self.leaves, self.options["clip_norm"])
        self.optimizer.step()
        return [leaf.detach() for leaf in self.leaves]


# --- torch's own steps


@pytest.mark.parametrize("options", SHARED, ids=str)
@pytest.mark.parametrize(
    ("ours", "arguments", "theirs", "their_arguments"),
    EQUAL,
    ids=[f"{row[0].__name__}-{row[1]}" for row in EQUAL],
)
def test_two_hundred_steps_are_torchs(ours, arguments, theirs, their_arguments, options):
    model = two_layers()
    optimizer = ours(0.05, model, **arguments, **options)
    witness = Torch(theirs, 0.05, model, their_arguments, options)
    for i in range(200):
        grads = draw_grads(model, scale=(0.01, 1, 5)[i % 3])
        optimizer.step()
        assert all(map(torch.equal, [g for op in model.layers for g in op.grads.values()], grads))
        close(state(model), witness.step(grads))


@settings(max_examples=60, deadline=None)
@given(
    row=st.sampled_from(EQUAL),
    options=st.sampled_from(SHARED),
    sizes=st.tuples(*[st.integers(1, 7)] * 3),
    lr=st.floats(0, 2),
    scales=st.lists(st.sampled_from([0.0, 1e-150, 1e-9, 1e-3, 1.0, 1e3, 1e9]), max_size=6),
    seed=st.integers(0, 2**31),
)
def test_any_shapes_rates_and_gradients_step_as_torchs(row, options, sizes, lr, scales, seed):
    ours, arguments, theirs, their_arguments = row
    torch.manual_seed(seed)
    model = two_layers(sizes)
    optimizer = ours(lr, model, **arguments, **options)
    witness = Torch(theirs, lr, model, their_arguments, options)
    for scale in scales:
        grads = draw_grads(model, scale)
        optimizer.step()
        close(state(model), witness.step(grads))


# --- params, gradients, memory


@pytest.mark.parametrize("rule", RULES)
def test_params_are_moved_in_place_in_their_dtype(rule):
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        model = two_layers(dtype=dtype)
        params, values = state(model), [tensor.clone() for tensor in state(model)]
        optimizer = rule(0.1, model, weight_decay=0.1, clip_value=0.9, clip_norm=2.0)
        draw_grads(model)
        optimizer.step()
        moved = state(model)
        assert all(a is b for a, b in zip(params, moved, strict=True))
        assert not any(map(torch.equal, moved, values))
        kept = {
            tensor.dtype for name, tensor in optimizer.state_dict().items() if name[-2:] != ".t"
        }
        assert kept <= {dtype}


@pytest.mark.parametrize("rule", RULES)
def test_a_learner_may_rebind_params_between_steps(rule):
    plain, rebound = two_layers(), two_layers()
    start(rebound, plain)
    optimizers = rule(0.1, plain), rule(0.1, rebound)
    for _ in range(5):
        grads = draw_grads(plain)
        for op in rebound.layers:
            for key in op.grads:
                op.params[key], op.grads[key] = op.params[key].clone(), grads.pop(0)
        for optimizer in optimizers:
            optimizer.step()
    close(state(rebound), state(plain))


def start(model, like):
    for tensor, other in zip(state(model), state(like), strict=True):
        tensor.copy_(other)


@pytest.mark.parametrize("rule", STATEFUL)
def test_what_is_kept_follows_its_param_to_another_dtype_but_not_to_another_shape(rule):
    model = two_layers()
    optimizer = rule(0.1, model)
    draw_grads(model)
    optimizer.step()
    before = {name: tensor.clone() for name, tensor in optimizer.state_dict().items()}
    model.to(torch.float32)
    model.layers[2].params["b"] = torch.zeros(1, 1)
    for name, tensor in optimizer.state_dict().items():
        if name.startswith("fc2.b."):
            assert not tensor.any()
            assert tensor.shape in ((1, 1), ())
        elif not name.endswith(".t"):
            assert tensor.dtype == torch.float32
            torch.testing.assert_close(tensor, before[name].float())


def test_layers_are_told_apart_by_name_and_one_that_comes_later_starts_at_0():
    model = two_layers()
    optimizer = Adam(0.1, model)
    optimizer.step()
    model.layers.append(Linear(2, 2, "fc3", dtype=torch.float64))
    optimizer.step()
    counts = {name: int(t) for name, t in optimizer.state_dict().items() if name.endswith(".t")}
    assert counts == {
        "fc1.W.t": 2, "fc1.b.t": 2, "fc2.W.t": 2, "fc2.b.t": 2, "fc3.W.t": 1, "fc3.b.t": 1
    }  # fmt: skip


def test_layers_in_containers_have_their_place_in_the_names():
    model = Sequential(Sequential(Linear(1, 1, "a")), Linear(1, 1, "a"))
    names = Momentum(0.1, model).state_dict().keys()
    assert {name.removesuffix(".velocity") for name in names} == {
        "Sequential_0.a.W", "Sequential_0.a.b", "a.W", "a.b"
    }  # fmt: skip


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("options", SHARED, ids=str)
def test_the_books_gradient_of_shape_o_steps_as_that_of_shape_1_o(rule, options):
    ours, books = two_layers(), two_layers()
    start(books, ours)
    optimizers = rule(0.1, ours, **options), rule(0.1, books, **options)
    for _ in range(3):
        draw_grads(ours)
        for op, book in zip(ours.layers, books.layers, strict=True):
            book.grads = {k: g[0] if k == "b" else g for k, g in op.grads.items()}
        for optimizer in optimizers:
            optimizer.step()
    close(state(books), state(ours))


@pytest.mark.parametrize("rule", RULES)
def test_ops_in_the_books_style_are_walked(rule, moons):
    X, y = moons[0]
    model = BookModel(2, 5, 1)
    loss_fn = BookLoss(model)
    optimizer = rule(0.01, model)
    losses = []
    for _ in range(50):
        losses.append(loss_fn(model(X), y).item())
        loss_fn.backward()
        optimizer.step()
    assert losses[-1] < losses[0]


def test_a_step_builds_no_graph_and_moves_params_that_ask_for_gradients():
    model = two_layers()
    for tensor in state(model):
        tensor.requires_grad_()
    draw_grads(model)
    optimizer = Adam(0.1, model, weight_decay=0.1)
    optimizer.step()
    assert all(tensor.is_leaf for tensor in state(model))


def test_before_the_first_backward_a_step_changes_nothing():
    for rule in RULES:
        model = Model_MLP_L2(2, 5, 1)
        before = [tensor.clone() for tensor in state(model)]
        rule(1.0, model, clip_norm=1.0).step()
        assert all(map(torch.equal, state(model), before))


def test_a_model_without_params_is_stepped_too():
    for rule in RULES:
        rule(1.0, Sequential(Logistic()), clip_norm=1.0, weight_decay=1.0).step()


def test_lr_is_the_current_rate_and_init_lr_stays():
    model = Sequential(Linear(1, 1, "fc1", torch.ones))
    optimizer = BatchGD(0.5, model)
    model.layers[0].grads["W"].fill_(1)
    optimizer.lr = 0.25
    optimizer.step()
    assert model.layers[0].params["W"].item() == 0.75
    assert optimizer.init_lr == 0.5


def test_a_rule_of_ones_own_writes_step_and_what_to_remember():
    class Signed(Optimizer):
        """m <- (m + g) / 2,  p <- p - lr sign(m)."""

        def remember(self, param):
            return {"m": torch.zeros_like(param), "steps": 0}

        def step(self):
            for p, g, memory in self.walk():
                memory["steps"] += 1
                p.sub_(memory["m"].add_(g).div_(2).sign(), alpha=self.lr)

    model = two_layers()
    optimizer = Signed(0.5, model)
    before = [tensor.clone() for tensor in state(model)]
    grads = draw_grads(model)
    optimizer.step()
    close(state(model), [p - 0.5 * g.sign() for p, g in zip(before, grads, strict=True)])
    assert int(optimizer.state_dict()["fc2.b.steps"]) == 1


def test_a_step_that_keeps_what_remember_did_not_name_is_told():
    class Forgetful(Optimizer):
        def step(self):
            for _, g, memory in self.walk():
                memory["v"] = g

    with pytest.raises(TypeError, match="does not support item assignment"):
        Forgetful(0.1, two_layers()).step()


# --- state_dict, load_state


@pytest.mark.parametrize("rule", STATEFUL)
def test_a_state_that_is_loaded_goes_on_to_the_last_bit(rule):
    once, twice = two_layers(), two_layers()
    start(twice, once)
    grads = [[torch.randn_like(tensor) for tensor in state(once)] for _ in range(6)]

    def run(model, optimizer, part):
        for step in part:
            own = [grad for op in model.layers for grad in op.grads.values()]
            for grad, value in zip(own, step, strict=True):
                grad.copy_(value)
            optimizer.step()

    run(once, rule(0.1, once), grads)
    first = rule(0.1, twice)
    run(twice, first, grads[:3])
    saved = copy.deepcopy(first.state_dict())
    second = rule(0.1, twice)
    second.load_state(saved)
    run(twice, second, grads[3:])
    assert all(map(torch.equal, state(twice), state(once)))
    again = copy.deepcopy(second)
    assert again.state_dict().keys() == second.state_dict().keys()
    second.load_state({})
    assert not any(tensor.any() for tensor in second.state_dict().values())
    assert any(tensor.any() for tensor in again.state_dict().values())


def test_a_state_that_does_not_fit_is_named_and_nothing_changes():
    model = two_layers()
    optimizer = Adam(0.1, model)
    draw_grads(model)
    optimizer.step()
    before = {name: tensor.clone() for name, tensor in optimizer.state_dict().items()}
    good = copy.deepcopy(before)
    for name, value, said in (
        (
            "fc1.W.mean",
            torch.zeros(3, 5).double(),
            r"fc1.W.mean is float64 \[3, 5\], optimizer wants",
        ),
        ("fc2.b.t", torch.tensor(1.0), r"fc2.b.t is float32 \[\], optimizer wants int64 \[\]"),
        ("fc2.b.t", 3, "fc2.b.t is a int, optimizer wants int64"),
        ("fc9.b.t", torch.tensor(1), "holds .*'fc9.b.t'"),
    ):
        with pytest.raises(ValueError, match=f"^Adam: state: {said}"):
            optimizer.load_state({**good, name: value})
        assert all(torch.equal(before[k], v) for k, v in optimizer.state_dict().items())


def test_what_keeps_nothing_has_no_state():
    for optimizer in (BatchGD(0.1, two_layers()), BookGD(0.1, two_layers())):
        optimizer.step()
        assert optimizer.state_dict() == {}
        optimizer.load_state({})


# --- what is refused


@pytest.mark.parametrize("lr", [float("nan"), float("inf"), -0.1, 10**400])
def test_a_rate_out_of_range_is_refused(lr):
    with pytest.raises(ValueError, match=r"BatchGD: init_lr is .* finite number >= 0"):
        BatchGD(lr, Model_MLP_L2(2, 5, 1))


@pytest.mark.parametrize("lr", ["0.2", None, True, torch.tensor([0.1, 0.2])])
def test_a_rate_that_is_no_number_is_refused(lr):
    with pytest.raises(TypeError, match="BatchGD: init_lr is"):
        BatchGD(lr, Model_MLP_L2(2, 5, 1))


@pytest.mark.parametrize(
    ("rule", "arguments", "error", "said"),
    [
        (BatchGD, {"weight_decay": -1}, ValueError, "weight_decay is -1.0, wanted .* >= 0"),
        (BatchGD, {"clip_value": 0}, ValueError, "clip_value is 0.0, wanted .* > 0"),
        (Adam, {"clip_norm": float("nan")}, ValueError, "clip_norm is nan, wanted .* > 0"),
        (Adam, {"clip_norm": "1"}, TypeError, "clip_norm is '1', wanted .* > 0"),
        (Adam, {"decay_biases": 1}, TypeError, "decay_biases is 1, wanted True or False"),
        (Momentum, {"rho": 1.0}, ValueError, "rho is 1.0, wanted 0 <= a number < 1"),
        (Momentum, {"rho": None}, TypeError, "rho is None, wanted 0 <= a number < 1"),
        (Momentum, {"nesterov": "yes"}, TypeError, "nesterov is 'yes', wanted True or False"),
        (Adagrad, {"epsilon": 0}, ValueError, "epsilon is 0.0, wanted .* > 0"),
        (RMSprop, {"beta": -0.1}, ValueError, "beta is -0.1, wanted 0 <= a number < 1"),
        (RMSprop, {"epsilon": -1}, ValueError, "epsilon is -1.0, wanted .* > 0"),
        (Adam, {"beta1": 1}, ValueError, "beta1 is 1.0, wanted 0 <= a number < 1"),
        (Adam, {"beta2": float("nan")}, ValueError, "beta2 is nan, wanted 0 <= a number < 1"),
        (Adam, {"epsilon": None}, TypeError, "epsilon is None, wanted .* > 0"),
    ],
)
def test_arguments_out_of_range_are_named(rule, arguments, error, said):
    with pytest.raises(error, match=f"^{rule.__name__}: {said}$"):
        rule(0.1, two_layers(), **arguments)


@pytest.mark.parametrize("rule", RULES)
def test_an_unknown_keyword_is_refused(rule):
    with pytest.raises(TypeError, match="unexpected keyword argument 'momentum'"):
        rule(0.1, two_layers(), momentum=0.9)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(
    ("grads", "said"),
    [
        (
            {"W": torch.ones(5, 1)},
            r"gradient 'b' of 'fc2' is missing, its param is float32 \[1, 1\]",
        ),
        ({"W": torch.ones(3), "b": torch.ones(1)}, r"'W' of 'fc2' is float32 \[3\], its param"),
        ({"W": torch.ones(2, 5, 1), "b": torch.ones(1)}, r"'W' of 'fc2' is float32 \[2, 5, 1\]"),
    ],
)
def test_a_gradient_that_does_not_fit_is_named_and_nothing_has_moved(rule, grads, said):
    model = Model_MLP_L2(2, 5, 1)
    model.fc1.grads["W"].fill_(1)
    model.fc2.grads = grads
    before = [tensor.clone() for tensor in state(model)]
    optimizer = rule(1.0, model)
    with pytest.raises(ValueError, match=said):
        optimizer.step()
    assert all(map(torch.equal, state(model), before))
    assert not any(tensor.any() for tensor in optimizer.state_dict().values())


def test_an_optimizer_wants_a_model():
    with pytest.raises(TypeError, match="BatchGD: model is None"):
        BatchGD(0.1, None)


def test_an_optimizer_without_a_step_says_so():
    with pytest.raises(NotImplementedError, match="Optimizer: has no step"):
        Optimizer(0.1, Model_MLP_L2(2, 5, 1)).step()
