"""`train`: what it keeps, that a run repeats and goes on, and what run.json says of it."""

import csv
import io
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from command_lines import FLOWERS, MOONS, record

from opnet import load
from opnet.walk import state
from runners.command_line.record import read_record

pytestmark = pytest.mark.usefixtures("elsewhere")
LINE = ("--data", "numbers.csv", "--target", "z", "--regression")


def write_line():
    rows = "".join(f"{i},{i * i % 7},{2 * i}\n" for i in range(30))
    Path("numbers.csv").write_text("x,y,z\n" + rows)


def test_run_json_holds_what_a_run_was_made_of_and_what_came_of_it(moons_run):
    told = record(moons_run)
    assert told["settings"]["seed"] == 0
    assert told["settings"]["hidden"] == [6]
    assert {"opnet", "python", "torch", "threads", "cpu", "device"} == set(told["environment"])
    assert told["ended"] == "done"
    assert told["seconds"] > 0
    assert set(told["scores"]) == {"train", "dev", "test"}
    assert len(told["history"]["dev_loss"]) == 20


@pytest.mark.parametrize(
    "how",
    [MOONS, (*MOONS, "--batch-size", "16", "--l2", "0.01", "--lr", "0.02"), (*LINE, "--hidden")],
)
def test_a_config_repeats_a_run_to_the_bit(ran, tmp_path, how):
    write_line()
    assert ran("train", *how, "--seed", "3", "--out", "one", "-q")[0] == 0
    torch.manual_seed(99)
    code, _, err = ran("train", "--config", "one/run.json", "--out", "two", "-q")
    assert (code, err) == (0, "")
    one, two = (record(tmp_path / name) for name in ("one", "two"))
    assert one["history"] == two["history"]
    assert one["scores"] == two["scores"]
    pairs = zip(state(load("one")), state(load("two")), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_flags_go_before_those_of_the_config(ran, tmp_path, moons_run):
    config = moons_run / "run.json"
    ran("train", "--config", config, "--epochs", "3", "--hidden", "--out", "other", "-q")
    settings = record(tmp_path / "other")["settings"]
    assert settings == record(moons_run)["settings"] | {"epochs": 3, "hidden": [], "out": "other"}
    assert len(load("other").layers) == 3


def test_made_rows_have_no_target_that_a_config_could_name(ran, flowers_run, tmp_path):
    how = ("--config", flowers_run / "run.json", "--epochs", "1", "-q")
    assert ran("train", *how, "--data", "moons", "--out", "run")[0] == 0
    assert record(tmp_path / "run")["settings"]["target"] is None


def test_a_config_says_what_is_not_as_it_was(ran, moons_run, tmp_path):
    told = record(moons_run)
    told["environment"]["torch"] = "1.0"
    (tmp_path / "old.json").write_text(json.dumps(told))
    code, _, err = ran("train", "--config", "old.json", "--out", "new")
    assert code == 0
    assert f"[Config] torch was 1.0, is {torch.__version__}: the last bits may differ" in err


def test_a_table_that_has_changed_is_another_one(ran, tmp_path):
    path = tmp_path / "plants.csv"
    path.write_text(FLOWERS)
    how = ("--target", "kind", "--epochs", "3", "-q")
    assert ran("train", "--data", "plants.csv", *how, "--out", "run")[0] == 0
    path.write_text(FLOWERS + "1,oak,5\n")
    config = ("train", "--config", "run/run.json", "--out", "new", "-q")
    for words in (config, ("eval", "--checkpoint", "run")):
        code, _, err = ran(*words)
        said = "plants.csv: has changed since the run; --data plants.csv takes it as it is now"
        assert (code, err) == (1, f"error: {said}\n")
        assert ran(*words, "--data", "plants.csv")[0] == 0


@pytest.mark.parametrize("data", [MOONS[:-4], LINE], ids=["classes", "numbers"])
def test_a_stopped_run_goes_on_to_the_same_bits(ran, tmp_path, data):
    write_line()
    how = (*data, "--hidden", "6", "--batch-size", "16")
    ran("train", *how, "--epochs", "12", "--out", "whole", "-q")
    ran("train", *how, "--epochs", "5", "--out", "run", "--save-every", "2", "-q")
    code, *_ = ran("train", *how, "--epochs", "12", "--out", "run", "--resume", "-q")
    assert code == 0
    pairs = zip(state(load("whole")), state(load("run")), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert record(tmp_path / "run")["history"] == record(tmp_path / "whole")["history"]


def test_where_nothing_is_a_resumed_run_begins(ran, moons_run, tmp_path):
    assert ran("train", *MOONS, "--out", "run", "--resume", "-q")[0] == 0
    assert record(tmp_path / "run")["history"] == record(moons_run)["history"]


def test_early_stopping_ends_a_run(ran, tmp_path):
    ran("train", *MOONS[:4], "--epochs", "500", "--lr", "1", "--early-stopping", "3", "--out", "r")
    told = record(tmp_path / "r")
    assert told["ended"] == "stopped early"
    assert len(told["history"]["dev_loss"]) < 500


def pipe(monkeypatch, text):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))


def test_other_rows_on_stdin_are_other_rows(ran, monkeypatch):
    pipe(monkeypatch, FLOWERS)
    ran("train", "--data", "-", "--target", "kind", "--epochs", "3", "--out", "run", "-q")
    pipe(monkeypatch, FLOWERS + "1,oak,5\n")
    code, _, err = ran("train", "--config", "run/run.json", "--out", "new", "-q")
    said = "error: stdin: has changed since the run; --data - takes it as it is now\n"
    assert (code, err) == (1, said)
    monkeypatch.setattr(sys, "stdin", None)
    code, _, err = ran("predict", "--checkpoint", "run", "--data", "-")
    assert (code, err) == (1, "error: stdin: is closed, wanted a CSV\n")


@pytest.mark.parametrize(
    "data", [("--data", "moons"), LINE, ("--data", "-", *LINE[2:])], ids=["made", "CSV", "stdin"]
)
def test_a_fast_dev_run_goes_through_all_and_keeps_nothing(ran, tmp_path, monkeypatch, data):
    write_line()
    pipe(monkeypatch, Path("numbers.csv").read_text())
    code, out, _ = ran("train", *data, "--fast-dev-run", "-q")
    assert code == 0
    assert "all works" in out
    assert [path.name for path in tmp_path.iterdir()] == ["numbers.csv"]


@pytest.mark.parametrize("unit", [1e-12, 1e-6, 1, 1e10])
@pytest.mark.parametrize("optimizer", ["adam", "momentum"])
def test_a_regression_learns_in_any_unit_and_tells_and_predicts_in_it(ran, unit, optimizer):
    x = np.linspace(-3, 3, 200)
    y = (np.sin(x) + 10) * unit
    np.savez("sine.npz", X=x[:, None] * 50 + 1000, y=y)
    how = ("--epochs", "200", "--optimizer", optimizer, "--out", "run", "-q")
    _, out, _ = ran("train", "--data", "sine.npz", "--regression", *how)
    _, score, loss = re.findall(r"\[Dev\] (score/loss): -([\d.e+-]+)/([\d.e+-]+)\n", out)[0]
    assert score == loss
    assert 0 < float(loss) < 0.2 * y.var()
    told = record(Path("run"))
    assert min(told["history"]["dev_loss"]) == pytest.approx(float(loss) / y.var(), rel=0.3)
    assert json.loads(ran("eval", "--checkpoint", "run", "--json")[1])["scores"] == told["scores"]
    _, out, _ = ran("predict", "--checkpoint", "run", "--data", "sine.npz")
    header, *rows = csv.reader(io.StringIO(out))
    assert header == ["predicted"]
    assert np.square(np.array(rows, float)[:, 0] - y).mean() < 0.2 * y.var()


DIVERGES = ("train", *MOONS, "--lr", "1e30", "--optimizer", "sgd", "--activation", "relu", "-q")


@pytest.mark.parametrize("ended", ["NonFiniteError", None], ids=["failed", "killed"])
@pytest.mark.parametrize("older", [True, False], ids=["over an older run", "alone"])
def test_weights_of_an_older_run_are_not_those_of_one_without(ran, tmp_path, older, ended):
    if older:
        ran("train", *MOONS, "--out", "run", "-q")
    assert ran(*DIVERGES, "--out", "run", "--save-every", "5")[0] == 1
    told = record(tmp_path / "run")
    assert told["ended"] == "NonFiniteError"
    (tmp_path / "run" / "run.json").write_text(json.dumps(told | {"ended": ended}))
    refused = (1, "", "error: run: has no weights of this run yet\n")
    for words in (("eval",), ("predict", "--data", "moons"), ("plot", "--out", "a.png")):
        assert ran(*words, "--checkpoint", "run") == refused
    read_record(Path("run/run.json"), {}).begin(Path("run"), resume=True)
    assert ran("eval", "--checkpoint", "run") == refused


@pytest.mark.parametrize("resumed", [(), ("--resume",)], ids=["begun", "resumed"])
def test_a_run_that_was_killed_leaves_its_weights(ran, tmp_path, resumed):
    ran("train", *MOONS, "--out", "run", "--save-every", "5", "-q")
    for more in filter(None, ((), resumed)):
        ran("train", *MOONS, "--epochs", "30", "--out", "run", "-q", *more)
    told = record(tmp_path / "run")
    (tmp_path / "run" / "run.json").write_text(json.dumps(told | {"ended": None}))
    assert ran("eval", "--checkpoint", "run")[0] == 0
