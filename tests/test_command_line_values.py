"""Any settings come back from flags and from JSON; any bytes are a table or one line."""

import csv
import io
import json
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runners.command_line.parser import parser
from runners.command_line.settings import Settings, given_in
from runners.command_line.table import read

NUMBERS = st.floats(-1e6, 1e6)
COUNT, AMOUNT = st.integers(1, 2**32 - 1), st.floats(0, 1e9)
TEXT = st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), min_size=1)
VALUES = {
    "hidden": st.lists(COUNT, max_size=4).map(tuple),
    "regression": st.booleans(),
    "header": st.sampled_from(["auto", "yes", "no"]),
    "activation": st.sampled_from(["relu", "tanh"]),
    "optimizer": st.sampled_from(["adam", "sgd"]),
    "device": st.sampled_from(["cpu", "cuda:1"]),
    **dict.fromkeys(["data", "target", "out"], TEXT),
    **dict.fromkeys(["noise", "lr", "l2"], AMOUNT),
    **dict.fromkeys(["dev_size", "test_size"], COUNT | st.floats(0, 0.999)),
    **dict.fromkeys(["rows", "seed", "epochs", "batch_size"], COUNT),
    **dict.fromkeys(["early_stopping", "threads", "save_every"], COUNT),
}


def as_flags(name, value):
    flag = f"--{name.replace('_', '-')}"
    if isinstance(value, bool):
        return [flag] * value
    return [flag, *map(str, value)] if isinstance(value, tuple) else [f"{flag}={value}"]


def test_every_setting_has_values_here():
    assert VALUES.keys() == {known.name for known in fields(Settings)}


@settings(deadline=None, max_examples=60)
@given(st.fixed_dictionaries({}, optional=VALUES))
def test_settings_come_back_from_flags_and_from_json(chosen):
    words = [word for name, value in chosen.items() for word in as_flags(name, value)]
    made = Settings(**given_in(parser().parse_args(["train", *words])))
    assert made == Settings(**chosen)
    assert Settings.of(json.loads(json.dumps(made.as_dict())), {}, "run.json") == made


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("tables") / "any.csv"


@settings(deadline=None)
@given(st.lists(st.tuples(NUMBERS, NUMBERS, st.integers(0, 3)), min_size=1, max_size=20))
def test_the_numbers_of_a_csv_are_read_to_the_last_bit(path, rows):
    text = io.StringIO(newline="")
    csv.writer(text).writerows([("a", "b", "y"), *rows])
    path.write_text(text.getvalue(), newline="")
    table = read(Settings(data=str(path), target="y"))
    assert np.array_equal(table.X, [row[:2] for row in rows])
    assert table.labels == [str(row[2]) for row in rows]


CELLS = st.sampled_from(["a", "b", "1", "-2.5", "nan", "1e999", "", '"', ",", "\n", "\r", ";", " "])


@settings(deadline=None, max_examples=300)
@given(st.lists(CELLS).map("".join).map(str.encode) | st.binary())
def test_any_bytes_are_a_table_of_finite_numbers_or_one_line(path, content):
    path.write_bytes(content)
    try:
        table = read(Settings(data=str(path), target="-1"))
    except ValueError as error:
        said = str(error)
    else:
        assert np.isfinite(table.X).all()
        assert table.X.shape == (len(table.labels), len(table.columns))
        return
    assert said.startswith(f"{path}: ")
    assert len(said.splitlines()) == 1
    assert len(said) < 400
