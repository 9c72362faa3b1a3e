"""A training by blocks is the training; what waits to be read is scored as if it had not waited."""

from functools import partial

import pytest
import torch
from cases import WIDE
from recorder import Recorder, StopAt, histories, weights
from witness import close

from opnet import (
    Adagrad,
    Adam,
    BatchGD,
    BatchNorm,
    BinaryCrossEntropyLoss,
    CrossEntropyLoss,
    Dropout,
    Linear,
    Logistic,
    MeanSquaredErrorLoss,
    Model_MLP_L2,
    Momentum,
    NonFiniteError,
    RMSprop,
    Sequential,
    accuracy,
)
from opnet.blocks import block_rows
from opnet.metrics import over_rows
from opnet.walk import every_part, state
from runners import RunnerV2_1, run

HUGE = 10**9
SIZES = [1, 7, 64, None, HUGE]
sizes = pytest.mark.parametrize("size", SIZES)
dtypes = pytest.mark.parametrize("dtype", [torch.float64, torch.float32])


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def small_cache(monkeypatch, rows):
    """Blocks that nobody has asked for have so many rows."""
    monkeypatch.setattr("opnet.blocks.cache_bytes", lambda: 0)
    monkeypatch.setattr("opnet.blocks.FEWEST_ROWS", rows)


def runner_of(rule=BatchGD, lr=0.5, dtype=torch.float64, metric=accuracy, **options):
    model = Model_MLP_L2(2, 5, 1, generator=seeded(), dtype=dtype)
    return RunnerV2_1(model, rule(lr, model, **options), metric, BinaryCrossEntropyLoss(model))


def sets(moons, dtype=torch.float64):
    return [[part.to(dtype) for part in rows] for rows in moons]


def trained(runner, data, **arguments):
    arguments = {"num_epochs": 12, "log_epochs": 0, "block_size": HUGE} | arguments
    runner.train(*data[:2], **arguments)
    return runner


def same(runner, other, dtype=torch.float64):
    tolerance = 1e-12 if dtype == torch.float64 else 1e-6
    for name in ("train_loss", "dev_loss", "train_scores"):
        least = 1e-6 if "scores" in name else tolerance  # a score is float32
        ours, theirs = getattr(runner, name), getattr(other, name)
        assert ours == pytest.approx(theirs, rel=least, abs=least)
    assert runner.dev_scores == other.dev_scores  # also the ties, which choose the kept weights
    close(weights(runner), weights(other), tolerance)
    assert runner.kept_epoch == other.kept_epoch


# --- the same training


@sizes
@dtypes
@pytest.mark.parametrize("rule", [BatchGD, Momentum, Adagrad, RMSprop, Adam])
def test_every_optimizer_ends_where_it_does_unblocked(moons, monkeypatch, rule, dtype, size):
    small_cache(monkeypatch, 9)
    data = sets(moons, dtype)
    make = partial(runner_of, rule, 0.05, dtype, clip_norm=0.5, weight_decay=0.01)
    plain, blocked = (trained(make(), data, block_size=s, keep="best_loss") for s in (HUGE, size))
    same(blocked, plain, dtype)
    assert plain.kept_epoch is not None


@sizes
def test_a_mini_batch_may_be_larger_than_a_block(moons, size):
    make = partial(trained, data=sets(moons), batch_size=25, keep="last")
    plain = make(runner_of(Adam), generator=seeded())
    same(make(runner_of(Adam), generator=seeded(), block_size=size), plain)
    assert len(set(plain.train_scores)) > 1


@sizes
@pytest.mark.parametrize("soft", [False, True])
def test_classes(moons, size, soft):
    X = moons[0][0].double()
    y = (X[:, 0] > 0).long() + (X[:, 1] > 0).long()
    y = (3.0 * torch.eye(3)[y]).softmax(-1).double() if soft else y

    def make(size):
        model = Sequential(Linear(2, 3, "fc1", generator=seeded(), dtype=torch.float64))
        runner = RunnerV2_1(model, BatchGD(0.5, model), accuracy, CrossEntropyLoss(model))
        return trained(runner, [[X, y], [X[:20], y[:20]]], block_size=size)

    same(make(size), make(HUGE))


@sizes
def test_callbacks_see_the_same_weights(moons, size):
    seen = [Recorder(), Recorder()]
    for recorder, block_size in zip(seen, (HUGE, size), strict=True):
        stop = StopAt(5)
        trained(runner_of(), sets(moons), block_size=block_size, callbacks=[recorder, stop])
    assert seen[0].calls == seen[1].calls == ["begin", 0, 1, 2, 3, 4, 5, "end"]
    close(seen[0].weights, seen[1].weights)


@pytest.mark.parametrize("rows", [1, 7, 64])
def test_evaluate_and_predict_by_blocks(moons, monkeypatch, rows):
    runner, test = runner_of(), sets(moons)[2]
    small_cache(monkeypatch, HUGE)
    wanted, outputs = runner.evaluate(test), runner.predict(test[0])
    small_cache(monkeypatch, rows)
    assert block_rows(runner.model, test[0], runner.loss_fn) == rows
    before = {id(part): dict(vars(part)) for part in every_part(runner.model, runner.loss_fn)}
    assert runner.evaluate(test) == pytest.approx(wanted, rel=1e-6)
    assert runner.evaluate(test)[1] == pytest.approx(wanted[1], rel=1e-12)
    close(runner.predict(test[0]), outputs)
    for part in every_part(runner.model, runner.loss_fn):
        assert vars(part).keys() == before[id(part)].keys()


def test_neither_an_op_nor_the_loss_gets_more_rows_than_a_block(moons, monkeypatch):
    small_cache(monkeypatch, 7)
    seen = []

    class Watched(Logistic):
        rowwise = True

        def forward(self, inputs):
            seen.append(len(inputs))
            return super().forward(inputs)

    class WatchedLoss(BinaryCrossEntropyLoss):
        rowwise = True

        def forward(self, predicts, labels):
            seen.append(len(predicts))
            return super().forward(predicts, labels)

    model = Sequential(Linear(2, 5, "a", **WIDE), Watched(), Linear(5, 1, "b", **WIDE), Logistic())
    runner = RunnerV2_1(model, BatchGD(0.5, model), accuracy, WatchedLoss(model))
    for _ in range(2):  # the second one begins with a look at what the first has left
        trained(runner, sets(moons), block_size=7)
    runner.evaluate(sets(moons)[2])
    runner.predict(sets(moons)[2][0])
    assert set(seen) == {7, 60 % 7, 30 % 7}


@pytest.mark.parametrize(
    ("loss", "value", "error", "said"),
    [
        (MeanSquaredErrorLoss, 1e300, NonFiniteError, r"predictions\[29, 0\] is nan"),
        (BinaryCrossEntropyLoss, 9e-300, ValueError, r"predictions\[29, 0\] is 9"),
    ],
)
def test_what_a_loss_refuses_is_refused_in_a_later_block_too(monkeypatch, loss, value, error, said):
    model = Sequential(Linear(1, 2, "a", **WIDE), Linear(2, 1, "b", **WIDE))
    model.layers[0].params["W"][:] = torch.tensor([[2e300, -1e300]], **WIDE)
    model.layers[1].params["W"].fill_(1)
    runner = RunnerV2_1(model, BatchGD(1, model), accuracy, loss(model))
    X = torch.zeros(30, 1, **WIDE)
    X[29] = value
    for rows in (HUGE, 4):
        small_cache(monkeypatch, rows)
        with pytest.raises(error, match=said):
            runner.evaluate([X, torch.zeros_like(X)])


def coupled():
    return BatchNorm(5, "bn", dtype=torch.float64)


@pytest.mark.parametrize("size", [1, 7, None])
@pytest.mark.parametrize("make", [coupled, lambda: Sequential(Dropout(0.2), Dropout(0.2))])
def test_a_block_size_never_changes_what_cannot_be_blocked(moons, monkeypatch, make, size):
    small_cache(monkeypatch, 7)

    def runner():
        torch.manual_seed(0)
        layers = Linear(2, 5, "a", dtype=torch.float64), make(), Linear(5, 1, "b").to(torch.float64)
        model = Sequential(*layers, Logistic())
        return RunnerV2_1(model, BatchGD(0.5, model), accuracy, BinaryCrossEntropyLoss(model))

    plain, blocked = (trained(runner(), sets(moons), block_size=s) for s in (HUGE, size))
    assert histories(blocked) == histories(plain)
    assert all(map(torch.equal, weights(blocked), weights(plain)))


@pytest.mark.parametrize("size", [1, 7, None])
def test_batch_axes_go_through_at_once(moons, monkeypatch, size):
    small_cache(monkeypatch, 7)
    data = [[torch.stack([part, part.flip(0)]) for part in rows] for rows in sets(moons)]
    plain, blocked = (trained(runner_of(), data, block_size=s) for s in (HUGE, size))
    assert histories(blocked) == histories(plain)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_takes_all_rows_at_once_and_may_be_asked_for_blocks(moons):
    runners = []
    for size in (HUGE, None, 7):
        runner = runner_of()
        runner.model.to("cuda")
        data = [[part.cuda() for part in rows] for rows in sets(moons)]
        assert block_rows(runner.model, data[0][0], runner.loss_fn) is None
        runners.append(trained(runner, data, block_size=size))
    assert histories(runners[1]) == histories(runners[0])
    same(runners[2], runners[0])


# --- scores of many epochs


class Counted:
    """Accuracy that counts its calls and whose epochs cannot be scored together."""

    def __init__(self, fail_at=None):
        self.calls, self.fail_at = 0, fail_at

    def __call__(self, predicts, labels):
        self.calls += 1
        if self.calls == self.fail_at:
            raise ZeroDivisionError("no score")
        return accuracy(predicts, labels)


@pytest.mark.parametrize("batch_size", [None, 25])
@pytest.mark.parametrize("size", [7, HUGE])
@pytest.mark.parametrize("most", [1, 300, 2**22])
def test_scores_of_many_epochs_are_those_of_each(moons, monkeypatch, most, size, batch_size):
    """Read one by one, together, and, where predictions are many, scored by blocks."""
    counted = Counted()
    how = {"block_size": size, "batch_size": batch_size, "num_epochs": 30}
    each = trained(runner_of(metric=counted), sets(moons), generator=seeded(), **how)
    monkeypatch.setattr(run, "MOST_UNREAD", most)
    together = trained(runner_of(), sets(moons), generator=seeded(), **how)
    same(together, each)
    assert counted.calls == 2 * 30 + 2  # and once for each set before
    assert len(set(each.train_scores)) > 2


def nearness(predicts, labels):
    """A learner's score of a row: no whole number, so the order of a sum shows in its last bit."""
    return 1 - (predicts - labels).abs().squeeze(-1)


@over_rows(nearness)
def near(predicts, labels):
    return nearness(predicts, labels).mean()


@pytest.mark.parametrize("batch_size", [None, 25])
@pytest.mark.parametrize("size", [7, 64, HUGE])
@pytest.mark.parametrize(("most", "together"), [(300, 2), (2**22, 30)])
@pytest.mark.parametrize("metric", [accuracy, near])
def test_scores_taken_together_are_those_of_each_to_the_last_bit(
    moons, monkeypatch, metric, most, together, size, batch_size
):
    monkeypatch.setattr(run, "MOST_UNREAD", most)
    monkeypatch.setattr(run, "SECONDS_BETWEEN_UPDATES", 1e9)
    seen, plain = [], run.Run.read
    monkeypatch.setattr(run.Run, "read", lambda self: (seen.append(len(self.unread)), plain(self)))
    how = {"block_size": size, "batch_size": batch_size, "num_epochs": 30}
    how["step"] = "eager"
    ours = trained(runner_of(metric=metric), sets(moons), generator=seeded(), **how)
    assert max(seen) == together
    each = runner_of(metric=partial(metric))  # which is not marked: called every epoch
    assert histories(trained(each, sets(moons), generator=seeded(), **how)) == histories(ours)
    assert len(set(ours.train_scores)) > 2


@pytest.mark.parametrize("size", [1, 7, 64])
def test_scores_by_blocks_are_to_rounding_those_of_a_learners_metric(moons, monkeypatch, size):
    """Those of accuracy, whole numbers by row, are so to the last bit."""
    for metric, tolerance in ((accuracy, 0), (near, 1e-12)):
        plain = trained(runner_of(metric=metric), sets(moons), block_size=size)
        monkeypatch.setattr(run, "MOST_UNREAD", 1)
        ours = trained(runner_of(metric=metric), sets(moons), block_size=size)
        monkeypatch.undo()
        for name in ("train_scores", "dev_scores"):
            wanted = pytest.approx(getattr(plain, name), rel=tolerance, abs=tolerance)
            assert getattr(ours, name) == wanted


@pytest.mark.parametrize("most", [300, 2**22])
def test_scores_of_classes_are_those_of_each(moons, monkeypatch, most):
    monkeypatch.setattr(run, "MOST_UNREAD", most)
    X, y = moons[0][0], (moons[0][0][:, 0] > 0).long() + (moons[0][0][:, 1] > 0).long()
    runners = []
    for metric in (accuracy, Counted()):
        model = Sequential(Linear(2, 3, "fc1", generator=seeded()))
        runners.append(RunnerV2_1(model, BatchGD(0.5, model), metric, CrossEntropyLoss(model)))
        trained(runners[-1], [[X, y], [X, y]], block_size=7)
    same(*runners, torch.float32)


def test_predictions_are_not_kept_where_scores_go_by_blocks(moons, monkeypatch):
    monkeypatch.setattr(run, "MOST_UNREAD", 50)
    found, plain = [], run.Run._epoch
    monkeypatch.setattr(run.Run, "_epoch", lambda self: found.append(plain(self)) or found[-1])
    trained(runner_of(), sets(moons), block_size=7, step="eager")
    assert {epoch.numbers[2].numel() for epoch in found} == {1}


@pytest.mark.parametrize("keep", ["best_score", "last"])
def test_a_metric_that_raises_ends_the_run_with_what_was_done(moons, keep):
    runner = runner_of(metric=Counted(fail_at=2 + 9))  # the train score of the fifth epoch
    plain = trained(runner_of(), sets(moons), num_epochs=4, keep=keep)
    with pytest.raises(ZeroDivisionError, match="no score"):
        trained(runner, sets(moons), keep=keep)
    same(runner, plain)


def test_after_a_run_no_op_holds_scratch_and_grads_are_those_of_the_last_step(moons):
    plain, blocked = (trained(runner_of(), sets(moons), block_size=s) for s in (HUGE, 7))
    for part in every_part(blocked.model, blocked.loss_fn):
        assert getattr(part, "_memory", None) is None
    close(blocked.model.fc1.grads, plain.model.fc1.grads)


def test_a_bad_loss_by_blocks_names_the_op_and_the_epoch(moons):
    said = []
    for size in (HUGE, 7):
        model = Sequential(Linear(2, 1, "fc1", weight_init=torch.ones))
        runner = RunnerV2_1(model, BatchGD(1e30, model), lambda p, y: 0.0, CrossEntropyLoss(model))
        model.layers.append(Linear(1, 2, "fc2", generator=seeded()))
        X, y = moons[0][0], moons[0][1][:, 0].long()
        with pytest.raises(
            NonFiniteError, match=r"of epoch \d+ is (nan|inf) .* output of 'fc"
        ) as caught:
            trained(runner, [[X, y], [X, y]], block_size=size)
        said.append(str(caught.value))
        assert all(tensor.isfinite().all() for tensor in state(model))
    assert said[0] == said[1]


# --- threads


@pytest.mark.parametrize(("threads", "wanted"), [(None, 1), (2, 2)])
def test_a_tiny_job_has_one_thread_or_what_is_asked_for(moons, monkeypatch, threads, wanted):
    monkeypatch.setattr("opnet.threads.most_threads", lambda: 4)
    torch.set_num_threads(3)
    seen = set()

    class Look:
        def on_epoch_end(self, runner, epoch):
            seen.add(torch.get_num_threads())

    runner = trained(runner_of(), sets(moons), threads=threads, callbacks=[Look()])
    assert seen == {wanted}
    assert torch.get_num_threads() == 3
    with pytest.raises(ZeroDivisionError):
        trained(runner, sets(moons), threads=threads, callbacks=[StopAt(1, ZeroDivisionError)])
    assert torch.get_num_threads() == 3
    runner.evaluate(sets(moons)[2])
    runner.predict(sets(moons)[2][0])
    assert torch.get_num_threads() == 3
