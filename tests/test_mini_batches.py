"""Mini-batches: each row once an epoch, loss and score over all rows, drawn from a generator."""

import logging
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from recorder import histories, weights
from witness import close

from opnet import (
    Adam,
    BatchGD,
    BinaryCrossEntropyLoss,
    CrossEntropyLoss,
    Linear,
    Logistic,
    Model_MLP_L2,
    NonFiniteError,
    Sequential,
    accuracy,
)
from opnet.data import mini_batches
from runners import RunnerV2_1


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


# --- the batches


@given(
    axes=st.lists(st.integers(1, 3), max_size=2),
    n=st.integers(1, 20),
    batch_size=st.integers(1, 25),
    indices=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_each_row_comes_once_with_its_label(axes, n, batch_size, indices, seed):
    X = torch.arange(math.prod(axes) * n).reshape(*axes, n, 1)
    y = X[..., 0] * 10 if indices else X * 10
    batches = list(mini_batches(X, y, batch_size, seeded(seed)))
    assert [len(batch.rows) for batch in batches[:-1]] == [batch_size] * (len(batches) - 1)
    assert sorted(torch.cat([batch.rows for batch in batches]).tolist()) == list(range(n))
    for X_batch, y_batch, rows in batches:
        assert torch.equal(X_batch, X[..., rows, :])
        assert torch.equal(y_batch, y[..., rows] if indices else y[..., rows, :])


def test_the_order_is_the_generators_and_another_one_each_time():
    X, generator = torch.arange(50.0).reshape(50, 1), seeded()
    orders = [torch.cat([b.rows for b in mini_batches(X, X, 8, generator)]) for _ in range(2)]
    again = torch.cat([b.rows for b in mini_batches(X, X, 8, seeded())])
    assert torch.equal(orders[0], again)
    assert not torch.equal(*orders)


# --- train(batch_size=...)


def plain_loop(runner, train_set, dev_set, num_epochs, batch_size, generator):
    """What `train` is to do, step by step: (train loss, train score, dev score, dev loss)."""
    (X, y), n = train_set, train_set[0].shape[-2]
    for _ in range(num_epochs):
        total, right = 0.0, 0.0
        for X_batch, y_batch, rows in mini_batches(X, y, batch_size, generator):
            predicts = runner.model(X_batch)
            loss = runner.loss_fn(predicts, y_batch)
            total += loss.item() * len(rows) / n
            right += accuracy(predicts, y_batch).item() * len(rows) / n
            runner.loss_fn.backward()
            runner.optimizer.step()
        score, loss = runner.evaluate(dev_set)
        yield total, right, score, loss


@pytest.mark.parametrize("batch_size", [1, 7, 20, 59])
def test_an_epoch_is_a_step_on_each_batch(moons, batch_size):
    train, dev = ([X.double(), y] for X, y in moons[:2])

    def runner():
        model = Model_MLP_L2(2, 5, 1, generator=seeded(), dtype=torch.float64)
        return RunnerV2_1(model, BatchGD(1.0, model), accuracy, BinaryCrossEntropyLoss(model))

    ours, plain = runner(), runner()
    ours.train(
        train,
        dev,
        num_epochs=4,
        log_epochs=0,
        keep="last",
        batch_size=batch_size,
        generator=seeded(5),
    )
    expected = list(plain_loop(plain, train, dev, 4, batch_size, seeded(5)))
    losses, scores, dev_scores, dev_losses = map(list, zip(*expected, strict=True))
    assert ours.train_loss == pytest.approx(losses, rel=1e-12)
    assert ours.train_scores == pytest.approx(scores, rel=1e-6)
    assert ours.dev_loss == pytest.approx(dev_losses, rel=1e-12)
    assert ours.dev_scores == dev_scores
    close(weights(ours), weights(plain))


@pytest.mark.parametrize("batch_size", [60, 61, 10**9])
def test_a_batch_of_all_rows_is_the_full_batch_and_draws_nothing(job, moons, batch_size, caplog):
    full, ours, generator = job(), job(), seeded()
    before = generator.get_state()
    full.train(*moons[:2], num_epochs=5, log_epochs=0)
    with caplog.at_level(logging.INFO, "opnet"):
        ours.train(*moons[:2], num_epochs=5, log_epochs=0, batch_size=batch_size)
    ours_too = job()
    ours_too.train(
        *moons[:2], num_epochs=5, log_epochs=0, batch_size=batch_size, generator=generator
    )
    assert histories(ours) == histories(ours_too) == histories(full)
    assert torch.equal(generator.get_state(), before)
    assert not caplog.records


def test_of_a_step_that_does_not_move_the_epoch_is_the_mean_over_all_rows(moons):
    model = Model_MLP_L2(2, 5, 1, dtype=torch.float64)
    runner = RunnerV2_1(model, BatchGD(0.0, model), accuracy, BinaryCrossEntropyLoss(model))
    train = [moons[0][0].double(), moons[0][1]]
    runner.train(train, train, num_epochs=1, log_epochs=0, batch_size=7, generator=seeded())
    assert runner.train_loss == pytest.approx(runner.dev_loss, rel=1e-12)
    assert runner.train_scores == runner.dev_scores


def test_one_row_is_the_single_sample_of_the_sources(job, moons):
    runner, steps = job(lr=0.1), []
    plain = type(runner.optimizer).step
    runner.optimizer.step = lambda: (steps.append(1), plain(runner.optimizer))
    runner.train(*moons[:2], num_epochs=3, log_epochs=0, batch_size=1, generator=seeded())
    assert len(steps) == 3 * 60
    assert runner.train_loss[-1] < runner.train_loss[0]
    assert [len(history) for history in histories(runner)] == [3] * 4


def test_batches_are_cut_along_the_rows_whatever_stands_before_them():
    X, y = torch.randn(3, 10, 2), torch.rand(3, 10, 1).round()
    shapes = []

    class Seen(Logistic):
        def forward(self, inputs):
            if self.training:
                shapes.append(list(inputs.shape))
            return super().forward(inputs)

    model = Sequential(Linear(2, 1, "fc1"), Seen())
    runner = RunnerV2_1(model, BatchGD(0.0, model), accuracy, BinaryCrossEntropyLoss(model))
    runner.train([X, y], [X, y], num_epochs=1, log_epochs=0, batch_size=4, generator=seeded())
    assert shapes == [[3, 4, 1], [3, 4, 1], [3, 2, 1]]
    assert runner.train_loss == pytest.approx(runner.dev_loss)
    assert runner.train_scores == runner.dev_scores


def test_class_indices_go_with_their_rows():
    X = torch.randn(30, 2)
    y = (X[:, 0] > 0).long() + (X[:, 1] > 0).long()
    model = Sequential(Linear(2, 3, "fc1"))
    runner = RunnerV2_1(model, Adam(0.1, model), accuracy, CrossEntropyLoss(model))
    runner.train([X, y], [X, y], num_epochs=60, log_epochs=0, batch_size=8, generator=seeded())
    assert runner.train_scores[-1] > 0.8


def test_a_run_is_repeated_by_its_seed_and_a_fresh_one_is_logged(job, moons, caplog):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    runner = job()
    with caplog.at_level(logging.INFO, "opnet"):
        runner.train(*moons[:2], num_epochs=3, log_epochs=0, batch_size=8)
    assert torch.equal(torch.get_rng_state(), before)
    (record,) = caplog.records
    assert record.message.startswith("train: seed=")
    seed = int(record.message.split("=")[1])
    again = job()
    again.train(*moons[:2], num_epochs=3, log_epochs=0, batch_size=8, generator=seeded(seed))
    assert histories(again) == histories(runner)


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({"batch_size": 0}, ValueError, "train: batch_size is 0, wanted a whole number >= 1"),
        ({"batch_size": 1.5}, TypeError, "train: batch_size is 1.5"),
        ({"batch_size": True}, TypeError, "train: batch_size is True"),
        ({"batch_size": 8, "generator": 3}, TypeError, "train: generator is 3, wanted a torch.Gen"),
    ],
)
def test_bad_arguments_are_named_and_nothing_changes(job, moons, arguments, error, said):
    runner = job()
    before = weights(runner)
    with pytest.raises(error, match=said):
        runner.train(*moons[:2], num_epochs=1, **arguments)
    assert all(map(torch.equal, weights(runner), before))
    assert histories(runner) == [[], [], [], []]


def test_a_loss_that_goes_bad_within_an_epoch_names_an_op(moons):
    model = Sequential(Linear(2, 1, "fc1"))
    X, y = moons[0]
    runner = RunnerV2_1(model, BatchGD(1e30, model), lambda p, y: 0.0, Squares(model))
    with pytest.raises(NonFiniteError, match=r"train loss of epoch 0 is nan .* output of 'fc1'"):
        runner.train([X, y], [X, y], num_epochs=2, log_epochs=0, batch_size=8, generator=seeded())


class Squares:
    """A learner's loss, with a value that is a Python float."""

    def __init__(self, model):
        self.model = model

    def __call__(self, predicts, labels):
        self.difference = predicts - labels
        return self.difference.square().mean().item()

    def backward(self):
        self.model.backward(2 * self.difference / len(self.difference))
