"""Ops without weights: exact where they saturate, their slopes at kinks, what they refuse."""

import mpmath
import pytest
import torch
from mpmath import mp, mpf

from opnet import (
    ELU,
    GELU,
    BatchNorm,
    Dropout,
    HardLogistic,
    HardTanh,
    LayerNorm,
    LeakyReLU,
    Logistic,
    LogSoftmax,
    ReLU,
    Rescale,
    Softmax,
    Softplus,
    Swish,
    Tanh,
)

F = torch.nn.functional
FLOATS = pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
POINTS = [0.0, 1e-8, 1e-3, 0.25, 0.8, 1.5, 3.0, 5.0, 9.0, 17.0, 36.0, 40.0, 90.0, 1000.0]
POINTS += [-z for z in POINTS]

mp.dps = 60


def sigma(z):
    return 1 / (1 + mpmath.exp(-z))


def density(z):
    return mpmath.exp(-z * z / 2) / mpmath.sqrt(2 * mpmath.pi)


def swish_slope(z, b):
    return sigma(b * z) * (1 + b * z * sigma(-b * z))


def clipped(z, low=-1, high=1):
    return min(max(z, mpf(low)), mpf(high))


# op, y(z), dy/dz(z), and both at -inf and inf
RULES = [
    (ReLU(), lambda z: max(z, mpf(0)), lambda z: z > 0, (0, 0), (torch.inf, 1)),
    (
        LeakyReLU(0.5),
        lambda z: z if z > 0 else z / 2,
        lambda z: 1 if z > 0 else 0.5,
        (-torch.inf, 0.5),
        (torch.inf, 1),
    ),
    (
        LeakyReLU(0),
        lambda z: max(z, mpf(0)),
        lambda z: z > 0,
        (0, 0),
        (torch.inf, 1),
    ),
    (HardTanh(), clipped, lambda z: abs(z) < 1, (-1, 0), (1, 0)),
    (
        HardLogistic(),
        lambda z: clipped(z / 4 + 0.5, 0),
        lambda z: 0.25 if abs(z) < 2 else 0,
        (0, 0),
        (1, 0),
    ),
    (Tanh(), mpmath.tanh, lambda z: mpmath.sech(z) ** 2, (-1, 0), (1, 0)),
    (
        ELU(),
        lambda z: z if z > 0 else mpmath.expm1(z),
        lambda z: 1 if z > 0 else mpmath.exp(z),
        (-1, 0),
        (torch.inf, 1),
    ),
    (
        ELU(0.5),
        lambda z: z if z > 0 else mpmath.expm1(z) / 2,
        lambda z: 1 if z > 0 else mpmath.exp(z) / 2,
        (-0.5, 0),
        (torch.inf, 1),
    ),
    (Softplus(), lambda z: mpmath.log1p(mpmath.exp(z)), sigma, (0, 0), (torch.inf, 1)),
    (Swish(), lambda z: z * sigma(z), lambda z: swish_slope(z, 1), (0, 0), (torch.inf, 1)),
    (Swish(4), lambda z: z * sigma(4 * z), lambda z: swish_slope(z, 4), (0, 0), (torch.inf, 1)),
    (Swish(0), lambda z: z / 2, lambda z: 0.5, (-torch.inf, 0.5), (torch.inf, 0.5)),
    (
        GELU(),
        lambda z: z * mpmath.ncdf(z),
        lambda z: mpmath.ncdf(z) + z * density(z),
        (0, 0),
        (torch.inf, 1),
    ),
]
every_rule = pytest.mark.parametrize(
    ("op", "value", "slope", "at_minus_inf", "at_inf"),
    RULES,
    ids=[f"{type(rule[0]).__name__}-{position}" for position, rule in enumerate(RULES)],
)


def exact(came, wanted, roundings):
    """Equal to some roundings of the dtype, or both not to be told from its smallest numbers."""
    info = torch.finfo(came.dtype)
    wanted = torch.tensor([float(number) for number in wanted], dtype=torch.float64)
    error = (came.flatten().double() - wanted).abs()
    allowed = roundings * info.eps * wanted.abs() + 100 * info.tiny
    assert (error <= allowed).all(), (came, wanted)


@FLOATS
@every_rule
def test_values_and_slopes_are_exact_where_the_rule_saturates(
    op, value, slope, at_minus_inf, at_inf, dtype
):
    z = torch.tensor(POINTS, dtype=dtype).reshape(-1, 1)
    points = [mpf(number) for number in z.flatten().tolist()]
    roundings = torch.full((len(points),), 16.0)
    if isinstance(op, GELU):  # the distribution function multiplies the rounding of z by z^2
        roundings += z.flatten().clamp(-40, 0).square()
    exact(op(z), map(value, points), roundings)
    exact(op.backward(torch.ones_like(z)), map(slope, points), roundings)


@FLOATS
@every_rule
def test_at_inf_values_and_slopes_are_their_limits(op, value, slope, at_minus_inf, at_inf, dtype):
    z = torch.tensor([[-torch.inf, torch.inf]], dtype=dtype)
    limits = torch.tensor([at_minus_inf, at_inf], dtype=dtype).T
    assert torch.equal(op(z)[0], limits[0])
    assert torch.equal(op.backward(torch.ones_like(z))[0], limits[1])
    assert op(z * torch.nan).isnan().all()


def test_the_logistic_is_exact_but_for_the_rounding_of_p():
    op, z = Logistic(), torch.tensor(POINTS, dtype=torch.float64).reshape(-1, 1)
    points = [mpf(number) for number in z.flatten().tolist()]
    exact(op(z), map(sigma, points), 4)
    wanted = torch.tensor([float(sigma(z) * sigma(-z)) for z in points], dtype=torch.float64)
    torch.testing.assert_close(
        op.backward(torch.ones_like(z)).flatten(), wanted, rtol=0, atol=torch.finfo(z.dtype).eps
    )


TWINS = [
    (Tanh(), torch.tanh),
    (ReLU(), torch.relu),
    (LeakyReLU(0.2), lambda z: F.leaky_relu(z, 0.2)),
    (HardLogistic(1 / 6), F.hardsigmoid),
    (HardTanh(), F.hardtanh),
    (ELU(1.5), lambda z: F.elu(z, 1.5)),
    (Softplus(), F.softplus),
    (Swish(), F.silu),
    (Swish(1.7), lambda z: z * torch.sigmoid(1.7 * z)),
    (GELU(), F.gelu),
    (Softmax(), lambda z: F.softmax(z, dim=-1)),
    (LogSoftmax(), lambda z: F.log_softmax(z, dim=-1)),
    (LayerNorm(4, dtype=torch.float64), lambda z: F.layer_norm(z, [4])),
    (
        BatchNorm(4, dtype=torch.float64),
        lambda z: F.batch_norm(z.flatten(0, -2), None, None, training=True).reshape(z.shape),
    ),
]


@pytest.mark.parametrize(("op", "torchs"), TWINS, ids=[type(op).__name__ for op, _ in TWINS])
def test_ops_are_torchs_functions(op, torchs):
    z = 3 * torch.randn(2, 50, 4, dtype=torch.float64)
    leaf, upstream = z.clone().requires_grad_(), torch.randn_like(z)
    expected = torchs(leaf)
    torch.testing.assert_close(op(z), expected.detach(), rtol=1e-8, atol=1e-8)  # F.softplus: 2e-9
    (slope,) = torch.autograd.grad(expected, leaf, upstream)
    torch.testing.assert_close(op.backward(upstream), slope, rtol=1e-8, atol=1e-8)


KINKS = [
    (ReLU(), [0.0], [0.0]),
    (LeakyReLU(0.25), [0.0], [0.25]),
    (ELU(0.25), [0.0], [0.25]),
    (HardTanh(), [-1.0, 1.0], [0.0, 0.0]),
    (HardLogistic(), [-2.0, 2.0], [0.0, 0.0]),
]


@FLOATS
@pytest.mark.parametrize(("op", "z", "slopes"), KINKS, ids=[type(op).__name__ for op, *_ in KINKS])
def test_the_slope_at_a_kink_is_the_one_its_docstring_names(op, z, slopes, dtype):
    op(torch.tensor([z], dtype=dtype))
    assert op.backward(torch.ones(1, len(z), dtype=dtype)).tolist() == [slopes]
    assert "kink" in type(op).__doc__


# --- rows of classes

ROWS = [
    [0.0, 0.0, 0.0],
    [1e-8, -1e-8, 0.0],
    [40.0, 0.0, -40.0],
    [17.0, 0.0, 16.0],
    [1000.0, -1000.0, 0.0],
    [-1000.0, -1000.0, -1001.0],
    [1e4, 1e4, -1e4],
]


def probabilities(row):
    exponentials = [mpmath.exp(z) for z in row]
    return [e / mpmath.fsum(exponentials) for e in exponentials]


def jacobian(row, log):
    """dp_j / dz_i, or dl_j / dz_i, by rows j."""
    p = probabilities(row)
    return [[((i == j) - p[i]) * (1 if log else p[j]) for i in range(3)] for j in range(3)]


@FLOATS
@pytest.mark.parametrize("row", ROWS, ids=str)
def test_softmax_and_its_log_are_exact_at_any_logits(row, dtype):
    z = torch.tensor([row], dtype=dtype)
    exact_row = [mpf(number) for number in z[0].tolist()]
    p = probabilities(exact_row)
    exact(Softmax()(z), p, 16)
    logs = [
        -mpmath.log1p(mpmath.fsum(mpmath.exp(z) for i, z in enumerate(others) if i != j) / own)
        for j in range(3)
        for others, own in [(exact_row, mpmath.exp(exact_row[j]))]
    ]
    exact(LogSoftmax()(z), logs, 16)
    for op in (Softmax(), LogSoftmax()):
        op(z.expand(3, 3))
        wanted = torch.tensor(
            [[float(d) for d in of] for of in jacobian(exact_row, isinstance(op, LogSoftmax))],
            dtype=torch.float64,
        )
        came = op.backward(torch.eye(3, dtype=dtype)).double()
        torch.testing.assert_close(came, wanted, rtol=0, atol=4 * torch.finfo(dtype).eps)


@FLOATS
def test_softmax_of_infinite_logits_is_its_limit(dtype):
    inf = torch.inf
    z = torch.tensor([[inf, 0, -1], [0, -inf, 0], [3e38, 0, inf], [-inf, 5, -inf]], dtype=dtype)
    p = torch.tensor([[1, 0, 0], [0.5, 0, 0.5], [0, 0, 1], [0, 1, 0]], dtype=dtype)
    for op, limit in ((Softmax(), p), (LogSoftmax(), p.log())):
        torch.testing.assert_close(op(z), limit, rtol=1e-6, atol=0)
        assert op.backward(torch.randn_like(z)).isfinite().all()
        no_limit = torch.tensor([[-inf, -inf, -inf], [0, torch.nan, 0]], dtype=dtype)
        assert op(no_limit).isnan().all()


# --- Dropout


def test_dropout_keeps_the_mean_and_its_mask():
    op, x = Dropout(0.25), torch.ones(100, 100)
    y = op(x)
    assert set(y.unique().tolist()) == {0.0, torch.tensor(1 / 0.75).item()}
    assert y.mean().item() == pytest.approx(1, abs=0.02)
    assert torch.equal(y != 0, op.mask)
    upstream = torch.randn_like(x)
    assert torch.equal(op.backward(upstream), upstream / 0.75 * op.mask)
    assert not torch.equal(op(x), y)


def test_dropout_draws_from_its_generator_and_only_in_training():
    def draw(op, x):
        before = torch.get_rng_state()
        y = op(x)
        assert torch.equal(torch.get_rng_state(), before)
        return y

    x = torch.randn(20, 5)
    ops = [Dropout(0.5, generator=torch.Generator().manual_seed(3)) for _ in range(2)]
    assert torch.equal(draw(ops[0], x), draw(ops[1], x))
    for op in (Dropout(0.5).eval(), Dropout(0)):
        assert torch.equal(draw(op, x), x)
        assert torch.equal(op.backward(x), x)


def test_a_dropped_inf_is_0():
    y = Dropout(0.5)(torch.full((50, 1), torch.inf))
    assert set(y.flatten().tolist()) == {0.0, torch.inf}


def test_the_mode_of_the_forward_decides_what_backward_does():
    dropout, norm, x = Dropout(0.5), BatchNorm(5), torch.randn(20, 5)
    for op in (dropout, norm):
        op(x)
        before = op.backward(x)
        assert torch.equal(op.eval().backward(x), before)
        op(x)
        assert not torch.equal(op.backward(x), before)


# --- normalisation


def test_running_statistics_are_torchs_and_move_in_training_only():
    op, twin = BatchNorm(3, "bn"), torch.nn.BatchNorm1d(3)
    addresses = [tensor.data_ptr() for tensor in op.buffers.values()]
    for _ in range(3):
        x = 2 * torch.randn(10, 3) + 1
        torch.testing.assert_close(op(x), twin(x).detach())
    torch.testing.assert_close(op.buffers["running_mean"][0], twin.running_mean)
    torch.testing.assert_close(op.buffers["running_var"][0], twin.running_var)
    assert [tensor.data_ptr() for tensor in op.buffers.values()] == addresses
    before = [tensor.clone() for tensor in op.buffers.values()]
    torch.testing.assert_close(op.eval()(x), twin.eval()(x).detach())
    assert all(map(torch.equal, op.buffers.values(), before))


def test_momentum_1_keeps_the_last_batch_and_0_the_start():
    x = torch.randn(10, 3, dtype=torch.float64)
    last, start = (BatchNorm(3, momentum=m, dtype=torch.float64) for m in (1, 0))
    last(x), start(x)
    torch.testing.assert_close(last.buffers["running_var"], x.var(dim=0, keepdim=True))
    assert start.buffers["running_var"].tolist() == [[1.0, 1.0, 1.0]]


@FLOATS
@pytest.mark.parametrize("shape", [(1, 3), (1, 1, 3)])
def test_one_row_is_normalised_to_b_and_leaves_the_running_variance(shape, dtype):
    op, x = BatchNorm(3, "bn", dtype=dtype), torch.randn(shape, dtype=dtype)
    op.params["b"].normal_()
    op.buffers["running_var"].fill_(2)
    assert torch.equal(op(x), op.params["b"].expand(shape))
    upstream = torch.randn(shape, dtype=dtype)
    assert torch.equal(op.backward(upstream), torch.zeros(shape, dtype=dtype))
    assert torch.equal(op.grads["W"], torch.zeros(1, 3, dtype=dtype))
    assert torch.equal(op.grads["b"], upstream.reshape(1, 3))
    torch.testing.assert_close(op.buffers["running_mean"], 0.1 * x.reshape(1, 3))
    assert op.buffers["running_var"].tolist() == [[2.0] * 3]
    assert op.eval()(x).shape == shape


def test_one_feature_is_normalised_to_b():
    op, x = LayerNorm(1), torch.randn(5, 1)
    op.params["b"].fill_(0.5)
    assert torch.equal(op(x), torch.full((5, 1), 0.5))
    assert torch.equal(op.backward(torch.randn(5, 1)), torch.zeros(5, 1))


def test_no_rows_leave_the_running_statistics_as_they_are():
    op = BatchNorm(3, "bn")
    op(torch.randn(2, 3))
    before = op.backward(torch.ones(2, 3))
    with pytest.raises(
        ValueError, match=r"'bn': inputs are float32 \[0, 3\], wanted at least one row"
    ):
        op(torch.randn(0, 3))
    assert torch.equal(op.backward(torch.ones(2, 3)), before)
    assert all(tensor.isfinite().all() for tensor in op.buffers.values())


@FLOATS
@pytest.mark.parametrize("make", [LayerNorm, BatchNorm])
def test_equal_values_and_large_offsets_are_normalised(make, dtype):
    op = make(4, dtype=dtype)
    same = torch.full((4, 4), 7.0, dtype=dtype)
    assert torch.equal(op(same), torch.zeros_like(same))
    assert op.backward(torch.randn_like(same)).isfinite().all()
    x = torch.randn(4, 4, dtype=torch.float64).mul(64).round().to(dtype)
    torch.testing.assert_close(op(x + 2.0**17), op(x).clone(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("make", [LayerNorm, BatchNorm])
def test_normalisation_refuses_inputs_that_do_not_fit(make):
    op = make(3, "norm")
    with pytest.raises(ValueError, match="'norm': inputs have 1 columns, W wants 3"):
        op(torch.randn(5, 1))
    with pytest.raises(TypeError, match=r"'norm': inputs are torch.float64, W is torch.float32"):
        op(torch.randn(5, 3).double())
    with pytest.raises(ValueError, match=r"inputs are float32 \[3\], wanted \[..., N, 3\]"):
        op(torch.randn(3))


# --- construction


@pytest.mark.parametrize(
    ("make", "kind", "said"),
    [
        (lambda: LeakyReLU(-0.1), ValueError, "LeakyReLU: negative_slope is -0.1, wanted .* >= 0"),
        (lambda: LeakyReLU("a"), TypeError, "LeakyReLU: negative_slope is 'a', wanted"),
        (lambda: HardLogistic(0), ValueError, "HardLogistic: slope is 0.0, wanted .* > 0"),
        (lambda: HardLogistic(0.2, torch.inf), ValueError, "HardLogistic: offset is inf, wanted a"),
        (lambda: ELU(torch.nan, "act"), ValueError, "ELU 'act': alpha is nan, wanted .* >= 0"),
        (lambda: ELU(None), TypeError, "ELU: alpha is None, wanted"),
        (lambda: Swish(-1), ValueError, "Swish: beta is -1.0, wanted .* >= 0"),
        (lambda: Dropout(1), ValueError, "Dropout: p is 1.0, wanted 0 <= p < 1"),
        (lambda: Dropout(True), TypeError, "Dropout: p is True, wanted 0 <= p < 1"),
        (lambda: Dropout(0.5, generator=7), TypeError, "Dropout: generator is 7, wanted a torch"),
        (lambda: LayerNorm(0), ValueError, "LayerNorm: features is 0, wanted .* >= 1"),
        (lambda: LayerNorm(2.0), TypeError, "LayerNorm: features is 2.0, wanted a whole number"),
        (lambda: LayerNorm(2, eps=0), ValueError, "LayerNorm: eps is 0.0, wanted .* > 0"),
        (lambda: LayerNorm(2, dtype=torch.int64), TypeError, "dtype is torch.int64, wanted float"),
        (lambda: BatchNorm(2, momentum=1.5), ValueError, "momentum is 1.5, wanted 0 <= momentum"),
        (lambda: Rescale(0), ValueError, "Rescale: features is 0, wanted .* >= 1"),
        (lambda: Rescale(2, dtype=torch.int64), TypeError, "dtype is torch.int64, wanted float"),
        (lambda: Rescale(2)(torch.ones(1, 3)), ValueError, "have 3 columns, mean wants 2"),
        (lambda: Rescale.of(torch.ones(0, 3)), ValueError, r"of: X is float32 \[0, 3\], wanted at"),
        (lambda: Rescale.of(torch.tensor([[torch.nan]])), ValueError, r"of: X\[0, 0\] is nan"),
        (lambda: Tanh(3), TypeError, "Tanh: name is 3, wanted a string"),
        (lambda: GELU("a/b"), ValueError, "GELU: name is 'a/b', wanted"),
    ],
)
def test_arguments_that_do_not_fit_are_named(make, kind, said):
    with pytest.raises(kind, match=said):
        make()


@pytest.mark.parametrize(
    "make",
    [
        *(type(op) for op, _ in TWINS[:-2]),
        Logistic,
        lambda name: Dropout(0.5, name),
        lambda name: LayerNorm(2, name),
        lambda name: BatchNorm(2, name),
        lambda name: Rescale(2, name),
        lambda name: Rescale.of(torch.randn(3, 2), name),
    ],
)
def test_every_op_takes_a_name(make):
    assert make(name="act1").name == "act1"


def test_weights_move_and_go_to_disk_with_their_statistics(tmp_path):
    from opnet import Linear, Sequential, checkpoint

    def model():
        return Sequential(Linear(2, 3, "fc1"), BatchNorm(3, "bn"), LayerNorm(3, "ln"))

    trained, fresh = model(), model()
    trained(torch.randn(20, 2))
    checkpoint.save(tmp_path, checkpoint.layers_of(trained))
    checkpoint.load(tmp_path, fresh)
    X = torch.randn(5, 2)
    assert torch.equal(fresh.eval()(X), trained.eval()(X))
    assert fresh.to(torch.float64)(X.double()).dtype == torch.float64


def test_rescale_brings_columns_to_mean_0_and_variance_1_and_back():
    X = torch.randn(50, 3, dtype=torch.float64) * torch.tensor([1e-3, 1, 1e4]) + 7
    X[:, 1] = 5
    op = Rescale.of(X)
    variance, mean = torch.var_mean(op(X), dim=0, correction=0)
    assert torch.allclose(mean, torch.zeros_like(mean), atol=1e-10)
    assert torch.allclose(variance, torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64))
    assert torch.allclose(op.undo()(op(X)), X)
