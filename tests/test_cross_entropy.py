"""The cross-entropy of several classes: exact at any logits behind each head, and it trains."""

from functools import partial

import mpmath
import pytest
import torch
from mpmath import mp, mpf
from witness import close

from opnet import (
    BatchGD,
    CrossEntropyLoss,
    HardTanh,
    HingeLoss,
    Linear,
    LogSoftmax,
    NonFiniteError,
    Sequential,
    Softmax,
    Tanh,
    accuracy,
    make_moons,
)
from opnet.walk import state
from runners import RunnerV2_1

F = torch.nn.functional
mp.dps = 60
HEADS = {"softmax": [Softmax], "log-softmax": [LogSoftmax], "logits": []}
every_head = pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
FLOATS = pytest.mark.parametrize("dtype", [torch.float64, torch.float32])

ROWS = [
    [0.0, 0.0, 0.0],
    [1e-8, -1e-8, 0.0],
    [17.0, 0.0, -17.0],
    [40.0, 0.0, -40.0],
    [90.0, -90.0, 89.0],
    [1000.0, -1000.0, 0.0],
    [1e4, 1e4, -1e4],
]
LABELS = [0, 1, 2, [0.2, 0.3, 0.5], [0.0, 0.0, 1.0]]


def behind(head, dtype):
    """An op that leaves its inputs as they are, the head, and their loss."""
    identity = Linear(3, 3, "fc1", weight_init=lambda shape: torch.eye(*shape), dtype=dtype)
    model = Sequential(identity, *(op() for op in head))
    return model, CrossEntropyLoss(model)


def by_hand(row, label):
    """-sum_j y_j log p_j and p - y, in many digits."""
    row = [mpf(z) for z in row]
    y = [mpf(j == label) for j in range(3)] if isinstance(label, int) else [mpf(p) for p in label]
    # log p_j = -log(1 + sum_{i != j} exp(z_i - z_j))
    gaps = [[mpmath.exp(z - own) for i, z in enumerate(row) if i != j] for j, own in enumerate(row)]
    log_p = [-mpmath.log1p(mpmath.fsum(gap)) for gap in gaps]
    value = -mpmath.fsum(weight * log for weight, log in zip(y, log_p, strict=True))
    return value, [mpmath.exp(log) - weight for weight, log in zip(y, log_p, strict=True)]


@FLOATS
@every_head
@pytest.mark.parametrize("label", LABELS, ids=str)
@pytest.mark.parametrize("row", ROWS, ids=str)
def test_value_and_gradient_are_exact_at_any_logits(row, label, head, dtype):
    eps, tiny = torch.finfo(dtype).eps, torch.finfo(dtype).tiny
    z = torch.tensor([row], dtype=dtype)
    y = torch.tensor([label], dtype=torch.int64 if isinstance(label, int) else dtype)
    value, slope = by_hand(z[0].tolist(), y[0].tolist())
    model, loss_fn = behind(head, dtype)
    assert loss_fn(model(z), y).item() == pytest.approx(float(value), rel=8 * eps, abs=100 * tiny)
    came = loss_fn.backward()[0].tolist()
    assert came == pytest.approx([float(number) for number in slope], rel=0, abs=4 * eps)


@FLOATS
@every_head
def test_a_masked_class_has_no_part(head, dtype):
    model = Sequential(*(op() for op in head)) if head else Sequential(HardTanh())
    loss_fn, z = CrossEntropyLoss(model), torch.tensor([[0.0, 0.0, -torch.inf]], dtype=dtype)
    predicts = model(z) if head else z
    loss = loss_fn(predicts, torch.tensor([[0.5, 0.5, 0.0]]))
    assert loss.item() == pytest.approx(float(mpmath.log(2)), rel=1e-6)
    assert loss_fn.backward_inputs().isfinite().all()
    assert loss_fn(predicts, torch.tensor([2])) == torch.inf


def test_without_a_model_or_behind_another_op_predictions_are_logits():
    z, y = 5 * torch.randn(6, 3, dtype=torch.float64), torch.tensor([0, 1, 2, 2, 1, 0])
    expected = F.cross_entropy(z, y)
    for model in (None, Sequential(Tanh()), Sequential(Softmax(), Linear(3, 3))):
        close(CrossEntropyLoss(model)(z, y), expected)


def test_probabilities_that_the_models_softmax_has_not_made_have_a_floored_log():
    p = torch.tensor([[0.0, 0.25, 0.75], [1.0, 0.0, 0.0]])
    loss_fn = CrossEntropyLoss(Sequential(Softmax()))
    assert loss_fn(p, torch.tensor([0, 0])).item() == pytest.approx(50)
    assert loss_fn.backward_inputs().isfinite().all()
    loss_fn.model(p)
    loss_fn(p, torch.tensor([0, 0]))
    with pytest.raises(RuntimeError, match="are not what the model put out last"):
        loss_fn.backward()
    with pytest.raises(ValueError, match=r"predictions\[0, 0\] is 3 .* no Softmax has made them"):
        loss_fn(torch.full((2, 3), 3.0), torch.tensor([0, 0]))


@pytest.mark.parametrize(
    "labels",
    [
        torch.tensor([2, 0, 1]),
        torch.tensor([2, 0, 1], dtype=torch.uint8),
        torch.tensor([2, 0, 1]).numpy(),
        [2, 0, 1],
        torch.eye(3)[[2, 0, 1]],
        torch.eye(3)[[2, 0, 1]].int(),
        torch.eye(3)[[2, 0, 1]].bool(),
        torch.eye(3)[[2, 0, 1]].double().numpy(),
    ],
    ids=["int64", "uint8", "NumPy", "list", "float32", "int32", "bool", "NumPy float64"],
)
def test_labels_of_any_kind_are_converted(labels):
    model, loss_fn = behind([Softmax], torch.float32)
    p = model(torch.randn(3, 3))
    assert torch.equal(loss_fn(p, labels), loss_fn(p, torch.tensor([2, 0, 1])))
    assert loss_fn.backward().dtype == torch.float32


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (torch.tensor([0, 3, 2]), r"labels\[1\] is 3 \(1 of 3 values outside 0 to 2\)$"),
        (torch.tensor([0, 1, -1]), r"labels\[2\] is -1 \(1 of 3"),
        (torch.tensor([1, 3, 2]), r"labels\[1\] is 3 .*; write y - 1"),
        (
            torch.tensor([[0], [1], [2]]),
            r"shape \[3, 1\], wanted class indices \[3\] or prob.*\[3, 3",
        ),
        (torch.tensor([[0.5, 0.5, 1.5]] * 3), r"labels\[0, 2\] is 1.5 \(3 of 9"),
        (
            torch.tensor([[0.5, 0.5, 0.0]] * 2 + [[0.5, 0, 0]]),
            r"sum of labels\[2\] is 0.5 \(1 of 3",
        ),
    ],
)
def test_labels_that_do_not_fit_are_named(labels, said):
    with pytest.raises(ValueError, match=said):
        CrossEntropyLoss()(torch.zeros(3, 3), labels)


def test_what_is_no_class_is_named():
    loss_fn = CrossEntropyLoss()
    with pytest.raises(TypeError, match=r"labels are float32 \[3\], wanted whole numbers: .long"):
        loss_fn(torch.zeros(3, 3), torch.ones(3))
    with pytest.raises(ValueError, match=r"predictions are float32 \[3, 1\], wanted .* C >= 2"):
        loss_fn(torch.zeros(3, 1), torch.tensor([0, 0, 0]))
    with pytest.raises(NonFiniteError, match=r"predictions\[0, 0\] is nan"):
        loss_fn(torch.full((1, 2), torch.nan), torch.tensor([0]))


@pytest.mark.parametrize(
    ("kind", "rule", "torchs"),
    [
        (Softmax, lambda p: 0.7 * p + 0.1, lambda p, y: F.nll_loss(p.log(), y)),
        (LogSoftmax, lambda log_p: 2 * log_p, F.cross_entropy),
    ],
)
def test_a_head_with_a_forward_of_its_own_is_taken_by_what_it_puts_out(kind, rule, torchs):
    class Bent(kind):
        def forward(self, inputs):
            self.outputs = rule(super().forward(inputs))
            return self.outputs

    model, y = Sequential(Bent()), torch.tensor([0, 1, 2, 0, 1])
    predicts = model(torch.randn(5, 3, dtype=torch.float64))
    loss_fn, leaf = CrossEntropyLoss(model), predicts.clone().requires_grad_()
    expected = torchs(leaf, y)
    close(loss_fn(predicts, y), expected.detach())
    close(loss_fn.backward_inputs(), torch.autograd.grad(expected, leaf)[0])
    assert not getattr(model.layers[0], "floored", False)


def test_a_transposed_view_of_what_a_softmax_put_out_is_not_its_logits():
    model, y = Sequential(Softmax()), torch.tensor([0, 1, 2])
    p = model(torch.randn(3, 3, dtype=torch.float64)).T
    close(CrossEntropyLoss(model)(p, y), F.nll_loss(p.log(), y))
    assert not model.layers[0].floored


def test_a_softmax_is_floored_only_while_it_feeds_a_cross_entropy():
    model = Sequential(Softmax())
    CrossEntropyLoss(model)(model(torch.randn(2, 3)), torch.tensor([0, 1]))
    assert model.layers[0].floored
    model(torch.randn(2, 3))
    assert not model.layers[0].floored


# --- three classes, trained


def moons_and_a_blob(rows_of_each, seed):
    """Two moons, classes 0 and 1, and a blob above them, class 2: X [N, 2], y [N], float64."""
    X, y = make_moons(2 * rows_of_each, noise=0.1, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    blob = 0.2 * torch.randn(rows_of_each, 2, generator=generator) + torch.tensor([0.5, 1.8])
    classes = torch.cat([y[:, 0].long(), torch.full((rows_of_each,), 2)])
    return [torch.cat([X, blob]).double(), classes]


def three_classes(head):
    generator = torch.Generator().manual_seed(0)
    wide = {"generator": generator, "dtype": torch.float64}
    layers = [Linear(2, 8, "fc1", **wide), Tanh(), Linear(8, 3, "fc2", **wide)]
    model = Sequential(*layers, *(op() for op in head))
    return model, BatchGD(1.0, model), CrossEntropyLoss(model)


@every_head
def test_a_plain_loop_and_the_runner_train_three_classes_alike(head, tmp_path):
    train, dev = moons_and_a_blob(60, 0), moons_and_a_blob(30, 1)
    model, optimizer, loss_fn = three_classes(head)
    runner = RunnerV2_1(model, optimizer, accuracy, loss_fn)
    runner.train(train, dev, num_epochs=300, log_epochs=0, keep="last", save_dir=tmp_path)
    assert runner.dev_scores[-1] > 0.9
    assert runner.dev_loss[-1] < runner.dev_loss[0] / 4
    assert runner.evaluate(dev) == pytest.approx((runner.dev_scores[-1], runner.dev_loss[-1]))

    plain, optimizer, loss_fn = three_classes([])  # every head learns the same
    for epoch in range(300):
        close(loss_fn(plain(train[0]), train[1]).item(), runner.train_loss[epoch], 1e-9)
        loss_fn.backward()
        optimizer.step()
    close(state(plain), state(model), 1e-9)


def test_class_indices_may_be_numpy_lists_or_columns():
    X, y = moons_and_a_blob(20, 0)
    losses = []
    for labels in (y, y.numpy(), y.tolist(), torch.eye(3)[y]):
        model, optimizer, loss_fn = three_classes([Softmax])
        runner = RunnerV2_1(model, optimizer, accuracy, loss_fn)
        runner.train([X.numpy(), labels], [X, labels], num_epochs=5, log_epochs=0)
        losses.append(runner.train_loss)
    assert losses == [losses[0]] * 4


def test_a_runner_names_a_class_that_is_out_of_range():
    X, y = moons_and_a_blob(20, 0)
    model, optimizer, loss_fn = three_classes([])
    runner = RunnerV2_1(model, optimizer, accuracy, loss_fn)
    with pytest.raises(ValueError, match=r"train_set: CrossEntropyLoss: labels\[\d+\] is 3"):
        runner.train([X, y + 1], [X, y], num_epochs=5)


def test_a_hinge_trains_moons():
    X, y = make_moons(100, noise=0.1, seed=0)
    generator = torch.Generator().manual_seed(0)
    fc1, fc2 = Linear(2, 8, "fc1", generator=generator), Linear(8, 1, "fc2", generator=generator)
    model = Sequential(fc1, Tanh(), fc2)
    score = partial(accuracy, threshold=0)
    runner = RunnerV2_1(model, BatchGD(0.2, model), score, HingeLoss(model))
    runner.train([X, y], [X, y], num_epochs=200, log_epochs=0)
    assert runner.dev_scores[-1] > 0.9
