"""`eval`, `predict`, `plot` and `trace`: what can be done with a checkpoint of `train`."""

import csv
import io
import json

import numpy as np
import pytest
import torch
from command_lines import CUT_SHORT, FLOWERS, child, record

from opnet import Adam, BinaryCrossEntropyLoss, accuracy, load, make_moons, split
from opnet.step import training_step
from runners import RunnerV2_1
from runners.command_line.predict import predicted

pytestmark = pytest.mark.usefixtures("elsewhere")


def test_predict_does_not_look_at_the_target(ran, flowers_run, tmp_path):
    (tmp_path / "new.csv").write_text("width,kind,length\n1,,5\n2,?,4\n")
    code, out, err = ran("predict", "--checkpoint", flowers_run, "--data", "new.csv")
    assert (code, err, out.count("\n")) == (0, "", 3)


def test_the_model_of_a_checkpoint_reads_columns_as_they_stand_in_the_file(flowers_run):
    model, y = load(flowers_run), {"oak": 1, "ash": 0, "yew": 2}
    rows = list(csv.DictReader(io.StringIO(FLOWERS)))
    X = torch.tensor([[float(row["width"]), float(row["length"])] for row in rows])
    right = model(X).argmax(1) == torch.tensor([y[row["kind"]] for row in rows])
    assert right.float().mean() > 0.95


def test_eval_finds_again_what_train_has_found(ran, moons_run, flowers_run):
    for out in (moons_run, flowers_run):
        code, told, err = ran("eval", "--checkpoint", out, "--json")
        assert (code, err) == (0, "")
        assert json.loads(told)["scores"] == record(out)["scores"]


def test_eval_of_other_rows(ran, flowers_run):
    data = flowers_run.parent / "flowers.csv"
    code, out, _ = ran("eval", "--checkpoint", flowers_run, "--data", data)
    assert code == 0
    assert out.startswith("[Data] score/loss: ")
    code, _, err = ran("eval", "--checkpoint", flowers_run, "--data", "moons")
    assert code == 1
    assert "'1'" in err or "'0'" in err


def test_predict_takes_columns_by_name_and_needs_no_target(ran, flowers_run, tmp_path):
    (tmp_path / "new.csv").write_text("id,length,width\na,5,1\nb,4,2\nc,3,3\n")
    code, out, err = ran("predict", "--checkpoint", flowers_run, "--data", "new.csv")
    assert (code, err) == (0, "")
    header, *rows = csv.reader(io.StringIO(out))
    assert header == ["predicted", "p(ash)", "p(oak)", "p(yew)"]
    assert [row[0] for row in rows] == ["oak", "ash", "yew"]
    assert np.allclose(np.array([row[1:] for row in rows], float).sum(1), 1)


def test_class_1_is_from_a_half_on_and_of_more_the_first_of_the_most_probable():
    assert predicted(["a", "b"], [[0.5], [0.25]])[1] == [["b", 0.5, 0.5], ["a", 0.75, 0.25]]
    rows = [[0.375, 0.375, 0.25], [0.25, 0.375, 0.375]]
    assert [row[0] for row in predicted(["a", "b", "c"], rows)[1]] == ["a", "b"]


def test_the_rows_of_a_run_are_looked_for_where_it_was_begun(ran, tmp_path, monkeypatch):
    (tmp_path / "plants.csv").write_text(FLOWERS)
    ran("train", "--data", "plants.csv", "--target", "kind", "--epochs", "2", "--out", "run", "-q")
    (tmp_path / "else").mkdir()
    monkeypatch.chdir(tmp_path / "else")
    code, _, err = ran("eval", "--checkpoint", "../run")
    assert (code, err.count("\n")) == (1, 1)
    assert f"plants.csv: no such file in {tmp_path}/else: go to where the run was begun" in err


def test_predict_writes_a_file_or_json(ran, moons_run, tmp_path):
    how = ("predict", "--checkpoint", moons_run, "--data", "moons", "--rows", "5")
    shown = ran(*how)[1]
    assert ran(*how, "--out", "p.csv")[:2] == (0, "[Written] p.csv\n")
    assert (tmp_path / "p.csv").read_text() == shown
    told = json.loads(ran(*how, "--json")[1])
    assert [row["predicted"] for row in told] == [
        line.split(",")[0] for line in shown.splitlines()[1:]
    ]
    assert {tuple(row) for row in told} == {("predicted", "p(0)", "p(1)")}


def test_a_csv_may_come_from_stdin(flowers_run):
    with child("predict", "--checkpoint", str(flowers_run), "--data", "-", stdin=-1) as process:
        out, err = process.communicate("width,length\n1,5\n", timeout=CUT_SHORT)
    assert (process.returncode, err) == (0, "")
    assert out.splitlines()[1].startswith("oak,")


STARTS = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}


@pytest.mark.parametrize("ending", STARTS)
@pytest.mark.parametrize("what", [(), ("--curves",)], ids=["boundary", "curves"])
def test_plot_writes_a_picture_by_the_ending(ran, moons_run, tmp_path, ending, what):
    code, out, err = ran("plot", "--checkpoint", moons_run, "--out", f"new/a{ending}", *what)
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


def test_a_name_with_dollars_is_no_formula(ran, tmp_path):
    rows = "".join(f"{i % 9},{i % 5},{'$a$' if i % 9 > 4 else 'b'}\n" for i in range(60))
    (tmp_path / "a.csv").write_text("$/day in $,$\\frac$,y\n" + rows)
    ran("train", "--data", "a.csv", "--target", "y", "--epochs", "5", "--out", "run", "-q")
    assert ran("plot", "--checkpoint", "run", "--out", "a.svg")[0] == 0
    assert "<!-- $/day in $ -->" in (tmp_path / "a.svg").read_text()


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
