"""The faults of CI leave a whole state or an error; writers that are wrong fail the same test."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from faults.table import FAULTS

ROOT = Path(__file__).parents[1]


def table(*arguments):
    """Exit code, rows by fault, stories: from a process with one thread, which alone may fork."""
    command = [sys.executable, "-m", "tests.faults", *map(str, arguments)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False
    )
    head, *lines = (re.split(r"\s{2,}", line.strip()) for line in done.stdout.splitlines())
    return done.returncode, {row[0]: dict(zip(head, row, strict=False)) for row in lines}, done


@pytest.fixture(scope="module")
def results():
    """Rows by fault, and all stories."""
    _, rows, done = table()
    return rows, done.stderr.splitlines()


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_leaves_a_whole_state_or_an_error(results, name):
    rows, said = results
    row = rows[name]
    if row["trials"].startswith("skipped"):
        pytest.skip(row["trials"])
    stories = [line for line in said if line.startswith(f"{name}: ")]
    assert int(row["trials"]) >= 10
    assert row["left out"] == "0"
    assert not stories


HARM = {  # a writer that is known to be wrong, and how some trials of a fault show it
    "plain": (
        20,
        {"kill -9 at each system call of a save": "lost torn", "a bit flips": "torn silent"},
    ),
    "hidden": (20, {"the kernel sees no other calls": "other"}),
    "forgetful": (6, {"a nan while training": "silent"}),
    "unsynced": (20, {"the power fails": "lost"}),
}


@pytest.mark.parametrize("writer", HARM)
def test_the_trials_can_fail(writer):
    trials, shown = HARM[writer]
    code, rows, _ = table("--writer", writer, "--trials", trials, "--only", *shown)
    for name, outcomes in shown.items():
        if rows[name]["trials"].startswith("skipped"):
            pytest.skip(rows[name]["trials"])
        assert sum(int(rows[name][outcome]) for outcome in outcomes.split()) > 1
    assert code == 1
