"""The experiments on training: the surfaces' slopes, the walks, the policies, the race on film.

That every row holds and every figure is written is tests/test_ledger.py's law.
"""

import pytest
import torch
from PIL import Image

import opnet
from experiments import batches, cli, descent, learning_rates, optimizers, overfitting, selection
from experiments.rows import BROKEN
from experiments.sources import BY_SEED, Source
from experiments.surfaces import Beale, Rosenbrock, Saddle, Valley
from opnet import BatchGD, BinaryCrossEntropyLoss, Model_MLP_L2, accuracy
from runners import RunnerV2_1

SURFACES = (Valley, Saddle, Beale, Rosenbrock)


def settings_of(module, *flags):
    settings = module.arguments().parse_args([*map(str, flags), "--device", "cpu"])
    settings.quiet = True
    return settings


@pytest.mark.parametrize("surface", SURFACES)
def test_a_surfaces_slope_is_proven_and_is_0_where_it_is_lowest(surface):
    assert opnet.check(surface()).passed
    for point in surface.lowest:
        assert surface.slope(*point) == pytest.approx((0, 0), abs=1e-15)
        around = [(point[0] + 0.01 * i, point[1] + 0.01 * j) for i in (-1, 0, 1) for j in (-1, 1)]
        assert all(surface.f(*other) > surface.f(*point) for other in around)
    for point in (surface.start, *surface.lowest):
        assert all(low < x < high for x, (low, high) in zip(point, surface.window, strict=True))


def test_a_walk_begins_at_the_start_and_goes_along_the_slope():
    walk = descent.by_opnet("BatchGD", Valley, 0.1, 2)
    torch.testing.assert_close(walk[0].tolist(), list(Valley.start))
    slope = torch.tensor(Valley.slope(*Valley.start), dtype=torch.float64)
    torch.testing.assert_close(walk[1], walk[0] - 0.1 * slope)
    assert walk.shape == (3, 2)


def test_another_rate_is_not_taken_for_torchs_own_step():
    theirs = descent.by_torch("Adam", Beale, 0.1, 20)
    assert descent.apart(descent.by_opnet("Adam", Beale, 0.1, 20), theirs) <= 1e-12
    assert descent.apart(descent.by_opnet("Adam", Beale, 0.1 + 1e-9, 20), theirs) > 1e-12


def test_the_race_is_filmed_when_asked_for_and_figures_are_wanted(tmp_path, monkeypatch):
    monkeypatch.setattr(optimizers, "STEPS", dict.fromkeys(optimizers.STEPS, 6))
    monkeypatch.setattr(optimizers, "COMPARED", 2)
    monkeypatch.setattr(optimizers, "FRAMES", 3)
    cli.report(settings_of(optimizers, "--animate", "--out", tmp_path / "a"), optimizers.main)
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["race.gif", "surfaces.png"]
    with Image.open(tmp_path / "a" / "race.gif") as film:
        assert film.n_frames == 3
    none = settings_of(optimizers, "--animate", "--no-figures", "--out", tmp_path / "b")
    cli.report(none, optimizers.main)
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("keep", ["best_score", "best_loss", "last"])
def test_a_policy_chooses_the_epoch_that_the_runner_keeps(keep, moons):
    train, dev, _ = moons
    model = Model_MLP_L2(2, 5, 1, generator=torch.Generator().manual_seed(0))
    runner = RunnerV2_1(model, BatchGD(8.0, model), accuracy, BinaryCrossEntropyLoss(model))
    runner.train(train, dev, num_epochs=80, log_epochs=0, keep=keep)
    chosen = selection.POLICIES[keep](runner.dev_scores, runner.dev_loss)
    assert chosen == runner.kept_epoch


def test_the_books_policy_takes_the_first_of_the_best():
    assert selection.POLICIES["book"]([0.5, 0.8, 0.7, 0.8], [4.0, 3.0, 2.0, 1.0]) == 1
    assert selection.POLICIES["best_score"]([0.5, 0.8, 0.7, 0.8], [4.0, 3.0, 2.0, 1.0]) == 3


def test_scores_of_the_runs_side_by_side_are_those_of_the_runner(monkeypatch):
    from experiments import two_moons

    monkeypatch.setattr(selection, "SEEDS", 2)
    monkeypatch.setattr(selection, "EPOCHS", 30)
    dev, test = selection.trained(settings_of(selection, "--seed", 3))
    assert dev.shape == test.shape == (2, 2, 30)
    generator = torch.Generator().manual_seed(4)
    train_set, dev_set, test_set = two_moons.book_moons(selection.NOISE, generator)
    model = Model_MLP_L2(2, selection.HIDDEN, 1, generator=generator)
    optimizer = BatchGD(selection.LR, model)
    runner = RunnerV2_1(model, optimizer, accuracy, BinaryCrossEntropyLoss(model))
    runner.train(train_set, dev_set, num_epochs=30, log_epochs=0, keep="last")
    torch.testing.assert_close(dev[1, 1].tolist(), runner.dev_loss, rtol=1e-5, atol=1e-6)
    assert test[1, :, -1].tolist() == pytest.approx(runner.evaluate(test_set), rel=1e-5)


def test_schedules_begin_large_and_end_small():
    for name, rate in learning_rates.schedules().items():
        epochs = (
            [1.0] * learning_rates.EPOCHS if hasattr(rate, "observe") else learning_rates.EPOCHS
        )
        rates = rate.simulate(epochs)
        if name in learning_rates.CONSTANTS:
            assert len(set(rates)) == 1
        else:
            assert rates[-1] < learning_rates.LARGE / 10
            assert max(rates) > 0.9 * learning_rates.LARGE


def test_a_schedule_that_does_not_help_is_found_out():
    falls, rises = [[0.3] * 30], [[0.1] * 30]
    losses = dict.fromkeys(learning_rates.schedules(), rises)
    losses |= dict.fromkeys(learning_rates.CONSTANTS, falls)
    assert all(row.holds for row in learning_rates.rows(losses))
    assert not any(row.holds for row in learning_rates.rows(losses | {"cosine": [[0.4] * 30]}))


def test_early_stopping_ends_the_run_and_keeps_the_best(monkeypatch):
    monkeypatch.setattr(overfitting, "EPOCHS", 200)
    run = overfitting.trained(1, "cpu", count=overfitting.FEW, patience=10)
    assert run.epoch == run.dev_loss.index(min(run.dev_loss))
    assert len(run.dev_loss) == run.epoch + 11 < 200


def test_as_many_steps_an_epoch_as_there_are_batches(monkeypatch):
    monkeypatch.setattr(batches, "EPOCHS", 2)
    monkeypatch.setattr("runners.replays.WORTH", 10**6)  # a replayed step calls no optimizer
    steps = []
    monkeypatch.setattr(BatchGD, "step", lambda optimizer: steps.append(optimizer.lr))
    for size, wanted in ((None, 2), (32, 40), (1, 1280)):
        steps.clear()
        assert len(batches.dev_losses(size, 0, "cpu")) == 2
        assert len(steps) == wanted


def test_a_mean_over_other_seeds_may_differ_by_chance_only():
    numbers = [1.0, 2.0, 3.0, 2.0]  # mean 2, deviation 0.816: 3 x 0.816 x sqrt(2 / 4) = 1.73
    source = Source("a book")
    assert source.mean("w", "3.7", numbers).verdict == BY_SEED
    for far in ("3.8", "0.2"):
        assert source.mean("w", far, numbers).verdict == BROKEN
    assert source.mean("w", "2", [*numbers, float("nan")]).verdict == BROKEN
