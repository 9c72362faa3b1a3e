"""The faults of CI leave a whole state or an error; writers that are wrong fail the same test."""

import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
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
    """Rows by fault and all stories, of two processes at once."""
    halves = list(FAULTS)[::2], list(FAULTS)[1::2]
    with ThreadPoolExecutor(2) as pool:
        parts = list(pool.map(lambda names: table("--only", *names), halves))
    rows = {name: row for _, part, _ in parts for name, row in part.items()}
    return rows, [line for _, _, done in parts for line in done.stderr.splitlines()]


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


HARM = {  # a writer that is known to be wrong, and how a fault shows it
    "plain": {"kill -9 at each system call of a save": "lost torn", "a bit flips": "torn silent"},
    "hidden": {"the kernel sees no other calls": "other"},
    "forgetful": {"a nan while training": "silent"},
    "unsynced": {"the power fails": "lost"},
}


@pytest.mark.parametrize("writer", HARM)
def test_the_trials_can_fail(writer):
    code, rows, _ = table("--writer", writer, "--trials", 20, "--only", *HARM[writer])
    for name, outcomes in HARM[writer].items():
        if rows[name]["trials"].startswith("skipped"):
            pytest.skip(rows[name]["trials"])
        assert sum(int(rows[name][outcome]) for outcome in outcomes.split()) > 1
    assert code == 1
