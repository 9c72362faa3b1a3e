"""The scripts as a person runs them: what they print, write, and how they end."""

import csv
import os
import re
import signal
import statistics
import subprocess
import sys
import time

import pytest
import torch

from experiments.__main__ import scripts
from opnet import BatchGD, BinaryCrossEntropyLoss, Model_MLP_L2, accuracy, load, make_moons, split
from runners import RunnerV2_1

ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


def script(name, *arguments, cwd):
    command = [sys.executable, "-W", "error", "-m", f"experiments.{name}", *map(str, arguments)]
    return subprocess.run(
        command, cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.fixture(scope="module")
def moons_run(tmp_path_factory):
    directory = tmp_path_factory.mktemp("moons")
    return directory, script("moons", cwd=directory)


def test_moons_prints_settings_log_test_score_and_paths(moons_run):
    directory, done = moons_run
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].startswith("[Settings] seed: 0, device: cpu")
    assert "train: 640, dev: 160, test: 200, noise: 0.2, hidden: 5" in lines[0]
    assert "[Train] epoch: 0/1000, loss: " in done.stdout
    score = re.search(r"^\[Test\] score/loss: (\d\.\d{4})/\d\.\d{4}$", done.stdout, re.MULTILINE)
    assert float(score[1]) > 0.94
    written = [line.removeprefix("[Written] ") for line in lines if line.startswith("[Written] ")]
    figures = ["boundary.png", "data.png", "loss.png", "score.png"]
    names = sorted([*figures, "fc1.pdparams", "fc2.pdparams", "manifest.json", "history.csv"])
    assert sorted(path.split("/")[-1] for path in written) == names
    assert all((directory / path).stat().st_size > 500 for path in written)
    there = os.listdir(directory / "checkpoints" / "runs" / "moons")
    assert sorted(there) == sorted([".lock", *names])


def test_moons_history_has_a_row_an_epoch(moons_run):
    directory, _ = moons_run
    with open(directory / "checkpoints" / "runs" / "moons" / "history.csv") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["epoch"]) for row in rows] == list(range(1000))
    assert all(0 <= float(row["dev_scores"]) <= 1 for row in rows)


def test_boundary_draws_a_saved_checkpoint(moons_run):
    directory, _ = moons_run
    done = script("boundary", "checkpoints/runs/moons", "--out", "drawn", cwd=directory)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"^\[Test\] score: 0\.9\d{3}$", done.stdout, re.MULTILINE)
    assert (directory / "drawn" / "boundary.png").stat().st_size > 10_000


def test_boundary_draws_a_float64_checkpoint_and_names_one_that_has_no_plane(tmp_path):
    for name, inputs in (("wide", 2), ("deep", 3)):
        model = Model_MLP_L2(inputs, 4, 1, dtype=torch.float64)
        RunnerV2_1(model, None, accuracy, None).save_model(tmp_path / name)
    assert script("boundary", "wide", cwd=tmp_path).returncode == 0
    done = script("boundary", "deep", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (
        1,
        "error: deep: the model has 3 inputs and 1 outputs, wanted 2 and 1\n",
    )


def test_the_books_settings(tmp_path):
    done = script(
        "moons", "--book", "--no-figures", "--save-dir", "out", "--keep", "last", cwd=tmp_path
    )
    assert "noise: 0.5, hidden: 5, lr: 0.2, epochs: 1000" in done.stdout
    score = float(re.search(r"score/loss: (\d\.\d+)", done.stdout)[1])
    assert 0.74 < score < 0.88
    names = [".lock", "fc1.pdparams", "fc2.pdparams", "history.csv", "manifest.json"]
    assert sorted(os.listdir(tmp_path / "out")) == names


def test_the_defaults_bend_the_boundary_in_the_median_of_10_seeds():
    from experiments.moons import BENT

    scores = []
    for seed in range(10):
        train, dev, test = split(*make_moons(1000, noise=BENT["noise"], seed=seed), seed=seed)
        generator = torch.Generator().manual_seed(seed)
        model = Model_MLP_L2(2, BENT["hidden"], 1, generator=generator)
        runner = RunnerV2_1(
            model, BatchGD(BENT["lr"], model), accuracy, BinaryCrossEntropyLoss(model)
        )
        runner.train(train, dev, num_epochs=BENT["epochs"], log_epochs=0)
        scores.append(runner.evaluate(test)[0])
    assert statistics.median(scores) >= 0.95


def test_the_same_seed_gives_the_same_files(tmp_path):
    for directory in ("a", "b"):
        script("moons", "--epochs", 50, "--no-figures", "--save-dir", directory, cwd=tmp_path)
    for name in ("fc1.pdparams", "fc2.pdparams", "history.csv"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--epochs", "-5"], "argument --epochs: -5 is not from 1 to "),
        (["--epochs", "2.5"], "argument --epochs: invalid whole number value: '2.5'"),
        (["--noise", "-0.1"], "argument --noise: -0.1 is not a finite number >= 0"),
        (["--lr", "nan"], "argument --lr: nan is not a finite number"),
        (["--keep", "all"], "argument --keep: invalid choice: 'all'"),
        (["--epoch", "5"], "unrecognized arguments: --epoch 5"),
        (["--seed", "4294967296"], "argument --seed: 4294967296 is not from 0 to 4294967295"),
        (["--device", "gpu"], "argument --device: 'gpu' is not auto, cpu, cuda"),
    ],
)
def test_a_wrong_flag_or_value_exits_2(tmp_path, arguments, said):
    done = script("moons", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr.splitlines()[-1]
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("moons", ["--save-dir", "file"], "error: file: cannot be made: File exists"),
        ("boundary", ["nowhere"], "error: nowhere: no such directory"),
        ("boundary", ["empty"], "error: empty/fc1.pdparams: no such file; "),
        ("moons", ["--lr", "1e38", "--epochs", "200"], "error: train: "),
    ],
)
def test_what_fails_later_exits_1_in_one_line(tmp_path, name, arguments, said):
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    done = script(name, *arguments, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith(said)
    assert len(done.stderr.splitlines()) == 1


def test_another_hidden_size_does_not_overwrite_a_run(tmp_path):
    script("moons", "--epochs", 5, "--no-figures", "--save-dir", "out", cwd=tmp_path)
    before = (tmp_path / "out" / "fc1.pdparams").read_bytes()
    done = script("moons", "--epochs", 5, "--hidden", 7, "--save-dir", "out", cwd=tmp_path)
    assert done.returncode == 1
    assert "out: holds another model: fc1.pdparams: W is float32 [2, 5]" in done.stderr
    assert (tmp_path / "out" / "fc1.pdparams").read_bytes() == before


def test_ctrl_c_exits_130_with_the_best_weights_written(tmp_path):
    command = [
        sys.executable,
        "-m",
        "experiments.moons",
        "--epochs",
        "10000000",
        "--save-dir",
        "out",
    ]
    with subprocess.Popen(
        command,
        cwd=tmp_path,
        env=ENVIRONMENT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        deadline = time.monotonic() + 60
        while not (tmp_path / "out" / "fc2.pdparams").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == "interrupted\n"
    assert out.splitlines()[-1].startswith("[Train] kept epoch: ")
    assert load(tmp_path / "out")(torch.zeros(1, 2)).shape == (1, 1)


def test_help_and_the_list_of_experiments(tmp_path):
    done = script("moons", "--help", cwd=tmp_path)
    assert done.returncode == 0
    data, training = "train dev test noise seed", "hidden lr epochs device keep book"
    for flag in f"{data} {training} save-dir no-figures".split():
        assert f"--{flag}" in done.stdout
    done = subprocess.run(
        [sys.executable, "-m", "experiments"], capture_output=True, text=True, check=True
    )
    listed = [line.split(maxsplit=3) for line in done.stdout.splitlines()]
    assert [name for _, _, name, _ in listed] == [f"experiments.{name}" for name in scripts()]
    assert all(summary[0].isupper() and summary.endswith(".") for *_, summary in listed)
