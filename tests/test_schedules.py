"""Schedules are torch's, rate for rate; `train(schedule=f)` sets what f says before each epoch."""

import math

import pytest
import torch
from book import BookGD
from hypothesis import given
from hypothesis import strategies as st
from recorder import histories, weights

from opnet import (
    BatchGD,
    Constant,
    Cosine,
    Exponential,
    ReduceOnPlateau,
    StepDecay,
    WarmUp,
)
from opnet.schedules import Schedule
from runners import RunnerV2_1

lr_scheduler = torch.optim.lr_scheduler


def torch_rates(make, n, init_lr=0.5, losses=None):
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=init_lr)
    scheduler, rates = make(optimizer), []
    for epoch in range(n):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step(*(() if losses is None else (losses[epoch],)))
    return rates


def chained(n, make):
    """A LinearLR from 1 / n to 1 at epoch n - 1, times another."""

    def both(optimizer):
        warm_up = lr_scheduler.LinearLR(optimizer, start_factor=1 / n, total_iters=n - 1)
        return lr_scheduler.ChainedScheduler([warm_up, make(optimizer)])

    return both


EQUAL = {
    "constant": (Constant(0.5), lambda o: lr_scheduler.ConstantLR(o, factor=1.0)),
    "step": (StepDecay(0.5, 7), lambda o: lr_scheduler.StepLR(o, 7)),
    "step 0.5": (StepDecay(0.5, 1, 0.5), lambda o: lr_scheduler.StepLR(o, 1, 0.5)),
    "exponential": (Exponential(0.5, 0.9), lambda o: lr_scheduler.ExponentialLR(o, 0.9)),
    "rising": (Exponential(0.5, 1.1), lambda o: lr_scheduler.ExponentialLR(o, 1.1)),
    "cosine": (Cosine(0.5, 40), lambda o: lr_scheduler.CosineAnnealingLR(o, 40)),
    "cosine to 0.1": (
        Cosine(0.5, 13, min_lr=0.1),
        lambda o: lr_scheduler.CosineAnnealingLR(o, 13, eta_min=0.1),
    ),
    "warm-up": (
        WarmUp(Constant(0.5), 5),
        chained(5, lambda o: lr_scheduler.ConstantLR(o, factor=1.0)),
    ),
    "warm-up, steps": (
        WarmUp(StepDecay(0.5, 3), 5),
        chained(5, lambda o: lr_scheduler.StepLR(o, 3)),
    ),
    "warm-up, exponential": (
        WarmUp(Exponential(0.5, 0.9), 2),
        chained(2, lambda o: lr_scheduler.ExponentialLR(o, 0.9)),
    ),
    "warm-up, cosine": (
        WarmUp(Cosine(0.5, 40), 10),
        chained(10, lambda o: lr_scheduler.CosineAnnealingLR(o, 40)),
    ),
}


@pytest.mark.parametrize(("ours", "theirs"), EQUAL.values(), ids=EQUAL.keys())
def test_rates_are_torchs(ours, theirs):
    rates = ours.simulate(40)
    assert rates == pytest.approx(torch_rates(theirs, 40), rel=1e-12, abs=1e-15)
    assert rates == [ours(epoch) for epoch in range(40)]


@given(
    losses=st.lists(st.floats(0, 2) | st.sampled_from([0.5, 1.0]), max_size=40),
    factor=st.floats(0, 0.9),
    patience=st.integers(0, 4),
    threshold=st.sampled_from([0.0, 1e-4, 0.1]),
    min_lr=st.sampled_from([0.0, 0.01]),
)
def test_a_plateau_is_torchs(losses, factor, patience, threshold, min_lr):
    ours = ReduceOnPlateau(0.5, factor, patience, threshold, min_lr)
    options = {"factor": factor, "patience": patience, "threshold": threshold, "min_lr": min_lr}
    theirs = torch_rates(
        lambda o: lr_scheduler.ReduceLROnPlateau(o, **options), len(losses), losses=losses
    )
    assert ours.simulate(losses) == theirs
    assert ours.simulate(losses) == theirs, "a simulation leaves no trace"


def test_a_warm_up_passes_the_losses_on():
    losses = [1.0] * 8
    plain = ReduceOnPlateau(0.4, patience=1).simulate(losses)
    warm = WarmUp(ReduceOnPlateau(0.4, patience=1), 4).simulate(losses)
    assert warm == pytest.approx([r * min(1, (e + 1) / 4) for e, r in enumerate(plain)])
    assert not hasattr(WarmUp(Constant(0.4), 4), "observe")


def test_a_schedule_of_ones_own_is_simulated():
    class Half(Schedule):
        def __call__(self, epoch):
            return 0.5**epoch

    assert Half().simulate(3) == [1.0, 0.5, 0.25]
    assert WarmUp(lambda epoch: 1.0, 2).simulate(3) == [0.5, 1.0, 1.0]
    with pytest.raises(NotImplementedError, match="Schedule: has no __call__"):
        Schedule().simulate(1)


@pytest.mark.parametrize(
    ("make", "error", "said"),
    [
        (lambda: Constant(-1), ValueError, "Constant: init_lr is -1.0"),
        (lambda: Constant(float("nan")), ValueError, "Constant: init_lr is nan"),
        (lambda: StepDecay(0.1, 0), ValueError, "StepDecay: step_size is 0"),
        (lambda: StepDecay(0.1, 2.5), TypeError, "StepDecay: step_size is 2.5"),
        (lambda: StepDecay("1", 2), TypeError, "StepDecay: init_lr is '1'"),
        (lambda: StepDecay(0.1, 2, 0.0), ValueError, "StepDecay: gamma is 0.0"),
        (lambda: Exponential(0.1, -0.5), ValueError, "Exponential: gamma is -0.5"),
        (lambda: Cosine(0.1, 0), ValueError, "Cosine: num_epochs is 0"),
        (lambda: Cosine(0.1, 5, -0.1), ValueError, "Cosine: min_lr is -0.1"),
        (lambda: WarmUp(0.1, 5), TypeError, "WarmUp: schedule is 0.1, wanted a callable"),
        (lambda: WarmUp(Constant(0.1), 0), ValueError, "WarmUp: num_epochs is 0"),
        (lambda: ReduceOnPlateau(0.1, 1.0), ValueError, "ReduceOnPlateau: factor is 1.0"),
        (lambda: ReduceOnPlateau(0.1, patience=-1), ValueError, "patience is -1"),
        (lambda: ReduceOnPlateau(0.1, threshold=-1), ValueError, "threshold is -1.0"),
        (lambda: ReduceOnPlateau(0.1, min_lr=None), TypeError, "min_lr is None"),
        (lambda: ReduceOnPlateau(0.1).simulate(2.5), TypeError, "ReduceOnPlateau: epochs is 2.5"),
        (lambda: Constant(0.1).simulate(-1), ValueError, "Constant: epochs is -1"),
        (lambda: Constant(0.1).simulate([1.0]), TypeError, r"Constant: epochs is \[1.0\]"),
    ],
)
def test_arguments_out_of_range_are_named(make, error, said):
    with pytest.raises(error, match=said) as caught:
        make()
    assert "\n" not in str(caught.value)


# --- train(schedule=f)


class Rates:
    def __init__(self):
        self.rates = []

    def on_epoch_end(self, runner, epoch):
        self.rates.append(runner.optimizer.lr)


@pytest.mark.parametrize("schedule", [Cosine(0.5, 10), lambda epoch: 0.5 / (1 + epoch)])
def test_each_epoch_has_its_rate_and_each_train_counts_from_0(job, moons, schedule):
    runner, rates = job(lr=3.0), Rates()
    for _ in range(2):
        runner.train(*moons[:2], num_epochs=4, log_epochs=0, schedule=schedule, callbacks=[rates])
    assert rates.rates == [schedule(epoch) for epoch in range(4)] * 2
    assert runner.optimizer.init_lr == 3.0


def test_a_schedule_drives_the_steps(job, moons):
    scheduled, by_hand = job(), job()
    scheduled.train(
        *moons[:2], num_epochs=5, log_epochs=0, keep="last", schedule=Exponential(2.0, 0.5)
    )
    for epoch in range(5):
        by_hand.optimizer.lr = 2.0 * 0.5**epoch
        by_hand.train(*moons[:2], num_epochs=1, log_epochs=0, keep="last")
    assert histories(scheduled) == histories(by_hand)
    assert all(map(torch.equal, weights(scheduled), weights(by_hand)))


def test_a_plateau_is_fed_the_dev_loss(job, moons):
    runner, rates = job(), Rates()
    plateau = ReduceOnPlateau(20.0, factor=0.5, patience=0)
    runner.train(*moons[:2], num_epochs=30, log_epochs=0, schedule=plateau, callbacks=[rates])
    assert rates.rates == plateau.simulate(runner.dev_loss)
    assert len(set(rates.rates)) > 2
    unwatched = job()
    again = ReduceOnPlateau(20.0, factor=0.5, patience=0)
    unwatched.train(*moons[:2], num_epochs=30, log_epochs=0, schedule=again)
    assert histories(unwatched) == histories(runner)
    runner.train(*moons[:2], num_epochs=1, log_epochs=0, schedule=plateau, callbacks=[rates])
    assert rates.rates[-1] == 20.0


@pytest.mark.parametrize(
    ("rate", "error"),
    [(math.nan, ValueError), (-0.1, ValueError), (math.inf, ValueError), (None, TypeError)],
)
def test_a_bad_rate_is_named_and_the_weights_stay_whole(job, moons, rate, error):
    runner, plain = job(), job()
    said = rf"^train: schedule\(3\) is {rate}, wanted a finite number >= 0$"
    with pytest.raises(error, match=said):
        runner.train(
            *moons[:2],
            num_epochs=9,
            log_epochs=0,
            keep="last",
            schedule=lambda epoch: rate if epoch == 3 else 1.0,
        )
    plain.train(*moons[:2], num_epochs=3, log_epochs=0, keep="last")
    assert histories(runner) == histories(plain)
    assert all(map(torch.equal, weights(runner), weights(plain)))
    assert runner.optimizer.lr == 1.0


def test_a_rate_that_is_bad_from_the_start_changes_nothing(job, moons, tmp_path, capsys):
    runner = job()
    with pytest.raises(ValueError, match=r"train: schedule\(0\) is -1.0, wanted"):
        runner.train(
            *moons[:2], num_epochs=9, schedule=lambda epoch: -1.0, save_dir=tmp_path / "new"
        )
    assert not (tmp_path / "new").exists()
    assert capsys.readouterr().out == ""
    assert histories(runner) == [[], [], [], []]


def test_what_is_no_schedule_and_what_cannot_be_scheduled_is_refused(job, moons):
    runner = job()
    with pytest.raises(TypeError, match=r"train: schedule is 0.1, wanted a callable"):
        runner.train(*moons[:2], num_epochs=1, schedule=0.1)

    class WithoutLr:
        step = BookGD.step

    runner = RunnerV2_1(runner.model, WithoutLr(), runner.metric, runner.loss_fn)
    with pytest.raises(TypeError, match="train: WithoutLr has no lr, which a schedule would set"):
        runner.train(*moons[:2], num_epochs=1, schedule=Constant(0.1))
    assert BatchGD(0.1, runner.model).lr == 0.1


def test_a_number_stands_for_losses_that_never_fall():
    schedule = ReduceOnPlateau(1.0, factor=0.5, patience=1)
    assert schedule.simulate(7) == schedule.simulate([3.0] * 7) == [1, 1, 1, 0.5, 0.5, 0.25, 0.25]
