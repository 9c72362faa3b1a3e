"""RunnerV2_1: what it prints, keeps, writes, refuses, and how it ends."""

import math
import re

import numpy as np
import pytest
import torch
from book import BookLogistic, BookLoss, PlainLinear

from opnet import (
    BatchGD,
    BinaryCrossEntropyLoss,
    Linear,
    Logistic,
    Model_MLP_L2,
    NonFiniteError,
    Op,
    Sequential,
    accuracy,
    make_moons,
    split,
)
from opnet.walk import state
from runners import RunnerV2_1, log
from runners.best import Best

HISTORIES = ("train_scores", "train_loss", "dev_scores", "dev_loss")


def weights(runner):
    return [tensor.clone() for tensor in state(runner.model)]


def histories(runner):
    return [getattr(runner, name) for name in HISTORIES]


class Recorder:
    """Keeps the weights of every epoch."""

    def __init__(self):
        self.calls, self.weights = [], []

    def on_train_begin(self, runner):
        self.calls.append("begin")

    def on_epoch_end(self, runner, epoch):
        assert len(runner.dev_loss) == epoch + 1
        self.calls.append(epoch)
        self.weights.append(weights(runner))

    def on_train_end(self, runner):
        self.calls.append("end")


class StopAt:
    def __init__(self, epoch, error=None):
        self.epoch, self.error = epoch, error

    def on_epoch_end(self, runner, epoch):
        if epoch == self.epoch:
            if self.error:
                raise self.error
            runner.stop = True


# --- histories and the weights that are kept


def test_the_histories_are_those_of_a_plain_loop(job, moons):
    train, dev, _ = moons
    runner, plain = job(), job()
    runner.train(train, dev, num_epochs=25, log_epochs=7, keep="last")
    for epoch in range(25):
        loss = plain.loss_fn(plain.model(train[0]), train[1])
        assert runner.train_loss[epoch] == pytest.approx(loss.item(), rel=1e-6)
        assert runner.train_scores[epoch] == accuracy(plain.model.outputs, train[1]).item()
        plain.loss_fn.backward()
        plain.optimizer.step()
        score, loss = plain.evaluate(dev)
        assert (runner.dev_scores[epoch], runner.dev_loss[epoch]) == pytest.approx((score, loss))
    assert all(map(torch.equal, weights(runner), weights(plain)))


@pytest.mark.parametrize("log_epochs", [0, 1, 10, 1000])
def test_histories_are_complete_whatever_is_logged(job, moons, log_epochs):
    reference, runner = job(), job()
    reference.train(*moons[:2], num_epochs=150, log_epochs=0)
    runner.train(*moons[:2], num_epochs=150, log_epochs=log_epochs)
    assert [len(history) for history in histories(runner)] == [150] * 4
    assert histories(runner) == histories(reference)
    assert all(type(value) is float for history in histories(runner) for value in history)


@pytest.mark.parametrize("keep", ["best_score", "best_loss", "last"])
def test_the_kept_weights_end_in_memory_and_on_disk(job, moons, keep, tmp_path):
    runner, recorder = job(lr=20.0, seed=3), Recorder()
    runner.train(
        *moons[:2], num_epochs=40, log_epochs=0, keep=keep, callbacks=[recorder], save_dir=tmp_path
    )
    ranks = {
        "best_score": lambda e: (-runner.dev_scores[e], runner.dev_loss[e], e),
        "best_loss": lambda e: (runner.dev_loss[e], e),
        "last": lambda e: -e,
    }
    expected = min(range(40), key=ranks[keep])
    assert runner.kept_epoch == expected
    assert all(map(torch.equal, weights(runner), recorder.weights[expected]))
    other = job(seed=9)
    other.load_model(tmp_path)
    assert all(map(torch.equal, weights(other), weights(runner)))


def test_ties_in_the_score_go_to_the_lower_loss_and_the_first_epoch_counts(job):
    best = Best(job().model, "best_score", None)
    for epoch, (score, loss) in enumerate([(0.0, 5.0), (0.0, 4.0), (0.0, 6.0), (0.0, 4.0)]):
        best.offer(epoch, score, loss, [])
    assert best.epoch == 1


def test_a_second_train_goes_on_and_appends(job, moons):
    once, twice = job(), job()
    once.train(*moons[:2], num_epochs=30, log_epochs=0, keep="last")
    twice.train(*moons[:2], num_epochs=10, log_epochs=0, keep="last")
    twice.train(*moons[:2], num_epochs=20, log_epochs=0, keep="last")
    assert histories(twice) == histories(once)
    assert all(map(torch.equal, weights(twice), weights(once)))


def test_no_epochs_train_nothing(job, moons, tmp_path, capsys):
    runner = job()
    before = weights(runner)
    runner.train(*moons[:2], num_epochs=0, save_dir=tmp_path / "not made")
    assert all(map(torch.equal, weights(runner), before))
    assert histories(runner) == [[], [], [], []]
    assert not (tmp_path / "not made").exists()
    assert capsys.readouterr().out == ""


def test_the_paddle_trajectory_is_reproduced(paddle):
    start, trajectory = paddle
    inits = {"fc1": start["W1"], "fc2": start["W2"]}
    model = Sequential(
        Linear(2, 5, "fc1", lambda shape: torch.tensor(inits["fc1"])),
        Logistic(),
        Linear(5, 1, "fc2", lambda shape: torch.tensor(inits["fc2"])),
        Logistic(),
    )
    runner = RunnerV2_1(model, BatchGD(0.2, model), accuracy, BinaryCrossEntropyLoss(model))
    runner.train(
        [start["Xtr"], start["ytr"]],
        [start["Xdv"], start["ydv"]],
        num_epochs=1000,
        log_epochs=0,
        keep="last",
    )
    np.testing.assert_allclose(runner.train_loss, trajectory["tl"], atol=1e-5, rtol=0)
    np.testing.assert_allclose(runner.dev_loss, trajectory["dl"], atol=1e-5, rtol=0)
    differ = ~np.isclose(runner.dev_scores, trajectory["ds"], atol=1e-6, rtol=0)
    assert differ.sum() <= 2
    for layer, (W, b) in zip(
        (model.layers[0], model.layers[2]), (("W1", "b1"), ("W2", "b2")), strict=True
    ):
        np.testing.assert_allclose(layer.params["W"], trajectory[W], atol=1e-4)
        np.testing.assert_allclose(layer.params["b"], trajectory[b], atol=1e-4)
    score, loss = runner.evaluate([start["Xte"], start["yte"]])
    assert (round(score, 4), round(loss, 5)) == (0.81, 0.43252)


# --- log lines


def test_the_log_lines_are_the_books(job, moons, capsys):
    runner = job()
    runner.train(*moons[:2], num_epochs=25, log_epochs=10)
    lines = capsys.readouterr().out.splitlines()
    number = r"\d+\.\d+(e-\d+)?"
    forms = (
        r"\[Evaluate\] best accuracy performance has been updated: \d\.\d{5} --> \d\.\d{5}",
        rf"\[Train\] epoch: \d+/25, loss: {number}",
        r"\[Train\] kept epoch: \d+/25, dev score/loss: \d\.\d{4}/\d\.\d{4} \(best_score\)",
    )
    assert all(any(re.fullmatch(form, line) for form in forms) for line in lines)
    assert [line.split(",")[0] for line in lines if "loss: " in line and "kept" not in line] == [
        f"[Train] epoch: {epoch}/25" for epoch in (0, 10, 20)
    ]
    assert "updated: 0.00000 --> " in lines[0]
    rises = [tuple(map(float, re.findall(r"\d\.\d{5}", line))) for line in lines if "-->" in line]
    assert all(a < b for a, b in rises)
    assert [b for _, b in rises[:-1]] == [a for a, _ in rises[1:]]
    assert lines[-1].startswith(f"[Train] kept epoch: {runner.kept_epoch}/25")


def test_log_epochs_0_prints_nothing_at_all(job, moons, capfd):
    job().train(*moons[:2], num_epochs=5, log_epochs=0)
    assert capfd.readouterr() == ("", "")


def test_a_bar_stands_on_a_terminal_only_and_only_in_long_runs(monkeypatch):
    made = []

    class Bar:
        n = 0

        def __init__(self, **options):
            made.append(options["total"])

        def update(self, n):
            self.n += n

        def set_postfix(self, **postfix):
            pass

        def write(self, line):
            made.append(line)

        def close(self):
            made.append("closed")

    import tqdm

    monkeypatch.setattr(tqdm, "tqdm", Bar)
    for is_terminal, seconds, expected in (
        (True, 0.6, [9, "a line", "closed"]),
        (True, 0.4, []),
        (False, 0.6, []),
    ):
        made.clear()
        monkeypatch.setattr(log.sys.stderr, "isatty", lambda is_terminal=is_terminal: is_terminal)
        bar = log.Log(9, 1)
        bar._started -= seconds
        bar.progress(4, 0.5)
        bar.line("a line")
        bar.close()
        assert made == expected


# --- callbacks and ends


def test_callbacks_are_called_in_order_and_can_stop(job, moons):
    runner, recorder = job(), Recorder()
    runner.train(*moons[:2], num_epochs=10, log_epochs=0, callbacks=[recorder, StopAt(3)])
    assert recorder.calls == ["begin", 0, 1, 2, 3, "end"]
    assert len(runner.train_loss) == 4
    runner.train(*moons[:2], num_epochs=1, log_epochs=0)
    assert len(runner.train_loss) == 5


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("a callback failed")])
def test_the_best_weights_survive_an_interrupt_and_an_error(job, moons, tmp_path, error):
    runner, recorder = job(lr=20.0, seed=3), Recorder()
    with pytest.raises(type(error)):
        runner.train(
            *moons[:2],
            num_epochs=99,
            log_epochs=0,
            callbacks=[recorder, StopAt(9, error)],
            save_dir=tmp_path,
        )
    assert [len(history) for history in histories(runner)] == [10] * 4
    assert all(map(torch.equal, weights(runner), recorder.weights[runner.kept_epoch]))
    other = job(seed=9)
    other.load_model(tmp_path)
    assert all(map(torch.equal, weights(other), weights(runner)))
    assert recorder.calls[-1] == "end"


def test_an_interrupt_inside_a_step_leaves_whole_weights(job, moons):
    runner, calls = job(), []
    plain = type(runner.optimizer).step

    def torn_step():
        calls.append(1)
        if len(calls) == 8:
            runner.model.fc1.params["W"].add_(1)
            raise KeyboardInterrupt
        plain(runner.optimizer)

    runner.optimizer.step = torn_step
    with pytest.raises(KeyboardInterrupt):
        runner.train(*moons[:2], num_epochs=50, log_epochs=0, keep="last")
    reference = job()
    reference.train(*moons[:2], num_epochs=7, log_epochs=0, keep="last")
    assert all(map(torch.equal, weights(runner), weights(reference)))
    assert histories(runner) == histories(reference)


def test_files_are_written_at_most_once_a_second(job, moons, tmp_path, monkeypatch):
    from runners import best

    saves = []
    monkeypatch.setattr(best.checkpoint, "save", lambda directory, layers: saves.append(layers))
    runner = job()
    runner.train(*moons[:2], num_epochs=60, log_epochs=1, save_dir=tmp_path)
    assert 1 <= len(saves) <= 3


class Overflow(Op):
    """y = x until it is told to overflow."""

    broken = False

    def forward(self, inputs):
        return inputs * (torch.inf if self.broken else 1)

    def backward(self, grads):
        return grads


class BreakAt:
    def __init__(self, op, epoch):
        self.op, self.epoch = op, epoch

    def on_epoch_end(self, runner, epoch):
        self.op.broken = epoch == self.epoch


def test_a_loss_that_is_not_finite_names_epoch_rate_and_op(moons, tmp_path):
    culprit, recorder = Overflow(), Recorder()
    model = Sequential(Linear(2, 5, "fc1"), culprit, Linear(5, 1, "fc2"), Logistic())
    runner = RunnerV2_1(model, BatchGD(0.25, model), accuracy, BinaryCrossEntropyLoss(model))
    said = r"train loss of epoch 5 is (nan|inf) at learning rate 0.25; first at .*'Overflow_1'"
    with pytest.raises(NonFiniteError, match=said) as error:
        runner.train(
            *moons[:2],
            num_epochs=20,
            log_epochs=0,
            save_dir=tmp_path,
            callbacks=[recorder, BreakAt(culprit, 4)],
        )
    assert f"the weights of epoch {runner.kept_epoch} are kept" in str(error.value)
    assert [len(history) for history in histories(runner)] == [5] * 4
    assert all(map(torch.equal, weights(runner), recorder.weights[runner.kept_epoch]))
    kept = weights(runner)
    runner.load_model(tmp_path)
    assert all(map(torch.equal, weights(runner), kept))


def test_real_divergence_is_found_although_losses_are_read_late(moons):
    torch.manual_seed(0)
    model = Sequential(PlainLinear(2, 1, "fc1"), BookLogistic())
    runner = RunnerV2_1(model, BatchGD(1e4, model), accuracy, BookLoss(model))
    start = weights(runner)
    with pytest.raises(NonFiniteError, match=r"loss of epoch \d+ is (nan|inf)") as error:
        runner.train(*moons[:2], num_epochs=300, log_epochs=0)
    assert all(tensor.isfinite().all() for tensor in state(model))
    if runner.kept_epoch is None:
        assert all(map(torch.equal, weights(runner), start))
    assert "the output of every op is finite" in str(error.value)  # log 0 is the loss's own


@pytest.mark.parametrize("lr", [1.0, 5.0, 20.0])
def test_ordinary_good_training_never_turns_nan(job, lr):
    train, dev, _ = split(*make_moons(1000, noise=0.2, seed=0), seed=0)
    runner = job(lr=lr)
    runner.train(train, dev, num_epochs=3000, log_epochs=0)
    assert all(math.isfinite(loss) for loss in runner.train_loss + runner.dev_loss)
    assert runner.dev_scores[runner.kept_epoch] > 0.8


# --- evaluate and predict


def test_evaluate_and_predict_leave_no_trace(job, moons):
    train, dev, _ = moons
    runner = job()
    runner.loss_fn(runner.model(train[0]), train[1])
    ops = (runner.loss_fn, runner.model, *runner.model.layers)
    held, rng = [dict(vars(op)) for op in ops], torch.get_rng_state()
    runner.evaluate(dev)
    assert torch.equal(runner.predict(dev[0]), runner.predict(dev[0].numpy()))
    for op, before in zip(ops, held, strict=True):
        assert all(vars(op)[key] is value for key, value in before.items())
    assert torch.equal(torch.get_rng_state(), rng)
    assert histories(runner) == [[], [], [], []]
    runner.loss_fn.backward()


def test_evaluate_restores_the_random_state_that_an_op_draws_from(moons):
    class Noise(Op):
        def forward(self, inputs):
            return inputs + torch.randn_like(inputs)

        def backward(self, grads):
            return grads

    model = Sequential(Noise(), Linear(2, 1, "fc1"), Logistic())
    runner = RunnerV2_1(model, BatchGD(0.1, model), accuracy, BinaryCrossEntropyLoss(model))
    rng = torch.get_rng_state()
    runner.evaluate(moons[1])
    assert torch.equal(torch.get_rng_state(), rng)


def test_numpy_and_lists_are_taken_as_they_are(job, moons):
    train, dev, _ = moons
    runner, reference = job(), job()
    reference.train(train, dev, num_epochs=5, log_epochs=0)
    as_arrays = [train[0].double().numpy(), train[1].numpy().astype(int)]
    read_only = dev[0].numpy()[::-1].copy()[::-1]
    read_only.setflags(write=False)
    runner.train(as_arrays, (read_only, dev[1].tolist()), num_epochs=5, log_epochs=0)
    assert histories(runner) == histories(reference)
    assert runner.predict([[1, 0]]).dtype == torch.float32


def test_a_model_that_holds_nan_is_named_before_it_is_trained(job):
    runner = job()
    runner.model.fc1.params["W"].fill_(torch.nan)
    with pytest.raises(NonFiniteError, match=r"predictions\[0, 0\] is nan"):
        runner.train(ROWS, ROWS, num_epochs=1)


# --- bad input, before anything has changed


ROWS = [torch.ones(4, 2), torch.ones(4, 1)]
NAN = torch.ones(4, 2)
NAN[2, 1] = torch.nan


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({"num_epochs": -5}, ValueError, "num_epochs is -5"),
        ({"num_epochs": 2.5}, TypeError, "num_epochs is 2.5"),
        ({"num_epochs": "3"}, TypeError, "num_epochs is '3'"),
        ({"log_epochs": -1}, ValueError, "log_epochs is -1"),
        ({"keep": "best"}, ValueError, "keep is 'best', wanted one of best_score"),
        ({"epochs": 3}, TypeError, "unexpected keyword argument 'epochs'"),
        ({"callbacks": [print]}, TypeError, "callback 0 .* has none of on_train_begin"),
        ({"train_set": [*ROWS, 1]}, ValueError, r"train_set is a list, wanted two items: \[X, y\]"),
        (
            {"train_set": [torch.ones(4, 2), torch.ones(3, 1)]},
            ValueError,
            r"train_set: X has shape \[4, 2\], y \[3, 1\]: rows differ",
        ),
        (
            {"dev_set": [torch.ones(0, 2), torch.ones(0, 1)]},
            ValueError,
            r"dev_set: X has shape \[0, 2\], wanted .* N >= 1",
        ),
        ({"train_set": [torch.ones(2), torch.ones(2)]}, ValueError, r"X has shape \[2\]"),
        (
            {"train_set": [NAN, torch.ones(4, 1)]},
            ValueError,
            r"train_set: X\[2, 1\] is nan \(1 of 8 values not finite\)",
        ),
        (
            {"dev_set": [torch.ones(4, 3), torch.ones(4, 1)]},
            ValueError,
            "dev_set: Linear 'fc1': inputs have 3 columns, W wants 2",
        ),
        (
            {"train_set": [torch.ones(4, 2).double(), torch.ones(4, 1)]},
            TypeError,
            "train_set: Linear 'fc1': inputs are torch.float64",
        ),
        (
            {"train_set": [torch.ones(4, 2), 2 * torch.ones(4, 1)]},
            ValueError,
            r"train_set: BinaryCrossEntropyLoss: labels\[0, 0\] is 2 ",
        ),
        (
            {"dev_set": [torch.ones(4, 2), torch.ones(4)]},
            ValueError,
            r"dev_set: .*labels have shape \[4\], predictions \[4, 1\]",
        ),
        ({"train_set": ["ab", "cd"]}, TypeError, "train_set: X is a str"),
    ],
)
def test_bad_arguments_are_named_and_nothing_changes(job, arguments, error, said, tmp_path):
    runner = job()
    before, rng = weights(runner), torch.get_rng_state()
    good = {"train_set": ROWS, "dev_set": ROWS, "num_epochs": 3, "save_dir": tmp_path / "new"}
    with pytest.raises(error, match=said) as caught:
        runner.train(**(good | arguments))
    assert "\n" not in str(caught.value)
    assert all(map(torch.equal, weights(runner), before))
    assert torch.equal(torch.get_rng_state(), rng)
    assert histories(runner) == [[], [], [], []]
    assert not (tmp_path / "new").exists()


def test_parts_made_for_another_model_are_refused(job):
    a, b = job(), job()
    with pytest.raises(ValueError, match="optimizer was made for another model"):
        RunnerV2_1(a.model, b.optimizer, accuracy, a.loss_fn)
    with pytest.raises(ValueError, match="loss_fn was made for another model"):
        RunnerV2_1(a.model, a.optimizer, accuracy, b.loss_fn)
    runner = RunnerV2_1(a.model, None, accuracy, BinaryCrossEntropyLoss())
    runner.evaluate(ROWS)
    with pytest.raises(ValueError, match="optimizer is None"):
        runner.train(ROWS, ROWS, num_epochs=1)
    runner = RunnerV2_1(a.model, a.optimizer, accuracy, BinaryCrossEntropyLoss())
    with pytest.raises(ValueError, match="loss_fn has no model"):
        runner.train(ROWS, ROWS, num_epochs=1)


@pytest.mark.parametrize("returned", [torch.ones(4), "good", None])
def test_a_metric_that_returns_no_number_is_named(job, returned):
    parts = job()
    runner = RunnerV2_1(parts.model, parts.optimizer, lambda p, y: returned, parts.loss_fn)
    with pytest.raises(TypeError, match=r"train_set: metric returned .*, wanted a single number"):
        runner.train(ROWS, ROWS, num_epochs=1)


def test_a_metric_that_is_nan_is_named(job):
    parts = job()
    runner = RunnerV2_1(parts.model, parts.optimizer, lambda p, y: math.nan, parts.loss_fn)
    with pytest.raises(NonFiniteError, match="train score of epoch 0 is nan"):
        runner.train(ROWS, ROWS, num_epochs=1, log_epochs=0)


def test_a_model_of_batched_rows_trains():
    X, y = torch.randn(3, 4, 2), torch.rand(3, 4, 1).round()
    model = Model_MLP_L2(2, 5, 1)
    runner = RunnerV2_1(model, BatchGD(1.0, model), accuracy, BinaryCrossEntropyLoss(model))
    runner.train([X, y], [X, y], num_epochs=5, log_epochs=0)
    assert runner.train_loss[-1] < runner.train_loss[0]
