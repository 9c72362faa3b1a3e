"""RunnerV2_1: what it prints, keeps, writes, refuses, and how it ends."""

import re

import numpy as np
import pytest
import torch
from book import BookLoss
from recorder import Recorder, histories, weights

from opnet import (
    BatchGD,
    BinaryCrossEntropyLoss,
    Linear,
    Logistic,
    Op,
    Sequential,
    accuracy,
)
from runners import RunnerV2_1, log
from runners.best import Best

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
    best = Best(job().model, None, "best_score", None)
    for epoch, (score, loss) in enumerate([(0.0, 5.0), (0.0, 4.0), (0.0, 6.0), (0.0, 4.0)]):
        best.offer(epoch, score, loss, best.snapshot())
    assert best.kept.epoch == 1


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


def test_a_second_train_keeps_what_it_started_from_when_that_was_better(job, moons, tmp_path):
    runner = job(lr=5.0)
    runner.train(*moons[:2], num_epochs=200, log_epochs=0, save_dir=tmp_path)
    good, kept = weights(runner), runner.kept_epoch
    runner.optimizer.lr = 1e3
    runner.train(*moons[:2], num_epochs=3, log_epochs=0, save_dir=tmp_path)
    assert all(map(torch.equal, weights(runner), good))
    assert runner.kept_epoch == kept
    runner.load_model(tmp_path)
    assert all(map(torch.equal, weights(runner), good))
    runner.train(*moons[:2], num_epochs=3, log_epochs=0, keep="last")
    assert runner.kept_epoch == len(runner.dev_scores) - 1


def test_ops_train_in_the_step_and_not_in_the_dev_evaluation(moons):
    modes = []

    class Watched(Logistic):
        def forward(self, inputs):
            modes.append((len(inputs), self.training))
            return super().forward(inputs)

    model = Sequential(Linear(2, 1, "fc1"), Watched())
    runner = RunnerV2_1(model, BatchGD(0.1, model), accuracy, BinaryCrossEntropyLoss(model))
    runner.train(*moons[:2], num_epochs=2, log_epochs=0)
    assert modes[2:] == [(60, True), (30, False)] * 2
    assert model.training
    assert model.layers[1].training


def test_a_score_that_is_a_whole_number_is_a_float_in_the_histories(job, moons):
    parts = job()
    right = lambda p, y: ((p >= 0.5) == (y >= 0.5)).sum()  # noqa: E731
    runner = RunnerV2_1(parts.model, parts.optimizer, right, parts.loss_fn)
    runner.train(*moons[:2], num_epochs=2, log_epochs=0)
    assert all(type(score) is float for score in runner.train_scores)


def test_what_a_learner_wrote_with_call_alone_trains(moons):
    class CalledLoss(BookLoss):
        def __call__(self, predicts, labels):
            return BookLoss.forward(self, predicts, labels)

    class CalledModel(Op):
        def __init__(self):
            self.fc1, self.act_fn1 = Linear(2, 1, "fc1"), Logistic()
            self.layers = [self.fc1, self.act_fn1]

        def __call__(self, X):
            return self.act_fn1(self.fc1(X))

        def backward(self, grads):
            self.fc1.backward(self.act_fn1.backward(grads))

    model = CalledModel()
    runner = RunnerV2_1(model, BatchGD(1.0, model), accuracy, CalledLoss(model))
    runner.train(*moons[:2], num_epochs=20, log_epochs=0)
    assert runner.train_loss[-1] < runner.train_loss[0]
    assert runner.predict(moons[1][0]).shape == (30, 1)


def test_a_window_is_read_after_a_tenth_of_a_second(job, moons, monkeypatch):
    from runners import run

    read, clock = [], iter(range(10**6))
    monkeypatch.setattr(run.time, "monotonic", lambda: next(clock) * 0.06)
    plain = run.Run.read
    monkeypatch.setattr(run.Run, "read", lambda self: (read.append(len(self.unread)), plain(self)))
    job().train(*moons[:2], num_epochs=20, log_epochs=0)
    assert max(read) <= 2


@pytest.mark.parametrize(("step", "wait"), [("eager", 3), ("captured", 15)])
def test_few_snapshots_wait_where_weights_are_many(step, wait, job, moons, monkeypatch):
    from runners import run

    monkeypatch.setattr(run, "MOST_UNREAD", 3 * (21 + 60 + 30))
    read = []
    plain = run.Run.read
    monkeypatch.setattr(run.Run, "read", lambda self: (read.append(len(self.unread)), plain(self)))
    job().train(*moons[:2], num_epochs=20, log_epochs=0, step=step)
    assert max(read) == wait  # where it is recorded, the scores are too


class Replacing(BatchGD):
    """A learner's: puts another dict, or other memory, in the place of the params."""

    how = "dict"

    def step(self):
        for op in self.model.layers:
            if op.params and self.how == "dict":
                op.params = {key: p - self.lr * op.grads[key] for key, p in op.params.items()}
            for key, param in op.params.items():
                if self.how == "data":
                    param.data = param.data - self.lr * op.grads[key]


@pytest.mark.parametrize("how", ["dict", "data"])
def test_what_is_kept_is_what_a_learners_optimizer_has_put_there(moons, how):
    def run(rule, **attributes):
        first = Linear(2, 3, "a", generator=torch.Generator().manual_seed(1))
        last = Linear(3, 1, "b", generator=torch.Generator().manual_seed(2))
        model = Sequential(first, Logistic(), last, Logistic())
        optimizer = rule(0.5, model)
        vars(optimizer).update(attributes)
        runner = RunnerV2_1(model, optimizer, accuracy, BinaryCrossEntropyLoss(model))
        runner.train(*moons[:2], num_epochs=30, log_epochs=0, keep="last")
        return weights(runner)

    kept = zip(run(Replacing, how=how), run(BatchGD), strict=True)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in kept)
