"""A step in blocks of rows is the step on all of them, and the ops that it reuses keep nothing."""

from functools import partial
from itertools import pairwise

import pytest
import torch
from cases import CASES, LOSS_CASES, WIDE, classes, model_of
from hypothesis import given, settings
from hypothesis import strategies as st
from witness import close, grads_of

from opnet import (
    BatchNorm,
    BinaryCrossEntropyLoss,
    CrossEntropyLoss,
    Dropout,
    Linear,
    Logistic,
    MeanSquaredErrorLoss,
    Model_MLP_L2,
    Op,
    ReLU,
    Sequential,
    Softmax,
    Tanh,
)
from opnet.blocks import block_rows, is_rowwise, reusing
from opnet.metrics import accuracy, right_rows
from opnet.step import evaluation, predictions, training_step
from opnet.walk import every_part

N = 11
SIZES = [1, 3, N - 1, N, N + 1]
ROWWISE = [case for case in CASES if is_rowwise(case.make())]


class Still:
    """An optimizer that leaves the weights where they are, for a look at the gradients."""

    def step(self):
        pass


def step(model, loss_fn, X, y, size=None, of_rows=None):
    """Predictions, loss, and copies of all gradients."""
    torch.manual_seed(1)
    with torch.no_grad():
        predicts, loss = training_step(model, loss_fn, Still(), X, y, size, of_rows)
    return predicts, loss, [grad.clone() for grad in grads_of(model)]


def as_unblocked(model, loss_fn, X, y, size, tolerance=1e-12):
    """Assert that the step in blocks of `size` rows is the step."""
    wanted = step(model, loss_fn, X, y)
    found = step(model, loss_fn, X, y, size)
    for a, b in zip(wanted, found, strict=True):
        close(a, b, tolerance)
    scored = partial(evaluation, model, loss_fn, X, y)
    torch.manual_seed(1)
    predicts, loss = scored()
    torch.manual_seed(1)
    close(scored(size), (predicts, loss), tolerance)
    torch.manual_seed(1)
    close(predictions(model, X, size), predicts, tolerance)


# --- the same step


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("case", ROWWISE, ids=lambda case: case.name)
def test_every_op_that_says_so_goes_row_by_row(case, size):
    columns = case.shape[1]
    model = Sequential(Linear(columns, columns, "first", **WIDE), case.make())
    X = torch.randn(N, columns, **WIDE)
    y = torch.randn_like(model(X))
    as_unblocked(model, MeanSquaredErrorLoss(model), X, y, size)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("case", LOSS_CASES, ids=lambda case: case.name)
def test_every_loss_is_the_mean_of_its_blocks(case, dtype, size):
    model, X = model_of(case).to(dtype), torch.randn(N, 3, dtype=dtype)
    loss_fn = case.make(model)
    tolerance = 1e-12 if dtype == torch.float64 else 1e-6
    as_unblocked(model, loss_fn, X, case.labels(model(X)), size, tolerance)
    assert all(grad.any() for grad in grads_of(model))


@settings(deadline=None)  # the machine may be busy
@given(
    n=st.integers(1, 40),
    size=st.integers(1, 50),
    widths=st.lists(st.integers(1, 9), min_size=2, max_size=4),
    seed=st.integers(0, 2**31),
)
def test_any_rows_widths_and_block_sizes(n, size, widths, seed):
    torch.manual_seed(seed)
    layers = [Linear(a, b, **WIDE) for a, b in pairwise(widths)]
    model = Sequential(*(op for layer in layers for op in (layer, Tanh())), Logistic())
    X = torch.randn(n, widths[0], **WIDE)
    as_unblocked(model, BinaryCrossEntropyLoss(model), X, torch.rand(n, widths[-1], **WIDE), size)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("head", "loss", "labels"),
    [
        (Logistic, BinaryCrossEntropyLoss, lambda p: torch.rand_like(p).round()),
        (Softmax, CrossEntropyLoss, classes),
        (Softmax, CrossEntropyLoss, lambda p: torch.rand_like(p).softmax(-1)),
        (None, CrossEntropyLoss, classes),
    ],
)
def test_at_logits_where_the_probabilities_have_rounded(head, loss, labels, size):
    """The floor that loss and head share holds in every block."""
    model = Sequential(Linear(3, 4, "fc1", **WIDE), *([head()] if head else []))
    X = torch.randn(N, 3, **WIDE)
    X[::2] = 1000 * X[::2].sign()
    y = labels(model(X))
    as_unblocked(model, loss(model), X, y, size)
    assert torch.stack([grad.isfinite().all() for grad in grads_of(model)]).all()
    assert max(grad.abs().max() for grad in grads_of(model)) > 1


@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("size", SIZES)
def test_a_score_by_blocks_is_the_metric(outputs, size):
    model = Sequential(Linear(3, outputs, "fc1", **WIDE), Logistic())
    X = torch.randn(N, 3, **WIDE)
    y = torch.eye(3, **WIDE)[torch.arange(N) % 3] if outputs == 3 else torch.rand(N, 1).round()
    loss_fn = BinaryCrossEntropyLoss(model)
    expected, wanted, grads = step(model, loss_fn, X, y.double())
    score, loss, blocked = step(model, loss_fn, X, y.double(), size, right_rows)
    assert 0 < score < 1
    close(score, accuracy(expected, y), 1e-6)
    close([loss, *blocked], [wanted, *grads])


def test_batch_axes_before_the_rows_go_through_at_once():
    seen = []
    model = Sequential(Linear(3, 1, "fc1", **WIDE), watching(Logistic(), seen))
    X, y = torch.randn(2, N, 3, **WIDE), torch.rand(2, N, 1, **WIDE)
    as_unblocked(model, BinaryCrossEntropyLoss(model), X, y, 3)
    assert set(seen) == {N}
    assert block_rows(model, X, BinaryCrossEntropyLoss(model)) is None


def watching(op, seen):
    """`op`, which tells how many rows it gets at a time."""
    plain = op.forward
    op.forward = lambda inputs: (seen.append(inputs.shape[-2]), plain(inputs))[1]
    return op


@pytest.mark.parametrize("size", [1, 4, N])
def test_rows_are_cut_into_full_blocks_and_a_last_short_one(size):
    seen = []
    model = Sequential(watching(Linear(3, 1, **WIDE), seen), Logistic())
    predictions(model, torch.randn(N, 3, **WIDE), size)
    assert seen == [size] * (N // size) + [N % size] * bool(N % size)


# --- what cannot be blocked


class OwnForward(ReLU):
    """Centres its rows, which couples them."""

    def forward(self, inputs):
        return super().forward(inputs - inputs.mean(0))


class OwnBackward(Sequential):
    """Clips the gradient of all rows: not what the blocks' add up to."""

    def backward(self, grads):
        sent_back = super().backward(grads)
        for layer in self.layers:
            for grad in layer.grads.values():
                grad.clamp_(-0.01, 0.01)
        return sent_back


class OwnForwardOfAModel(Sequential):
    def forward(self, inputs):
        return super().forward(inputs - inputs.mean(0))


class OwnLoss(MeanSquaredErrorLoss):
    def forward(self, predicts, labels):
        return super().forward(predicts, labels).sqrt_()


class Book:
    """An op of the book: no base class."""

    def forward(self, inputs):
        return inputs - inputs.mean(0)

    def backward(self, grads):
        return grads


class BookModel:
    """A model of the book: no base class, called as a function."""

    def __init__(self):
        self.layers = [Linear(3, 2), Logistic()]

    def __call__(self, inputs):
        return self.layers[1](self.layers[0](inputs))

    def backward(self, grads):
        return self.layers[0].backward(self.layers[1].backward(grads))


def replaced():
    op = Linear(3, 2)
    op.forward = lambda inputs: Linear.forward(op, inputs - inputs.mean(0))
    return op


COUPLED = {
    "BatchNorm": lambda: BatchNorm(3),
    "BatchNorm in eval mode": lambda: BatchNorm(3).eval(),
    "a learner's op": Book,
    "a learner's forward": OwnForward,
    "a learner's loss": OwnLoss,
    "a learner's model": BookModel,
    "a learner's forward of a model": lambda: OwnForwardOfAModel(Linear(3, 2)),
    "a learner's backward of a model": lambda: OwnBackward(Linear(3, 2)),
    "a forward put on an op": replaced,
    "one that couples, inside": lambda: Sequential(Linear(3, 3), Sequential(BatchNorm(3))),
    "an Op that does not say": Op,
}


@pytest.mark.parametrize("make", COUPLED.values(), ids=COUPLED)
def test_what_may_couple_rows_is_not_blocked(make):
    op = make()
    assert not is_rowwise(op)
    assert block_rows(op, torch.randn(N, 3)) is None
    assert block_rows(Sequential(Linear(3, 2)), torch.randn(N, 3), op) is None


def test_an_op_of_ones_own_may_say_that_it_goes_row_by_row():
    class Mine(OwnForward):
        rowwise = True

    class Below(Mine):
        pass

    assert is_rowwise(Sequential(Linear(3, 2), Mine()))
    assert not is_rowwise(Below())


def test_a_block_is_at_least_some_rows_and_its_widest_outputs_fill_two_caches(monkeypatch):
    monkeypatch.setattr("opnet.blocks.cache_bytes", lambda: 2**19)
    X = torch.randn(N, 2)
    assert block_rows(Model_MLP_L2(2, 512, 1), X) == 2**20 // (512 * 4)
    assert block_rows(Model_MLP_L2(2, 512, 1).to(torch.float64), X.double()) == 2**20 // (512 * 8)
    assert block_rows(Model_MLP_L2(2, 10**5, 1), X) == 64


# --- draws


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("own", [True, False], ids=["its own generator", "the global one"])
@pytest.mark.parametrize("columns", [1, 3, 16, 33])
@pytest.mark.parametrize("size", [1, 3, 16, 40])
def test_one_dropout_draws_the_same_masks(size, columns, own, dtype):
    X, masks = torch.randn(50, columns, dtype=dtype), []
    for block_size in (None, size):
        torch.manual_seed(1)
        generator = torch.Generator().manual_seed(1) if own else None
        model = Sequential(Dropout(0.4, generator=generator))
        assert block_rows(model, X)
        masks.append(predictions(model, X, block_size) == 0)
        masks.append(torch.rand(5, generator=generator))  # and leaves the generator as far on
    assert 0 < masks[0].sum() < masks[0].numel()
    assert torch.equal(masks[0], masks[2])
    assert torch.equal(masks[1], masks[3])


def test_dropouts_that_share_a_generator_are_not_blocked():
    """The first would draw for its second block what the second is to draw for its first."""
    X, shared = torch.randn(N, 3), torch.Generator()
    one, other = (torch.Generator().manual_seed(i) for i in (1, 2))
    for pair, blocked in (((None, None), False), ((shared, shared), False), ((one, other), True)):
        model = Sequential(*(Dropout(0.5, generator=generator) for generator in pair))
        assert (block_rows(model, X) is not None) == blocked


@pytest.mark.parametrize("size", [1, 3, 10])
def test_a_step_with_dropout_is_the_same(size):
    model = Sequential(Linear(3, 4, "a", **WIDE), Dropout(0.3), Linear(4, 1, "b", **WIDE))
    X, y = torch.randn(N, 3, **WIDE), torch.randn(N, 1, **WIDE)
    as_unblocked(model, MeanSquaredErrorLoss(model), X, y, size)


# --- reused memory

SCRATCH = [case for case in ROWWISE if case.shape == (5, 3)]


def no_scratch(*roots):
    return all(getattr(part, "_memory", None) is None for part in every_part(*roots))


def test_after_a_step_the_ops_hold_no_scratch():
    model = Model_MLP_L2(3, 5, 1)
    loss_fn = BinaryCrossEntropyLoss(model)
    step(model, loss_fn, torch.randn(N, 3), torch.rand(N, 1), 3)
    assert no_scratch(model, loss_fn)


def failing(kind, rule, block, *arguments):
    """An op or a loss of this kind whose `rule` raises at a block, counted from 1."""

    def fails(self, *given):
        self.calls += 1
        if self.calls == block:
            raise ZeroDivisionError
        return getattr(kind, rule)(self, *given)

    return type("Fails", (kind,), {rule: fails, "rowwise": True, "calls": 0})(*arguments)


WORKS = {
    "a step": lambda model, loss_fn, X, y: step(model, loss_fn, X, y, 3),
    "an evaluation": lambda model, loss_fn, X, y: evaluation(model, loss_fn, X, y, 3),
    "a prediction": lambda model, loss_fn, X, y: predictions(model, X, 3),
}


@pytest.mark.parametrize("block", [1, 2, 4])
@pytest.mark.parametrize(
    ("where", "work"),
    [
        *(("forward", work) for work in WORKS),
        ("backward_params", "a step"),
        ("backward_inputs", "a step"),
        ("loss forward", "a step"),
        ("loss forward", "an evaluation"),
        ("loss backward_inputs", "a step"),
    ],
)
def test_nor_after_an_error_and_the_next_call_has_fresh_memory(where, work, block):
    in_loss, rule = where.startswith("loss"), where.removeprefix("loss ")
    bad = partial(failing, MeanSquaredErrorLoss if in_loss else ReLU, rule, block)
    middle, loss = (ReLU, bad) if in_loss else (bad, MeanSquaredErrorLoss)
    model = Sequential(Linear(3, 2, "a"), middle(), Linear(2, 1, "b"))
    loss_fn = loss(model)
    X, y = torch.randn(N, 3), torch.rand(N, 1)
    with pytest.raises(ZeroDivisionError):
        WORKS[work](model, loss_fn, X, y)
    assert no_scratch(model, loss_fn)
    held = [model(X), loss_fn(model(X), y), loss_fn.backward()]
    copies = [tensor.clone() for tensor in held]
    loss_fn(model(-X), 1 - y)
    loss_fn.backward()
    assert all(map(torch.equal, held, copies))
    step(model, loss_fn, X, y, 3)
    assert no_scratch(model, loss_fn)


def test_what_a_caller_holds_does_not_change_when_another_step_runs():
    model = Model_MLP_L2(3, 5, 1)
    loss_fn, held = BinaryCrossEntropyLoss(model), []
    for size in (3, None, N - 1):
        X, y = torch.randn(N, 3), torch.rand(N, 1)
        predicts, loss, _ = step(model, loss_fn, X, y, size)
        more = evaluation(model, loss_fn, X, y, size)
        mine = [predicts, loss, *more, predictions(model, X, size)]
        held += [(tensor, tensor.clone()) for tensor in mine]
    assert all(torch.equal(tensor, copy) for tensor, copy in held)
    places = [tensor.untyped_storage().data_ptr() for tensor, _ in held]
    assert len(set(places)) == len(places)


@pytest.mark.parametrize("case", SCRATCH, ids=lambda case: case.name)
def test_outside_a_step_every_call_has_its_own_memory(case):
    op, X = case.make(), torch.randn(5, 3, **WIDE)
    with reusing(op):
        op(X)
    outputs = op(X)
    g = torch.randn_like(outputs)
    held = [outputs, op.backward(g)]
    copies = [tensor.clone() for tensor in held]
    op.backward(op(torch.randn_like(X)))
    assert all(map(torch.equal, held, copies))


@pytest.mark.parametrize("case", SCRATCH, ids=lambda case: case.name)
def test_reused_memory_gives_the_numbers_of_fresh_memory(case):
    """Also the second time, when another block has left its own there, and for a short block."""
    op = case.make()
    for rows in (5, 5, 2, 5):
        X = torch.randn(rows, 3, **WIDE)
        torch.manual_seed(1)
        wanted = op(X)
        g = torch.randn_like(wanted)
        wanted = wanted.clone(), op.backward(g).clone(), [grad.clone() for grad in grads_of(op)]
        with reusing(op):
            op(X + 1)
            op.backward(-g)
            torch.manual_seed(1)
            found = op(X), op.backward(g), grads_of(op)
        close(found, wanted)


# --- what is not computed


@pytest.mark.parametrize("size", [None, 3])
def test_dl_d_inputs_of_the_first_op_is_never_computed(size):
    def never(grads):
        raise AssertionError("computed")

    model = Model_MLP_L2(3, 5, 1)
    model.layers[0].backward_inputs = never
    step(model, BinaryCrossEntropyLoss(model), torch.randn(N, 3), torch.rand(N, 1), size)
