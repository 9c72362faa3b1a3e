"""The experiments on networks: every row holds, every figure is written, the helpers are right."""

import math
import subprocess
import sys

import pytest
import torch
from PIL import Image
from witness import close

import opnet
from experiments import activations, cli, moons, moons_figures, moons_nan, side_by_side, two_moons
from experiments.books_loss import BooksLogistic, BooksLoss
from opnet import BatchGD, BinaryCrossEntropyLoss, Linear, Logistic, Model_MLP_L2, accuracy
from opnet.data import make_moons
from runners import RunnerV2_1


def settings_of(module, *flags):
    settings = module.arguments().parse_args([*map(str, flags), "--device", "cpu"])
    settings.quiet = True
    return settings


def test_figures_are_written_in_every_format_that_is_asked_for(tmp_path):
    settings = settings_of(activations, "--out", tmp_path, "--format", "png", "pdf")
    cli.report(settings, activations.main)
    names = ("activations", "logistic_tanh", "relu_leaky_relu")
    written = sorted(path.name for path in tmp_path.iterdir())
    assert written == sorted(f"{name}.{end}" for name in names for end in ("png", "pdf"))


def test_a_script_ends_with_0_and_without_a_warning(tmp_path):
    command = [sys.executable, "-W", "error", "-m", "experiments.vanishing", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert " differs by seed" in done.stdout


def test_the_books_loss_turns_nan_and_opnets_does_not(monkeypatch):
    monkeypatch.setattr(moons_nan, "EPOCHS", 2500)
    settings = settings_of(moons_nan)
    finite, scores = moons_nan.trained(settings, (5.0,), BooksLogistic, BooksLoss)
    assert finite.shape == (25, 8)
    assert 0 < (~finite[-1]).sum() < 8
    assert all(0.4 < score < 0.6 for score in scores[~finite[-1]])
    finite, scores = moons_nan.trained(settings, (20.0,), Logistic, BinaryCrossEntropyLoss)
    assert finite.all()
    assert scores.median() > 0.95


def test_linears_are_right_and_train_as_the_runner_trains_each_of_them():
    generator = torch.Generator().manual_seed(0)
    layers = [Linear(2, 5, generator=generator) for _ in range(3)]
    report = opnet.check(side_by_side.Linears(layers), torch.randn(3, 7, 2, generator=generator))
    assert report.passed

    together = two_moons.train(0.3, range(2), "cpu", range(60), hidden=5, lr=2.0)
    for seed in range(2):
        generator = torch.Generator().manual_seed(seed)
        train, dev, test = two_moons.book_moons(0.3, generator)
        model = Model_MLP_L2(2, 5, 1, generator=generator)
        runner = RunnerV2_1(model, BatchGD(2.0, model), accuracy, BinaryCrossEntropyLoss(model))
        runner.train(train, dev, num_epochs=60, log_epochs=0)
        alone = (runner.train_loss[0], max(runner.dev_scores), *runner.evaluate(test))
        first_loss, _, *kept = (column[seed] for column in together)
        assert alone == pytest.approx((first_loss, *kept), rel=1e-5)


def test_the_books_draw_has_both_moons_and_its_noise():
    sets = two_moons.book_moons(0.5, torch.Generator().manual_seed(0))
    assert [list(X.shape) for X, _ in sets] == [[640, 2], [160, 2], [200, 2]]
    X, y = (torch.cat(parts) for parts in zip(*sets, strict=True))
    assert y.sum() == 500
    class_0 = X[y.flatten() == 0]
    close(class_0.mean(dim=0), torch.tensor([0.0, 2 / math.pi]), 0.1)
    assert class_0[:, 0].var() == pytest.approx(0.5 + 0.5**2, rel=0.15)  # of cos t, of the noise


@pytest.mark.parametrize(
    ("noise", "score", "loss"),
    [
        (0, 1, 0),
        (0.1, 0.9994, 0.0018),
        (0.2, 0.9710, 0.0763),
        (0.3, 0.9146, 0.2103),
        (0.5, 0.8233, 0.3936),
        (100, 0.5025, 0.6931),
    ],
)
def test_the_bayes_limit(noise, score, loss):
    assert two_moons.bayes_limit(noise) == pytest.approx((score, loss), abs=2e-4)


def test_the_bayes_limit_is_what_the_densities_reach_on_a_sample():
    X, y = make_moons(20_000, noise=0.3, seed=0)
    t = torch.linspace(0, math.pi, 200, dtype=torch.float64)
    circle = torch.stack([torch.cos(t), torch.sin(t)], dim=1)
    mirrored = torch.tensor([1.0, 0.5]) - circle
    p0, p1 = (
        torch.exp(-torch.cdist(X.double(), points).square() / (2 * 0.3**2)).mean(dim=1)
        for points in (circle, mirrored)
    )
    p = torch.where(y.flatten() == 1, p1, p0) / (p0 + p1)
    score, loss = two_moons.bayes_limit(0.3)
    assert (p > 0.5).double().mean().item() == pytest.approx(score, abs=0.008)
    assert -p.log().mean().item() == pytest.approx(loss, abs=0.012)


def test_moons_prints_the_line_and_the_limit_beside_the_network(tmp_path, capsys):
    settings = settings_of(moons, "--save-dir", tmp_path, "--epochs", 20, "--no-figures")
    moons.main(settings)
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("[Test] logistic regression: 0.8") for line in lines) == 1
    assert lines[-1].startswith("[Bayes] ")
    assert lines[-1].endswith("0.9711/0.0762")


@pytest.mark.parametrize(("epochs", "frames"), [(6, 6), (30, 14)])
def test_animate_writes_a_gif_of_the_boundary(tmp_path, epochs, frames, monkeypatch):
    monkeypatch.setattr(moons_figures, "FRAMES", 30)
    monkeypatch.setattr(moons_figures, "SNAPSHOTS", 15)
    settings = settings_of(moons, "--save-dir", tmp_path, "--epochs", epochs, "--animate")
    cli.report(settings, moons.main)
    with Image.open(tmp_path / "moving_boundary.gif") as film:
        assert film.n_frames == frames
