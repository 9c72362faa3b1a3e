"""Rows from a CSV, an .npz, or made: columns, classes, and the tensors of a task."""

import numpy as np
import pytest
import torch

from opnet import Logistic, load, make_moons
from opnet.walk import last_op
from runners.command_line.settings import Settings
from runners.command_line.table import Table, read
from runners.command_line.task import Task

pytestmark = pytest.mark.usefixtures("elsewhere")

BIG = "90071992547409920", "90071992547409921"  # one number in float64


@pytest.mark.parametrize(
    ("text", "more", "columns", "classes"),
    [
        ("a,b,y\n1,2,0\n3,4,1\n", {}, ["a", "b"], ["0", "1"]),
        ("y,a\n10,2\n9,4\n", {}, ["a"], ["9", "10"]),
        ("a,y\n1,no\n2,yes\n", {}, ["a"], ["no", "yes"]),
        ("a,y\n1,1\n2,1.0\n3,2\n", {}, ["a"], ["1", "2"]),
        ("a,y\n1,001\n2,1\n", {}, ["a"], ["001", "1"]),
        ("a,y\n1,1_0\n2,10.\n", {}, ["a"], ["10", "1_0"]),
        ("a,y\n1,-0\n2,0.0\n", {}, ["a"], ["-0", "0"]),
        ("a,y\n1,90071992547409921\n2,90071992547409920\n", {}, ["a"], [*BIG]),
        ("a,y\n1,1.0\n2,x\n", {}, ["a"], ["1", "x"]),
        ("1,2,0\n3,4,1\n", {"target": "2"}, ["0", "1"], ["0", "1"]),
        ("1,2,0\n3,4,1\n", {"target": "-1"}, ["0", "1"], ["0", "1"]),
        ("1,y\n1,0\n2,1\n", {"header": "yes"}, ["1"], ["0", "1"]),
        ("2,3,y\n1,2,0\n3,4,1\n", {}, ["2", "3"], ["0", "1"]),
        ("1,2,no\n3,4,yes\n", {"target": "2"}, ["0", "1"], ["no", "yes"]),
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


@pytest.mark.parametrize(
    ("classes", "labels", "places"),
    [
        (["01", "1", "x"], ["01", "1", "1.0"], [0, 1, 1]),
        (["1.0", "x", "y"], ["x", "1.0", "1.0"], [1, 0, 0]),
        (["0", "1", "2"], [2.0, True, np.int64(0)], [2, 1, 0]),
    ],
)
def test_a_label_is_the_class_of_its_name_whatever_the_other_rows_have(classes, labels, places):
    table = Table("rows", ["a"], np.zeros((3, 1)), labels, None)
    assert Task(["a"], classes).tensors(table)[1].tolist() == places
