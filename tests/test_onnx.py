"""Files of ONNX: by them onnxruntime computes and trains as opnet does, on any number of rows."""

import copy

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from book import BookLogistic, PlainLinear
from cases import CASES, LOSS_CASES, model_of
from hypothesis import given, settings
from hypothesis import strategies as st

import opnet
from opnet import (
    GELU,
    Adagrad,
    Adam,
    BatchGD,
    BatchNorm,
    BinaryCrossEntropyLoss,
    Dropout,
    LayerNorm,
    Linear,
    Logistic,
    MeanSquaredErrorLoss,
    Model_MLP_L2,
    Momentum,
    Op,
    Optimizer,
    RMSprop,
    Sequential,
    Softmax,
    Softplus,
    Tanh,
)
from opnet.bridge import export_onnx, export_training_step
from opnet.losses import Loss
from opnet.step import training_step
from opnet.walk import dict_of, every_op, named_ops, state

every_case = pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])


def session_of(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def outputs_of(path, X):
    return torch.from_numpy(session_of(path).run(None, {"inputs": X.numpy()})[0])


@every_case
def test_onnxruntime_computes_what_each_op_does_on_any_number_of_rows(case, tmp_path):
    op = case.make().to(torch.float32)
    path = export_onnx(op, tmp_path / "op.onnx")
    for rows in (1, 9):
        X = torch.randn(rows, case.shape[1])
        torch.testing.assert_close(outputs_of(path, X), op.eval()(X), rtol=1e-6, atol=1e-6)


@pytest.fixture(scope="module")
def chained(tmp_path_factory):
    """A model of ops that couple columns and ops that do not, and a session of its file."""
    ops = [
        Linear(3, 40),
        LayerNorm(40),
        GELU(),
        BatchNorm(40),
        Softplus(),
        Linear(40, 2),
        Softmax(),
    ]
    model = Sequential(*ops).eval()
    return model, session_of(export_onnx(model, tmp_path_factory.mktemp("onnx") / "chain.onnx"))


@given(rows=st.integers(1, 300), scale=st.sampled_from([1e-3, 1.0, 1e3]))
@settings(max_examples=25, deadline=None)
def test_a_chain_of_ops_is_one_file_for_any_rows(chained, rows, scale):
    model, session = chained
    X = scale * torch.randn(rows, 3)
    (outputs,) = session.run(None, {"inputs": X.numpy()})
    torch.testing.assert_close(torch.from_numpy(outputs), model(X), rtol=1e-5, atol=1e-6)


def test_every_public_op_has_a_row_above():
    public = {value for name in opnet.__all__ if isinstance(value := getattr(opnet, name), type)}
    ops = {kind for kind in public if issubclass(kind, Op) and not issubclass(kind, Loss)}
    assert ops - {Op} == {type(op) for case in CASES for op in every_op(case.make())}


def test_a_file_holds_the_weights_by_name_and_leaves_the_rows_free(tmp_path):
    model = Sequential(Linear(2, 5, "fc1"), BatchNorm(5, "bn"), Sequential(Linear(5, 1, "fc2")))
    file = onnx.load(export_onnx(model, tmp_path / "new" / "model.onnx"))
    held = {held.name: onnx.numpy_helper.to_array(held) for held in file.graph.initializer}
    for name, op in named_ops(model).items():
        for key, tensor in (op.params | op.buffers).items():
            assert torch.equal(torch.from_numpy(held[f"{name}.{key}"].copy()), tensor)
    (inputs,), (outputs,) = file.graph.input, file.graph.output
    for port, columns in ((inputs, 2), (outputs, 1)):
        rows, last = port.type.tensor_type.shape.dim
        assert (rows.dim_param, last.dim_value) == ("rows", columns)
    assert {node.name.partition("/")[0] for node in file.graph.node} == {
        *("fc1", "bn", "Sequential_2.fc2", "")
    }


class Bump(Op):
    """y = x exp(-x^2),  dy/dx = (1 - 2 x^2) exp(-x^2)."""

    def forward(self, inputs):
        self.inputs = inputs
        self.outputs = inputs * torch.exp(-(inputs**2))
        return self.outputs

    def backward_inputs(self, grads):
        square = self.inputs**2
        return grads * (1 - 2 * square) * torch.exp(-square)


def test_an_op_of_a_learners_is_written_by_its_kernels(tmp_path):
    model = Sequential(PlainLinear(2, 3, "fc1"), BookLogistic(), Bump())
    X = torch.randn(7, 2)
    path = export_onnx(model, tmp_path / "model.onnx")
    torch.testing.assert_close(outputs_of(path, X), model(X), rtol=1e-6, atol=1e-6)


def held_by(model):
    return {
        f"{name}.{key}": tensor
        for name, op in named_ops(model).items()
        for kind in ("params", "buffers")
        for key, tensor in dict_of(op, kind).items()
    }


def trained_by_file(path, model, optimizer, X, y, rates):
    """What a file makes of the state in which model and optimizer are, and its losses."""
    session = session_of(path)
    names = [port.name for port in session.get_outputs()]
    held = held_by(model)
    fed = {name: t.numpy().copy() for name, t in (held | optimizer.state_dict()).items()}
    losses = []
    for lr in rates:
        given = session.run(None, {"X": X.numpy(), "y": y.numpy(), "lr": np.array(lr), **fed})
        found = dict(zip(names, given, strict=True))
        losses.append(float(found.pop("loss")))
        fed = {name.removesuffix(".next"): value for name, value in found.items()}
    return {name: torch.from_numpy(value) for name, value in fed.items()}, losses


def trained(model, loss_fn, optimizer, X, y, rates):
    losses = []
    for optimizer.lr in rates:
        losses.append(float(training_step(model, loss_fn, optimizer, X, y)[1]))
    held = held_by(model)
    return held | optimizer.state_dict(), losses


def assert_trains_alike(path, model, loss_fn, optimizer, X, y, tolerance=1e-5):
    rates = [0.05 / (1 + step / 100) for step in range(200)]
    found = trained_by_file(path, model, optimizer, X, y, rates)
    wanted = trained(model, loss_fn, optimizer, X, y, rates)
    torch.testing.assert_close(found, wanted, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("kind", [BatchGD, Momentum, Adam])
@pytest.mark.parametrize("options", [{}, {"weight_decay": 0.1, "clip_norm": 0.5}], ids=["", "L2"])
def test_onnxruntime_trains_by_a_file_as_opnet_does(kind, options, tmp_path, moons):
    model = Model_MLP_L2(2, 5, 1)
    loss_fn, optimizer = BinaryCrossEntropyLoss(model), kind(0.1, model, **options)
    path = export_training_step(model, loss_fn, optimizer, tmp_path / "step.onnx")
    assert_trains_alike(path, model, loss_fn, optimizer, *moons[0])


@pytest.mark.parametrize("kind", [Adagrad, RMSprop])
def test_in_float64_so_do_optimizers_that_make_much_of_rounding(kind, tmp_path, moons):
    model = Model_MLP_L2(2, 5, 1, dtype=torch.float64)
    loss_fn, optimizer = BinaryCrossEntropyLoss(model), kind(0.1, model)
    path = export_training_step(model, loss_fn, optimizer, tmp_path / "step.onnx")
    assert_trains_alike(path, model, loss_fn, optimizer, *(t.double() for t in moons[0]))


LEFT_OUT = {"Dropout", "kinds", "eval", "row"}  # what draws, and rows of which others stand here
DETERMINISTIC = [case for case in CASES if not LEFT_OUT & {*case.name.split()}]
OF_INDICES = [case for case in LOSS_CASES if case.name != "soft labels"]


@pytest.mark.parametrize("case", DETERMINISTIC, ids=[case.name for case in DETERMINISTIC])
def test_every_op_trains_by_a_file(case, tmp_path):
    model = Sequential(Linear(2, case.shape[1], "first"), case.make(), Tanh()).to(torch.float32)
    loss_fn, optimizer = MeanSquaredErrorLoss(model), Momentum(0.01, model)
    path = export_training_step(model, loss_fn, optimizer, tmp_path / "step.onnx")
    X = torch.randn(9, 2)
    assert_trains_alike(path, model, loss_fn, optimizer, X, torch.rand_like(model(X)))


@pytest.mark.parametrize("case", OF_INDICES, ids=[case.name for case in OF_INDICES])
def test_every_loss_trains_by_a_file(case, tmp_path):
    model = model_of(case).to(torch.float32)
    loss_fn, optimizer = case.make(model), Adam(0.01, model)
    path = export_training_step(model, loss_fn, optimizer, tmp_path / "step.onnx")
    X = torch.randn(9, 3)
    y = loss_fn.check(model(X), case.labels(model(X)))
    assert_trains_alike(path, model, loss_fn, optimizer, X, y)


@pytest.mark.parametrize("width", [13, 17, 26, 34, 39, 51])
def test_no_width_and_no_weights_keep_a_step_from_being_written(width, tmp_path):
    ops = Linear(2, width, "fc1"), BatchNorm(width), GELU(), Linear(width, 1, "fc2")
    model = Sequential(*ops)
    loss_fn, optimizer = MeanSquaredErrorLoss(model), Adam(0.01, model)
    assert export_onnx(model, tmp_path / "model.onnx").exists()
    assert export_training_step(model, loss_fn, optimizer, tmp_path / "step.onnx").exists()


def test_an_op_of_a_learners_trains_by_a_file(tmp_path):
    model = Sequential(PlainLinear(2, 3, "fc1"), Bump(), Linear(3, 1, "fc2"))
    loss_fn, optimizer = MeanSquaredErrorLoss(model), Adam(0.1, model)
    X = torch.randn(20, 2)
    model(X)
    model.backward(torch.zeros(20, 1))  # makes its grads
    path = export_training_step(model, loss_fn, optimizer, tmp_path / "step.onnx")
    assert_trains_alike(path, model, loss_fn, optimizer, X, X.prod(dim=1, keepdim=True))


def test_exports_leave_model_optimizer_and_random_numbers_as_they_were(tmp_path):
    model = Sequential(Linear(2, 3, "fc1"), BatchNorm(3, "bn"), Linear(3, 1, "fc2"))
    loss_fn, adam = MeanSquaredErrorLoss(model), Adam(0.1, model)
    training_step(model, loss_fn, adam, torch.randn(4, 2), torch.randn(4, 1))
    held = [*state(model), *adam.state_dict().values(), model.outputs]
    before, random = copy.deepcopy(held), torch.get_rng_state()
    export_training_step(model, loss_fn, adam, tmp_path / "step.onnx")
    export_onnx(model, tmp_path / "model.onnx")
    after = [*state(model), *adam.state_dict().values(), model.outputs]
    assert all(map(torch.equal, before, after))
    assert torch.equal(torch.get_rng_state(), random)
    assert model.training


class Strange(Op):
    """y = x + rule(x)."""

    def __init__(self, rule):
        self.rule = rule

    def forward(self, inputs):
        return inputs + self.rule(inputs)

    def backward_inputs(self, grads):
        return grads


OTHERS = {  # kernels that no op of opnet calls, and a learner's may
    "bmm": lambda x: torch.einsum("ni,ij->nj", x, torch.ones(2, 2)),
    "view": lambda x: x.reshape(len(x), 2, 1).flatten(1).view(-1, 1).view(-1, 2),
    "view as it is": lambda x: x.view(x.shape[0], -1),
    "eq, ne, not, where": lambda x: torch.where((x == 1) | ~(x != 2), x, x * 0.5),
    "comparisons": lambda x: (x > 0) * x + (x >= 1) * x - (x < 0.5) * x * 2.0 - (x <= -1).float(),
    "and": lambda x: ((x > -1) & (x < 1)) * x,
    "amax, amin": lambda x: x / (x.amax(-1, keepdim=True) - x.amin(-1, keepdim=True)),
    "silu, leaky relu, hardtanh": lambda x: F.silu(x) + F.leaky_relu(x, 0.2) + F.hardtanh(x),
    "cube": lambda x: x**3,
    "sin, cos, floor, sign, erf": lambda x: x.sin() + x.cos() + x.floor() + x.sign() + x.erf(),
    "numbers of elements": lambda x: x / x.numel() + x / float(x.numel()),
    "floor_divide": lambda x: x // 0.5 + 1 // (x.abs() + 1),
    "maximum, minimum": lambda x: torch.maximum(x, x * x) - torch.minimum(x, -x),
    "zero, fill, copy": lambda x: (x * 1).zero_() + (x * 1).fill_(2) + (x * 2).copy_(x),
    "slice, cat": lambda x: torch.cat([x[:, 1:], x[:, :1]], dim=-1),
    "stack, select, transpose": lambda x: torch.stack([x, -x])[1].T.contiguous().T,
    "sums": lambda x: x.sum() + x.mean() + x.sum(0) + x.mean(1, keepdim=True),
    "whole numbers": lambda x: (x > 0).long() * 0.5 + (x > 0).long() / 2,
    "counts": lambda x: x * (x > 0).sum(0) + (x > 0).sum() + (x > 0).long().sum(1, keepdim=True),
    "sums in another dtype": lambda x: x + x.sum(0, dtype=torch.float64).to(x) + x.long().sum(0),
    "half": lambda x: x.half().float() * 0 + x,
    "rsub": lambda x: torch.rsub(x, x * x, alpha=2) + torch.sub(x, x, alpha=3),
    "addmm": lambda x: torch.addmm(torch.ones(2), x, torch.eye(2), beta=2, alpha=3),
}


@pytest.mark.parametrize("rule", OTHERS.values(), ids=OTHERS)
def test_other_kernels_are_written_too(rule, tmp_path):
    op, X = Strange(rule), torch.randn(6, 2)
    model = Sequential(Linear(2, 2), op)
    path = export_onnx(model, tmp_path / "op.onnx")
    torch.testing.assert_close(outputs_of(path, X), model(X), rtol=1e-5, atol=1e-5)


def viewed(x):
    doubled = x * 2
    column = doubled[:, :1]
    doubled.add_(1)
    return column


CONSTANT = torch.eye(2)
REFUSED = {
    "Strange: no rule in ONNX for torch's cumsum": lambda x: x.cumsum(0),
    "Strange: no rule in ONNX for such a var_mean: ": lambda x: torch.var_mean(x, dim=0)[0],
    "Strange: depends on the number of rows": lambda x: x * len(x),
    "Strange: depends on the number of ": lambda x: x.expand(len(x), 2) * torch.ones(len(x), 1),
    "Strange: reads values back": lambda x: x * (2 * float(x[0, 0])),
    "Strange: reads valu": lambda x: x * max(float(x.mean()), 0.5),
    "Strange: reads values bac": lambda x: x * abs(x.mean().item()),
    "Strange: reads values ba": lambda x: x + torch.from_numpy(x.numpy().mean(0)),
    "Strange: reads values b": lambda x: x + torch.tensor(x.tolist()).mean(0),
    "Strange: no rule in ONNX for such a floor_divide: whole": lambda x: x * (x.long() // 2),
    "outputs: ONNX computes other values than a second run, on 1 row, which asks how": lambda x: (
        x * (len(x) > 20)
    ),
    "Strange: reads values": lambda x: x if x.square().sum() > 0 else -x,
    "Strange: reads a view of what was written in place": viewed,
    "does not run in float64, or on 1 row, to compare values: ": lambda x: x @ CONSTANT,
    "Strange: draws at random, by torch's aten::rand": torch.rand_like,
}


@pytest.mark.parametrize(("said", "rule"), REFUSED.items(), ids=REFUSED)
def test_what_cannot_be_written_is_refused_by_name_and_the_old_file_stays(said, rule, tmp_path):
    path = tmp_path / "model.onnx"
    path.write_text("before")
    with pytest.raises(ValueError, match=r"^export_onnx: ") as error:
        export_onnx(Sequential(Linear(2, 2), Strange(rule)), path)
    assert str(error.value).startswith(f"export_onnx: {said.replace('Strange', 'Strange_1')}")
    assert len(str(error.value).splitlines()) == 1
    assert path.read_text() == "before"
    assert [*tmp_path.iterdir()] == [path]


class Squares(Op):
    """y = (x, x^2),  of I columns 2 I."""

    def __init__(self, columns=None):
        self.input_size = columns

    def forward(self, inputs):
        return torch.cat([inputs, inputs**2], dim=-1)

    def backward_inputs(self, grads):
        raise NotImplementedError


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (PlainLinear(1, 3, "fc"), "PlainLinear does not run on 9 columns: mat1 and mat2 shapes"),
        (torch.nn.Linear(2, 3), "Linear does not run on 9 columns: mat1 and mat2 shapes"),
        (Sequential(Squares(), Linear(4, 1)), "Sequential does not run on 4 columns: Linear"),
    ],
)
def test_a_guessed_number_of_columns_is_named(model, said, tmp_path):
    with pytest.raises(ValueError, match=f"^export_onnx: {said}") as error:
        export_onnx(model, tmp_path / "x.onnx")
    assert str(error.value).endswith("; an op tells its own by input_size")
    assert len(str(error.value).splitlines()) == 1


def test_an_op_that_wants_two_columns_and_tells_none_is_written(tmp_path):
    X = torch.randn(3, 4)
    op = Strange(lambda x: x * x[:, 1].mean())
    path = export_onnx(op, tmp_path / "x.onnx")
    torch.testing.assert_close(outputs_of(path, X), op.forward(X), rtol=1e-6, atol=1e-6)


def test_an_op_that_tells_its_columns_stands_in_front(tmp_path):
    model, X = Sequential(Squares(2), Linear(4, 1)), torch.randn(3, 2)
    path = export_onnx(model, tmp_path / "x.onnx")
    torch.testing.assert_close(outputs_of(path, X), model(X), rtol=1e-6, atol=1e-6)


def test_a_wrong_rule_is_found_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setitem(opnet.bridge.rules.RULES, "tanh", lambda x: x)
    with pytest.raises(ValueError, match="export_onnx: outputs: ONNX computes other values"):
        export_onnx(Sequential(Linear(2, 2), Tanh()), tmp_path / "model.onnx")
    assert not [*tmp_path.iterdir()]


class Gathers(Op):
    """y = a x + mean_n x,  dL/da = sum g x, added up in place."""

    def __init__(self):
        self.params = {"a": torch.ones(1, 2)}
        self.grads = {"a": torch.zeros(1, 2)}

    def forward(self, inputs):
        self.inputs = inputs
        total = torch.zeros(1, 2, dtype=inputs.dtype)
        total += inputs.mean(0)
        return inputs * self.params["a"] + total

    def backward_params(self, grads):
        self.grads["a"].zero_()
        self.grads["a"] += (grads * self.inputs).sum(0, keepdim=True)

    def backward_inputs(self, grads):
        return grads * self.params["a"] + grads.mean(0, keepdim=True)


def test_what_is_added_up_in_place_begins_as_it_was_before(tmp_path):
    model = Sequential(Linear(2, 2, "fc1"), Gathers())
    loss_fn, optimizer = MeanSquaredErrorLoss(model), Momentum(0.001, model)
    path = export_training_step(model, loss_fn, optimizer, tmp_path / "step.onnx")
    assert_trains_alike(path, model, loss_fn, optimizer, torch.randn(9, 2), torch.randn(9, 2))


class Counted(Op):
    """y = n x,  dy/dx = n,  in its n-th forward."""

    n = 0

    def forward(self, inputs):
        self.n += 1
        return inputs * self.n

    def backward_inputs(self, grads):
        return grads * self.n


class OwnMomentum(Optimizer):
    """Keeps its velocity where no file looks for it."""

    def __init__(self, *how):
        super().__init__(*how)
        self.v = {}

    def step(self):
        for key, (p, g, _) in enumerate(self.walk()):
            self.v[key] = self.v.get(key, 0) * 0.9 + g
            p.sub_(self.v[key] * 0.1)


class OwnAdam(Optimizer):
    """Counts its steps where no file looks for them."""

    t = 0

    def step(self):
        self.t += 1
        for p, g, _ in self.walk():
            p.sub_(g / self.t)


@pytest.mark.parametrize("kind", [OwnMomentum, OwnAdam, BatchGD])
def test_what_a_step_keeps_outside_of_its_inputs_is_found(kind, tmp_path):
    model = Sequential(Linear(2, 2), Counted() if kind is BatchGD else Tanh())
    path = tmp_path / "step.onnx"
    with pytest.raises(ValueError, match="ONNX computes other values than a second run, on 1 row"):
        export_training_step(model, MeanSquaredErrorLoss(model), kind(0.1, model), path)
    assert not path.exists()


def test_a_batch_norm_trains_by_a_file_on_one_row_and_on_many(tmp_path):
    model = Sequential(Linear(2, 3, "fc1"), BatchNorm(3, "bn"), Linear(3, 1, "fc2"))
    loss_fn, optimizer = MeanSquaredErrorLoss(model), Momentum(0.01, model)
    path = export_training_step(model, loss_fn, optimizer, tmp_path / "step.onnx")
    for rows in (1, 7, 1, 300):
        X, y = torch.randn(rows, 2), torch.randn(rows, 1)
        found = trained_by_file(path, model, optimizer, X, y, [0.1])
        wanted = trained(model, loss_fn, optimizer, X, y, [0.1])
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
        assert all(t.isfinite().all() for t in found[0].values())


def test_training_steps_that_cannot_be_written_are_refused(tmp_path):
    model = Sequential(Linear(2, 2, "fc1"), Dropout(0.5, "drop"), Logistic())
    loss_fn, other = BinaryCrossEntropyLoss(model), Model_MLP_L2(2, 5, 1)
    path = tmp_path / "step.onnx"
    with pytest.raises(ValueError, match="export_training_step: drop: draws at random"):
        export_training_step(model, loss_fn, BatchGD(0.1, model), path)
    with pytest.raises(ValueError, match="export_training_step: BatchGD is of another model"):
        export_training_step(model, loss_fn, BatchGD(0.1, other), path)
    with pytest.raises(ValueError, match="BinaryCrossEntropyLoss is of another model"):
        export_training_step(model, BinaryCrossEntropyLoss(), BatchGD(0.1, model), path)
    with pytest.raises(TypeError, match=r"optimizer is a NoneType, wanted an opnet.Optimizer"):
        export_training_step(model, loss_fn, None, path)
    assert not path.exists()


def test_a_path_that_cannot_be_written_is_refused_in_one_line(tmp_path):
    taken = tmp_path / "taken"
    taken.mkdir()
    with pytest.raises(ValueError, match="taken: cannot be written: Is a directory"):
        export_onnx(Tanh(), taken)
    with pytest.raises(ValueError, match="path is '', wanted a path"):
        export_onnx(Tanh(), "")
    with pytest.raises(ValueError, match=r"export_onnx: came torch.bfloat16, wanted one of"):
        export_onnx(Linear(2, 2, dtype=torch.bfloat16), tmp_path / "x.onnx")
    assert [*tmp_path.iterdir()] == [taken]
