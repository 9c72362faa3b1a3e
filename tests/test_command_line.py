"""`python -m opnet`: what it says where, what it keeps, how it ends, and that a run repeats."""

import csv
import io
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch

from opnet import Adam, BinaryCrossEntropyLoss, Logistic, accuracy, load, make_moons, split
from opnet.step import training_step
from opnet.walk import last_op, state
from runners import RunnerV2_1
from runners.command_line import main, parser
from runners.command_line.out import in_colour
from runners.command_line.parser import COMMANDS
from runners.command_line.settings import Settings
from runners.command_line.table import read
from runners.command_line.task import Task

MOONS = ("--data", "moons", "--rows", "150", "--epochs", "20", "--hidden", "6")
CUT_SHORT = 60  # seconds that a child may take
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}
FLOWERS = "width,kind,length\n" + "".join(
    f"{1 + k + i % 7 / 10},{kind},{5 - k + i % 5 / 10}\n"
    for i in range(30)
    for k, kind in enumerate(("oak", "ash", "yew"))
)


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def ran(capsys):
    """(exit code, stdout, stderr) of a command line."""

    def run(*words):
        code = main([str(word) for word in words])
        return code, *capsys.readouterr()

    return run


@pytest.fixture(scope="module")
def moons(tmp_path_factory):
    """A run on two moons."""
    out = tmp_path_factory.mktemp("moons")
    assert main(["train", *MOONS, "--out", str(out), "-q"]) == 0
    return out


@pytest.fixture(scope="module")
def flowers(tmp_path_factory):
    """A run on a CSV of three classes in words."""
    where = tmp_path_factory.mktemp("flowers")
    (where / "flowers.csv").write_text(FLOWERS)
    how = ["--data", str(where / "flowers.csv"), "--target", "kind", "--epochs", "60"]
    assert main(["train", *how, "--out", str(where / "run"), "-q"]) == 0
    return where


def record(out):
    return json.loads((out / "run.json").read_text())


def child(*words, **how):
    command = [sys.executable, "-W", "error", "-m", "opnet", *words]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env=ENVIRONMENT, **pipes, **how)


# --- train: results, files, repetition


def test_results_go_to_stdout_and_progress_to_stderr(ran, tmp_path):
    code, out, err = ran("train", *MOONS, "--out", "run")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == [
        "[Train]",
        "[Dev]",
        "[Test]",
        "[Written]",
    ]
    assert err.startswith('[Settings] data: "moons", target: null, ')
    assert "[Data] moons: train 90, dev 30, test 30 rows" in err
    assert "[Train] epoch: 0/20, loss: " in err
    files = {path.name for path in (tmp_path / "run").iterdir()}
    assert {"run.json", "manifest.json", "Linear_1.pdparams", "Rescale_0.pdparams"} <= files


def test_the_echo_tells_every_setting(ran):
    _, _, err = ran("train", *MOONS, "--out", "run")
    echo = err.splitlines()[0]
    assert all(f"{known.name}: " in echo for known in fields(Settings))


def test_quiet_leaves_results_only_and_verbose_tells_every_epoch(ran):
    code, out, err = ran("train", *MOONS, "--out", "run", "-q")
    assert (code, err, out[:7]) == (0, "", "[Train]")
    _, _, err = ran("train", *MOONS, "--out", "run", "-v")
    assert err.count("[Train] epoch: ") == 20


def test_json_is_the_same_result_for_machines(ran, moons):
    code, out, err = ran("train", *MOONS, "--out", "run", "--json", "-q")
    assert (code, err) == (0, "")
    told = json.loads(out)
    assert told["scores"] == record(moons)["scores"]
    assert told["checkpoint"] == "run"


def test_run_json_holds_what_a_run_was_made_of_and_what_came_of_it(moons):
    told = record(moons)
    assert told["settings"]["seed"] == 0
    assert told["settings"]["hidden"] == [6]
    assert {"opnet", "python", "torch", "threads", "cpu", "device"} == set(told["environment"])
    assert told["ended"] == "done"
    assert told["seconds"] > 0
    assert set(told["scores"]) == {"train", "dev", "test"}
    assert len(told["history"]["dev_loss"]) == 20


@pytest.mark.parametrize("more", [(), ("--batch-size", "16", "--l2", "0.01", "--lr", "0.02")])
def test_a_config_repeats_a_run_to_the_bit(ran, tmp_path, more):
    assert ran("train", *MOONS, *more, "--seed", "3", "--out", "one", "-q")[0] == 0
    torch.manual_seed(99)
    code, _, err = ran("train", "--config", "one/run.json", "--out", "two", "-q")
    assert (code, err) == (0, "")
    one, two = (record(tmp_path / name) for name in ("one", "two"))
    assert one["history"] == two["history"]
    assert one["scores"] == two["scores"]
    pairs = zip(state(load("one")), state(load("two")), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_flags_go_before_those_of_the_config(ran, tmp_path, moons):
    config = moons / "run.json"
    ran("train", "--config", config, "--epochs", "3", "--hidden", "--out", "other", "-q")
    settings = record(tmp_path / "other")["settings"]
    assert settings == record(moons)["settings"] | {"epochs": 3, "hidden": [], "out": "other"}
    assert len(load("other").layers) == 3


def test_a_config_says_what_is_not_as_it_was(ran, moons, tmp_path):
    told = record(moons)
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


def test_predict_does_not_look_at_the_target(ran, flowers, tmp_path):
    (tmp_path / "new.csv").write_text("width,kind,length\n1,,5\n2,?,4\n")
    code, out, err = ran("predict", "--checkpoint", flowers / "run", "--data", "new.csv")
    assert (code, err, out.count("\n")) == (0, "", 3)


def test_a_stopped_run_goes_on_to_the_same_bits(ran, tmp_path):
    how = (*MOONS[:-4], "--hidden", "6", "--batch-size", "16")
    ran("train", *how, "--epochs", "12", "--out", "whole", "-q")
    ran("train", *how, "--epochs", "5", "--out", "run", "--save-every", "2", "-q")
    code, *_ = ran("train", *how, "--epochs", "12", "--out", "run", "--resume", "-q")
    assert code == 0
    pairs = zip(state(load("whole")), state(load("run")), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert record(tmp_path / "run")["history"] == record(tmp_path / "whole")["history"]


def test_early_stopping_ends_a_run(ran, tmp_path):
    ran("train", *MOONS[:4], "--epochs", "500", "--lr", "1", "--early-stopping", "3", "--out", "r")
    told = record(tmp_path / "r")
    assert told["ended"] == "stopped early"
    assert len(told["history"]["dev_loss"]) < 500


@pytest.mark.parametrize("data", [("moons",), ("numbers.csv", "--target", "z", "--regression")])
def test_a_fast_dev_run_goes_through_all_and_keeps_nothing(ran, tmp_path, data):
    rows = "".join(f"{i},{i * i % 7},{2 * i}\n" for i in range(30))
    (tmp_path / "numbers.csv").write_text("x,y,z\n" + rows)
    code, out, _ = ran("train", "--data", *data, "--fast-dev-run", "-q")
    assert code == 0
    assert "all works" in out
    assert [path.name for path in tmp_path.iterdir()] == ["numbers.csv"]


def test_a_regression_predicts_numbers_as_they_are(ran, tmp_path):
    x = np.linspace(-3, 3, 200)
    np.savez(tmp_path / "sine.npz", X=x[:, None] * 50 + 1000, y=np.sin(x) * 1e4 + 1e5)
    ran("train", "--data", "sine.npz", "--regression", "--epochs", "600", "--out", "run", "-q")
    _, out, _ = ran("predict", "--checkpoint", "run", "--data", "sine.npz")
    header, *rows = csv.reader(io.StringIO(out))
    assert header == ["predicted"]
    assert np.abs(np.array(rows, float)[:, 0] - np.sin(x) * 1e4 - 1e5).mean() < 1e3


# --- what reads a checkpoint


def test_the_model_of_a_checkpoint_reads_columns_as_they_stand_in_the_file(flowers):
    model, y = load(flowers / "run"), {"oak": 1, "ash": 0, "yew": 2}
    rows = list(csv.DictReader(io.StringIO(FLOWERS)))
    X = torch.tensor([[float(row["width"]), float(row["length"])] for row in rows])
    right = model(X).argmax(1) == torch.tensor([y[row["kind"]] for row in rows])
    assert right.float().mean() > 0.95


def test_eval_finds_again_what_train_has_found(ran, moons, flowers):
    for out in (moons, flowers / "run"):
        code, told, err = ran("eval", "--checkpoint", out, "--json")
        assert (code, err) == (0, "")
        assert json.loads(told)["scores"] == record(out)["scores"]


def test_eval_of_other_rows(ran, flowers):
    code, out, _ = ran("eval", "--checkpoint", flowers / "run", "--data", flowers / "flowers.csv")
    assert code == 0
    assert out.startswith("[Data] score/loss: ")
    code, _, err = ran("eval", "--checkpoint", flowers / "run", "--data", "moons")
    assert code == 1
    assert "'1'" in err or "'0'" in err


def test_predict_takes_columns_by_name_and_needs_no_target(ran, flowers, tmp_path):
    (tmp_path / "new.csv").write_text("id,length,width\na,5,1\nb,4,2\nc,3,3\n")
    code, out, err = ran("predict", "--checkpoint", flowers / "run", "--data", "new.csv")
    assert (code, err) == (0, "")
    header, *rows = csv.reader(io.StringIO(out))
    assert header == ["predicted", "p(ash)", "p(oak)", "p(yew)"]
    assert [row[0] for row in rows] == ["oak", "ash", "yew"]
    assert np.allclose(np.array([row[1:] for row in rows], float).sum(1), 1)


def test_predict_writes_a_file_or_json(ran, moons, tmp_path):
    how = ("predict", "--checkpoint", moons, "--data", "moons", "--rows", "5")
    shown = ran(*how)[1]
    assert ran(*how, "--out", "p.csv")[:2] == (0, "[Written] p.csv\n")
    assert (tmp_path / "p.csv").read_text() == shown
    told = json.loads(ran(*how, "--json")[1])
    assert [row["predicted"] for row in told] == [
        line.split(",")[0] for line in shown.splitlines()[1:]
    ]
    assert {tuple(row) for row in told} == {("predicted", "p(0)", "p(1)")}


def test_a_csv_may_come_from_stdin(flowers):
    with child("predict", "--checkpoint", str(flowers / "run"), "--data", "-", stdin=-1) as process:
        out, err = process.communicate("width,length\n1,5\n", timeout=CUT_SHORT)
    assert (process.returncode, err) == (0, "")
    assert out.splitlines()[1].startswith("oak,")


STARTS = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}


@pytest.mark.parametrize("ending", STARTS)
@pytest.mark.parametrize("what", [(), ("--curves",)], ids=["boundary", "curves"])
def test_plot_writes_a_picture_by_the_ending(ran, moons, tmp_path, ending, what):
    code, out, err = ran("plot", "--checkpoint", moons, "--out", f"new/a{ending}", *what)
    assert (code, out, err) == (0, f"[Written] new/a{ending}\n", "")
    assert (tmp_path / f"new/a{ending}").read_bytes().startswith(STARTS[ending])


def test_plot_holds_the_columns_that_it_does_not_draw(ran, tmp_path):
    rows = "".join(f"{i % 9},{i % 5},{i % 3},{int(i % 9 > 4)}\n" for i in range(60))
    (tmp_path / "a.csv").write_text("a,b,c,y\n" + rows)
    ran("train", "--data", "a.csv", "--target", "y", "--epochs", "5", "--out", "run", "-q")
    how = ("plot", "--checkpoint", "run", "--out", "a.png")
    code, _, err = ran(*how)
    assert (code, err) == (2, "error: 3 columns: wanted --features a b --fixed c=VALUE\n")
    assert ran(*how, "--features", "c", "a", "--fixed", "b=2.5")[0] == 0
    assert (tmp_path / "a.png").exists()


# --- tables


@pytest.mark.parametrize(
    ("text", "more", "columns", "classes"),
    [
        ("a,b,y\n1,2,0\n3,4,1\n", {}, ["a", "b"], ["0", "1"]),
        ("y,a\n10,2\n9,4\n", {}, ["a"], ["9", "10"]),
        ("a,y\n1,no\n2,yes\n", {}, ["a"], ["no", "yes"]),
        ("a,y\n1,1\n2,1.0\n3,2\n", {}, ["a"], ["1", "2"]),
        ("1,2,0\n3,4,1\n", {"target": "2"}, ["0", "1"], ["0", "1"]),
        ("1,2,0\n3,4,1\n", {"target": "-1"}, ["0", "1"], ["0", "1"]),
        ("1,y\n1,0\n2,1\n", {"header": "yes"}, ["1"], ["0", "1"]),
        ("\ufeffa,y\r\n1,0\r\n\r\n2,1\r\n", {}, ["a"], ["0", "1"]),
        ('"a, b",y\n1,"x\ny"\n2,z\n', {}, ["a, b"], ["x\ny", "z"]),
        ("a,y\n 1 ,0\n1e3, 1\n", {}, ["a"], ["0", "1"]),
    ],
)
def test_a_csv_is_read(tmp_path, text, more, columns, classes):
    (tmp_path / "a.csv").write_text(text, newline="")
    table = read(Settings(data="a.csv", **{"target": "y"} | more))
    task = Task.of(table, regression=False)
    assert (task.columns, task.classes) == (columns, classes)
    X, y = task.tensors(table)
    assert list(X.shape) == [len(table.X), len(columns)]
    assert y.unique().tolist() == [0, 1]


def test_made_rows_are_those_of_make_moons():
    table = read(Settings(data="moons", rows=20, seed=4))
    X, y = Task.of(table, regression=False).tensors(table)
    assert all(map(torch.equal, (X, y), make_moons(20, noise=0.2, seed=4)))


@pytest.mark.parametrize(("data", "classes"), [("moons", 2), ("circles", 2), ("blobs", 3)])
def test_every_made_set_trains(ran, data, classes):
    assert ran("train", "--data", data, "--epochs", "2", "--out", data, "-q")[0] == 0
    assert isinstance(last_op(load(data)), Logistic) == (classes == 2)


def test_trace_shows_the_next_step_of_the_optimizer_that_the_run_has_left(ran, tmp_path):
    ran("train", "--data", "moons", "--epochs", "3", "--l2", "0.1", "--out", "run", "-q")
    code, out, err = ran("trace", "--checkpoint", "run", "--json", "--out", "page.html")
    assert (code, err) == (0, "")
    ops = {line["name"]: line for line in json.loads(out)["ops"]}
    assert [*ops][:3] == ["Rescale_0", "Linear_1", "Tanh_2"]
    model = load("run")
    W = model.layers[1].params
    before = {key: tensor.clone() for key, tensor in W.items()}
    adam = Adam(0.03, model, weight_decay=0.1)
    judge = BinaryCrossEntropyLoss(model)
    runner = RunnerV2_1(model, adam, accuracy, judge)
    runner.load_model("run")
    X, y = split(*make_moons(1000, noise=0.2, seed=0), (600, 200, 200), seed=0)[0]
    training_step(model, judge, adam, X, y)
    moved = sum(float((W[key] - before[key]).square().sum()) for key in W) ** 0.5
    size = sum(float(tensor.square().sum()) for tensor in before.values()) ** 0.5
    assert ops["Linear_1"]["update"] == pytest.approx(moved / size, rel=1e-4)
    assert "dL/dW = x^T g" in (tmp_path / "page.html").read_text()


# --- ends


def test_info_is_what_a_bug_report_needs(ran):
    code, out, err = ran("info", "--json")
    assert (code, err) == (0, "")
    told = json.loads(out)
    assert told["torch"] == torch.__version__
    assert {"python", "numpy", "threads", "devices", "BLAS", "caches", "platform"} <= told.keys()
    assert ran("info")[1].splitlines()[0].startswith("opnet ")


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_tells_the_exit_codes(capsys, command):
    with pytest.raises(SystemExit, match="0"):
        main([*command.split(), "--help"])
    assert "130" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("number", "code", "said", "ended"),
    [
        (signal.SIGINT, 130, "interrupted", "KeyboardInterrupt"),
        (signal.SIGTERM, 143, "terminated", "Terminated"),
    ],
)
def test_a_signal_leaves_a_checkpoint_that_can_be_used(ran, tmp_path, number, code, said, ended):
    words = ("train", "--data", "moons", "--epochs", "10000000", "--out", "run", "-q")
    with child(*words) as process:
        deadline = time.monotonic() + CUT_SHORT
        while not (tmp_path / "run" / "Linear_3.pdparams").exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(number)
        out, err = process.communicate(timeout=CUT_SHORT)
    assert (process.returncode, out, err) == (code, "", f"{said}\n")
    assert record(tmp_path / "run")["ended"] == ended
    assert ran("eval", "--checkpoint", "run")[0] == 0


def test_nobody_reads_the_predictions(moons):
    words = ("--checkpoint", str(moons), "--data", "moons", "--rows", "9")
    with child("predict", *words) as process:
        process.stdout.close()
        assert process.wait(timeout=CUT_SHORT) == 141
        assert process.stderr.read() == ""


def test_debug_shows_the_traceback(ran):
    words = ("train", "--data", "nowhere.csv", "--target", "y", "-q")
    assert ran(*words)[::2] == (1, "error: nowhere.csv: no such file or directory\n")
    code, _, err = ran(*words, "--debug")
    assert code == 1
    assert err.startswith("Traceback")
    assert err.endswith("error: nowhere.csv: no such file or directory\n")


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("stream", "environment", "coloured"),
    [
        (Terminal(), {}, True),
        (io.StringIO(), {}, False),
        (Terminal(), {"NO_COLOR": "1"}, False),
        (Terminal(), {"NO_COLOR": ""}, True),
        (Terminal(), {"TERM": "dumb"}, False),
    ],
)
def test_colour_is_for_people_who_want_it(monkeypatch, stream, environment, coloured):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    assert ("\033[" in in_colour("error", stream)) == coloured


def test_every_setting_is_a_flag_of_train_and_comes_back_from_json():
    flags = [f"--{known.name.replace('_', '-')}" for known in fields(Settings)]
    named = parser()._subparsers._group_actions[0].choices["train"]._option_string_actions
    assert set(flags) <= set(named)
    settings = Settings(data="a.csv", hidden=(3, 4), test_size=20, lr=0.1, threads=2)
    assert Settings.of(json.loads(json.dumps(settings.as_dict())), {}, "") == settings


def test_the_commands_of_the_page_run_as_they_stand(ran, tmp_path):
    page = (Path(__file__).parents[1] / "docs" / "command_line.md").read_text()
    (tmp_path / "plants.csv").write_text(FLOWERS)
    told = re.search(r"^```text\n(.*?)^```", page, re.DOTALL | re.MULTILINE)[1]
    lines = re.findall(r"^python -m opnet (.*)$", page, re.MULTILINE)
    assert len(lines) > 10
    for line in lines:
        code, out, err = ran(*shlex.split(line))
        assert code == 0, (line, err)
        if line is lines[0]:
            assert out == told
