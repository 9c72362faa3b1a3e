"""The ledger: what the sources print is judged rightly, and every script's rows hold."""

import importlib
import os
import re
import subprocess
import sys

import pytest
import torch

from experiments import __main__ as everything
from experiments import cli, neurons
from experiments.__main__ import NEED_ARGUMENTS, NO_SOURCES, scripts
from experiments.rows import BROKEN, Outcome, Row, table
from experiments.sources import AGREES, BY_SEED, WRONG, Source

SOURCE = Source("a book")
NUMBERS_ONLY = ("neurons",)
REPRODUCE = [name for name in scripts() if name not in (*NEED_ARGUMENTS, *NO_SOURCES)]


@pytest.mark.parametrize(
    ("published", "obtained", "verdict"),
    [
        ("0.2327 -0.0438", torch.tensor([0.23272, -0.04378]), AGREES),
        ("0.2328 -0.0438", torch.tensor([0.23272, -0.04378]), BROKEN),  # a last digit is another
        ("0.2327 -0.0439", torch.tensor([0.23272, -0.04378]), BROKEN),
        ("0.2327 0.0438", torch.tensor([0.23272, -0.04378]), BROKEN),
        ("0.2327", torch.tensor([0.23272, -0.04378]), BROKEN),  # a number too many
        ("0.2327 -0.0438", 0.2327, BROKEN),  # one too few
        ("1763.8846", 1763.8848, AGREES),  # within the rounding of float32
        ("1763.8846", 1763.889, BROKEN),
        ("3.3994e-4", 0.00033994, AGREES),
        ("3.3994e-4", 0.00033995, BROKEN),
        ("9.0901e34", 9.09011e34, AGREES),
        ("9.0901e34", 9.0902e34, BROKEN),
        ("46", 46.4, AGREES),  # as far as digits are printed
        ("46", -0.8, BROKEN),
        ("inf nan nan", [float("inf"), float("nan"), float("nan")], AGREES),
        ("inf nan nan", [float("inf"), float("nan"), 1.0], BROKEN),
        ("inf", float("-inf"), BROKEN),
        ("1.0", float("nan"), BROKEN),
        ("no number", 1.0, BROKEN),
    ],
)
def test_a_printed_number(published, obtained, verdict):
    assert SOURCE.printed("w", published, obtained).verdict == verdict


def test_a_number_shows_as_many_digits_as_the_source_prints():
    assert SOURCE.printed("h", "5.999999963535174", 5.9999999635351742).obtained == (
        "5.999999963535174"
    )
    assert SOURCE.printed("w", "3.0", 1 / 3).obtained == "0.3333333"


@pytest.mark.parametrize(
    ("published", "right", "obtained", "verdict"),
    [
        ("0 2 4", "0 4 8", [0, 4, 8], WRONG),
        ("0 2 4", "0 4 8", [0, 2, 4], BROKEN),  # the source is right after all
        ("0 2 4", "0 4 8", [0, 4, 9], BROKEN),  # neither is
        ("0 4 8", "0 4 8", [0, 4, 8], BROKEN),  # nothing is wrong
        ("it makes no difference", "inf", float("inf"), WRONG),
    ],
)
def test_a_wrong_number_needs_a_right_one_that_differs(published, right, obtained, verdict):
    assert SOURCE.wrong("slope", published, right, obtained, "why").verdict == verdict


def test_a_number_that_a_seed_decides_lies_in_its_bounds():
    bounds = (1.0, 2.0)
    assert SOURCE.by_seed("w", "1.5", [1.0, 2.0], bounds).verdict == BY_SEED
    for outside in (0.99, 2.01, float("nan")):
        assert SOURCE.by_seed("w", "1.5", [1.5, outside], bounds).verdict == BROKEN
    other = Source("a book", seed=7)  # other draws: as wide again on either side
    assert other.by_seed("w", "1.5", [0.01, 2.99], bounds).verdict == BY_SEED
    assert other.by_seed("w", "1.5", [3.01], bounds).verdict == BROKEN


def test_a_statement_holds_or_does_not():
    assert SOURCE.states("loss", "falls", [2.0, 1.0], True) == Row(
        "a book", "loss", "falls", "2 1", "as stated", AGREES
    )
    assert not SOURCE.states("loss", "falls", [1.0, 2.0], False).holds


def test_a_table_wraps_long_cells_and_loses_no_word():
    row = SOURCE.printed("loss " * 30, "1", 1.0, "because " * 20)
    lines = table([row]).splitlines()
    assert max(map(len, lines)) < 160
    words = " ".join(lines).split()
    assert (words.count("loss"), words.count("because")) == (30, 20)
    assert len(table([row], markdown=True).splitlines()) == 3


def test_a_bar_in_a_cell_does_not_end_it():
    row = SOURCE.printed("|w|", "1", 1.0, "because |b|")
    *_, line = table([row], markdown=True).splitlines()
    assert len(re.split(r"(?<!\\)\|", line)) == 7 + 2


@pytest.mark.parametrize("name", REPRODUCE)
def test_every_row_of_a_script_holds_and_its_figures_are_written(
    name, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [name, "--device", "cpu", "--out", "out"])
    module, outcomes = importlib.import_module(f"experiments.{name}"), []

    def main(settings):
        outcomes.append(module.main(settings))
        return outcomes[0]

    with pytest.raises(SystemExit) as end:
        cli.run(module.arguments(), main)
    printed = capsys.readouterr()
    assert (end.value.code, printed.err) == (0, "")
    (outcome,) = outcomes
    assert [row for row in outcome.rows if not row.holds] == []
    assert outcome.figures or name in NUMBERS_ONLY
    for figure in outcome.figures:
        assert f"[Written] out/{figure}.png" in printed.out.splitlines()
        assert (tmp_path / "out" / f"{figure}.png").stat().st_size > 5000


@pytest.mark.parametrize(("published", "code"), [("0.3333333", 0), ("0.25", 1)])
def test_all_writes_the_ledger_and_exits_1_when_a_row_no_longer_holds(
    published, code, tmp_path, monkeypatch, capsys
):
    row = SOURCE.printed("w", published, 1 / 3)
    monkeypatch.setattr(neurons, "main", lambda settings: Outcome([row]))
    monkeypatch.setattr(everything, "scripts", lambda: {"neurons": scripts()["neurons"]})
    flags = ["--quiet", "--device", "cpu", "--ledger", "ledger.md"]
    monkeypatch.setattr(sys, "argv", ["experiments", "all", *flags])
    monkeypatch.chdir(tmp_path)
    assert everything.main() == code
    assert (tmp_path / "ledger.md").read_text() == table([row], markdown=True) + "\n"
    printed = capsys.readouterr()
    assert printed.out == ("" if row.holds else table([row]) + "\n")
    assert printed.err == ("" if row.holds else "0 of 1 rows hold\n")


@pytest.mark.parametrize("name", scripts())
def test_a_script_refuses_a_flag_that_it_does_not_have(name, tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", f"experiments.{name}", "--sed", "1"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "error: " in done.stderr.splitlines()[-1]
    assert os.listdir(tmp_path) == []
