"""Bad input on the command line: one line that names it, the exit code, and no file changed."""

import json
import shutil

import numpy as np
import pytest

from runners.command_line import main

GOOD = "a,b,y\n" + "".join(f"{i},{i % 3},{i % 2}\n" for i in range(12))


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A file, a run on it, and a directory that holds another model."""
    where = tmp_path_factory.mktemp("world")
    (where / "good.csv").write_text(GOOD)
    (where / "file").write_text("a file")
    (where / "far.csv").write_text("a,y\n1,1700000000\n2,1700000001\n")
    (where / "huge.csv").write_text("a,y\n1,1e300\n2,-1e300\n")
    (where / "tiny.csv").write_text("a,y\n1,0\n2,1e-30\n")
    (where / "link.csv").symlink_to("good.csv")
    (where / "noise.npz").write_bytes(b"PK no archive")
    with open(where / "array.npz", "wb") as file:
        np.save(file, np.ones((3, 2)))
    names = ",".join(f"c{column}" for column in range(30))
    rows = "".join(f"{','.join([str(row)] * 30)},{row % 2}\n" for row in range(9))
    (where / "many.csv").write_text(f"{names},y\n{rows}")
    rows, labels = np.arange(24.0).reshape(12, 2), np.arange(12) % 2
    arrays = {
        "noX": {"y": labels},
        "noy": {"X": rows},
        "pickled": {"X": np.array([["a"], [1]], dtype=object)},
        "flat": {"X": rows.ravel(), "y": labels},
        "short": {"X": rows, "y": labels[:5]},
        "infinite": {"X": np.where(rows == 3, np.inf, rows), "y": labels},
        "good": {"X": rows, "y": labels},
        "wide": {"X": np.ones((4, 3)), "y": labels[:4]},
    }
    for name, content in arrays.items():
        np.savez(where / f"{name}.npz", **content)
    how = ["--data", str(where / "good.csv"), "--target", "y", "--epochs", "2", "-q"]
    assert main(["train", *how, "--out", str(where / "run")]) == 0
    assert main(["train", *how, "--out", str(where / "other"), "--hidden", "7"]) == 0
    how[1] = str(where / "many.csv")
    assert main(["train", *how, "--out", str(where / "many")]) == 0
    told = json.loads((where / "run" / "run.json").read_text())
    for name, change in {
        "strange": {"settings": {"colour": 1}},
        "wrong": {"settings": {"epochs": "many"}},
        "unlisted": {"settings": {"hidden": 3}},
        "listed": {"settings": []},
        "later": {"version": 9},
        "foreign": {"format": "?"},
        "true": {"version": True},
        "columns": {"task": {"columns": {"a": 1, "b": 2}, "classes": ["0", "1"]}},
        "twins": {"task": {"columns": ["a", "a"], "classes": ["0", "1"]}},
        "single": {"task": {"columns": ["a", "b"], "classes": ["0"]}},
        "narrow": {"task": {"columns": ["a"], "classes": ["0", "1"]}},
        "three": {"task": {"columns": ["a", "b"], "classes": ["0", "1", "2"]}},
        "number": {"task": {"columns": ["a", "b"], "classes": None}},
    }.items():
        (where / f"{name}.json").write_text(json.dumps(told | change))
        if name in ("narrow", "three", "number"):  # only beside a net are they seen to be wrong
            shutil.copytree(where / "run", where / name)
            shutil.copy(where / f"{name}.json", where / name / "run.json")
    (where / "damaged.json").write_text('{"format": ')
    return where


def contents(where):
    return {path: path.read_bytes() for path in where.rglob("*") if path.is_file()}


def ended(words, capsys):
    """Exit code and stderr."""
    try:
        code = main(words.split())
    except SystemExit as end:
        code = end.code
    out, err = capsys.readouterr()
    assert out == ""
    return code, err


TABLES = {  # a CSV, what is said of it
    "": "is empty, wanted rows",
    "\n\n": "is empty, wanted rows",
    "a,b,y\n": "has names and no rows",
    "a,b,y\n1,2,0\n3,,1\n": "line 3: column 'b' is '', wanted a value (1 missing in this column)",
    "a,b,y\n1,NA,0\n3,na,1\n": "line 2: column 'b' is 'NA', wanted a value (2 missing",
    "a,b,y\n1,nan,0\n3,4,1\n": "line 2: column 'b' is 'nan', wanted a value",
    "a,b,y\n1,2,0\n3,4,?\n": "line 3: column 'y' is '?', wanted a value",
    "a,b,y\n1,red,0\n3,blue,1\n": "line 2: column 'b' is 'red', wanted a number in every row",
    "a,b,y\n1,2,0\n3,inf,1\n": "line 3: column 'b' is 'inf', wanted a finite number",
    "a,b,y\n1,2,0\n3,4,0\n": "the target has one class only, '0'",
    "a,b,y\n1,2,0.5\n3,4,0.25\n": "the target has 2 different values, 0.25, 0.5: wanted classes",
    "y,a\n" + "".join(f"x{i},{i}\n" for i in range(101)): "91 more: wanted at most 100 classes\n",
    "a,b,y\n1,2,0\n3,4\n": "line 3 has 2 cells, line 1 has 3",
    "a,b,y\n1,2,0\n3,4,1,9\n": "line 3 has 4 cells, line 1 has 3",
    "a,a,y\n1,2,0\n3,4,1\n": "columns 0 and 1 are both named 'a'",
    "a,,y\n1,2,0\n3,4,1\n": "column 1 has no name in line 1",
    "y\n0\n1\n": "has no column but the target",
    "a;b;y\n1;2;0\n": "line 1 is parted by ';', wanted commas",
    "a;b;y\n1,5;2,5;0\n": "line 1 is parted by ';', wanted commas",
    'a,b,y\n1,"2,0\n': "no CSV: unexpected end of data",
    "a,b,y\n1,1e300,0\n3,4,1\n": "column 'b' is beyond what float32 holds",
    "a,b,y\n1,1700000001,0\n3,1700000002,1\n": "column 'b' varies by 0.5 around 1.7e+09",
    "a,b,y\n1,2,0\n3,4,1\n": "2 rows, 0 of them for dev and 0 for test",
    b"a,b,y\n1,2,0\n3,4,\xe9\n": "line 3 is not UTF-8: byte 0xe9",
    b"\xff\xfea\x00,\x00": "line 1 is not UTF-8: byte 0xff",
    "a,b,y\n1,\0,0\n3,4,1\n": "line 2: column 'b' is '\\x00', wanted a number",
}
NO_TARGET = {
    "a,b,z\n1,2,0\n3,4,1\n": "has no column 'y', wanted one of a, b, z",
    "1,na,0\n3,4,1\n": "has no column 'y', wanted one of 0, 1, 2; --header yes",
    "1,2,0\n3,4,1\n": "wanted one of 0, 1, 2; --header yes where line 1 has the names\n",
}


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [*((text, 1, said) for text, said in TABLES.items())]
    + [(text, 2, said) for text, said in NO_TARGET.items()],
)
def test_a_bad_table_is_one_line(tmp_path, capsys, text, code, said):
    path = tmp_path / "bad.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    came, err = ended(f"train --data {path} --target y --out {tmp_path}/run -q", capsys)
    assert (came, err.count("\n")) == (code, 1)
    assert err.startswith(f"error: {path}: ")
    assert said in err
    assert not (tmp_path / "run").exists()


USAGE = {
    "": "the following arguments are required: COMMAND",
    "fit": "invalid choice: 'fit'",
    "train": "--data is missing",
    "train --data moons --target y": "--target is for a CSV, moons has one of its own",
    "train --data good.csv": "--target is missing, wanted a column of good.csv: a, b, y",
    "train --dat moons": "unrecognized arguments: --dat moons",
    "train --data=": "argument --data: '' names nothing",
    "train --data moons --epochs 0": "argument --epochs: '0' is not a whole number from 1",
    "train --data moons --epochs 2.5": "argument --epochs: '2.5' is not a whole number",
    "train --data moons --epochs 99999999999999": "argument --epochs: '99999999999999' is not",
    "train --data moons --lr nan": "argument --lr: 'nan' is not a finite number >= 0",
    "train --data moons --lr -1": "argument --lr: '-1' is not a finite number >= 0",
    "train --data moons --hidden 20 x": "argument --hidden: 'x' is not a whole number",
    "train --data moons --hidden 0": "argument --hidden: '0' is not a whole number",
    "train --data moons --activation sine": "argument --activation: 'sine' is not one of elu, ",
    "train --data moons --optimizer lbfgs": "argument --optimizer: 'lbfgs' is not one of adagrad",
    "train --data moons --dev-size 1.5": "argument --dev-size: '1.5' is neither a share nor",
    "train --data moons --dev-size 1e300": "argument --dev-size: '1e300' is neither a share nor",
    "plot --checkpoint many --out a.png": "30 columns: wanted --features c0 c1 --fixed c2=VALUE ",
    "plot --checkpoint many --out a.png --features a c1": "'a' is no column of the model, wanted c",
    "train --data moons --device gpu": "argument --device: 'gpu' is not auto, cpu, cuda",
    "train --data moons -q -v": "not allowed with argument",
    "train --data moons --resume --fast-dev-run": "not allowed with argument",
    "train --data good.csv --target y --resume --out run": "run has weights and no state to go on",
    "train --config strange.json": "strange.json: 'colour' is no setting",
    "train --config wrong.json": "wrong.json: epochs: 'many' is not a whole number",
    "train --config unlisted.json": "unlisted.json: hidden is 3, wanted a list",
    "train --config listed.json": "listed.json: settings are a list, wanted an object",
    "eval": "the following arguments are required: --checkpoint",
    "eval --checkpoint run --seed 1": "--seed is for moons, circles, blobs, the rows are those of",
    "eval --checkpoint run --rows 5 --data good.csv": "--rows is for moons, circles, blobs",
    "predict --checkpoint run": "--data is missing, wanted the rows to predict",
    "predict --checkpoint run --data good.csv --json --out p.csv": "exclude each other",
    "predict --checkpoint run --data good.csv --out good.csv": "is where the rows are read from",
    "predict --checkpoint run --data good.csv --out link.csv": "is where the rows are read from",
    "predict --checkpoint run --data good.csv --out run/run.json": "lies in the checkpoint",
    "predict --checkpoint run --data good.csv --out run/../run/p.csv": "lies in the checkpoint",
    "trace --checkpoint run --out good.csv": "is where the rows are read from",
    "trace --checkpoint run --out run/Linear_1.pdparams": "lies in the checkpoint",
    "plot --checkpoint run": "the following arguments are required: --out",
    "plot --checkpoint run --out a.png --features a z": "'z' is no column of the model",
    "plot --checkpoint run --out a.png --features a a": "--features wants two columns",
    "plot --checkpoint run --out a.png --fixed a=x": "'a=x' is not COLUMN=VALUE",
    "train --data . --target y": ".: wanted FILE.csv, FILE.npz or moons",
    "train --data run --target y": "run: wanted FILE.csv, FILE.npz or moons, circles, blobs",
    "train --data good.csv --target 7": "good.csv: has no column '7', wanted one of a, b, y",
    "plot --checkpoint run --out a.bmp": "--out: 'a.bmp' does not end in .png, .svg or .pdf",
    "info --loud": "unrecognized arguments: --loud",
}
FAILED = {
    "train --data nowhere.csv --target y": "nowhere.csv: no such file or directory",
    "train --data noX.npz": "noX.npz: has no X, but y",
    "train --data noy.npz": "noy.npz: has no y, but X",
    "train --data pickled.npz": "pickled.npz: no .npz of plain arrays: Object arrays cannot",
    "train --data array.npz": "array.npz: no .npz of plain arrays: one array, as of a .npy",
    "train --data noise.npz": "noise.npz: no .npz of plain arrays",
    "train --data flat.npz": "flat.npz: X is float64 [24], wanted numbers [N, I]",
    "train --data short.npz": "short.npz: y is int64 [5], wanted a number or a text for each",
    "train --data infinite.npz": "infinite.npz: X[1, 1] is inf, wanted a finite number",
    "train --data moons --dev-size 900 --test-size 200": "moons: 1000 rows, 900 of them for dev",
    "train --data moons --dev-size 0": "0 of them for dev",
    "train --data moons --device cuda:99": "cuda",
    "train --data far.csv --target y --regression": "the target varies by 0.5 around 1.7e+09",
    "train --data tiny.csv --target y --regression": "target varies by 5e-31, wanted a unit in",
    "train --data huge.csv --target y --regression": "the target is beyond what float32 holds",
    "train --data good.csv --target y --out other": "other: holds another model",
    "train --data good.csv --target y --out file": "file: cannot be made: File exists",
    "train --data good.csv --target y --regression --lr 1e30 --optimizer sgd --out new": "loss",
    "train --config nowhere.json": "nowhere.json: no such file",
    "train --config damaged.json": "damaged.json: is damaged, wanted JSON",
    "train --config later.json": "later.json: version 9, this opnet reads 1",
    "train --config foreign.json": "foreign.json: is no run of opnet",
    "train --config true.json": "true.json: version True, this opnet reads 1",
    "train --config columns.json": "columns.json: task is {'columns': {'a'",
    "train --config twins.json": "twins.json: task is {'columns': ['a', 'a']",
    "train --config single.json": "'classes': ['0']}, wanted columns and classes",
    "eval --checkpoint narrow": "narrow/run.json: the task has 1 columns and 2 classes, the net",
    "eval --checkpoint three": "three/run.json: the task has 2 columns and 3 classes, the net",
    "eval --checkpoint number": "number/run.json: the task has 2 columns and a number, the net",
    "eval --checkpoint nowhere": "nowhere/run.json: no such file",
    "eval --checkpoint run --data wide.npz": "wide.npz: has 3 columns, the model wants 2: a, b",
    "predict --checkpoint run --data nowhere.npz": "nowhere.npz: no such file",
    "predict --checkpoint run --data good.csv --out file/p.csv": "p.csv: cannot be written",
    "plot --checkpoint run --out file/a.png": "file/a.png: cannot be written",
}


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [*((words, 2, said) for words, said in USAGE.items())]
    + [(words, 1, said) for words, said in FAILED.items()],
)
def test_a_bad_command_is_one_line_and_changes_nothing(
    world, monkeypatch, capsys, words, code, said
):
    monkeypatch.chdir(world)
    quiet = " -q" if words.startswith("train") and " -q" not in words else ""
    before = contents(world)
    came, err = ended(words + quiet, capsys)
    assert (came, err.count("\n")) == (code, 1), err
    assert said in err
    assert len(err) < 500
    after = contents(world)
    assert before.items() <= after.items()
    assert all(path.is_relative_to(world / "new") for path in after.keys() - before.keys())


def test_train_is_for_one_process_and_changes_nothing(world, monkeypatch, capsys):
    monkeypatch.chdir(world)
    before = contents(world)
    launched = {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
    for name, value in launched.items():
        monkeypatch.setenv(name, value)
    for more in ("", " --fast-dev-run"):
        code, err = ended("train --data good.csv --target y --out new -q" + more, capsys)
        assert (code, err.count("\n")) == (2, 1), err
        assert "train: WORLD_SIZE is 2, wanted one process: several train in a script" in err
    assert contents(world) == before
