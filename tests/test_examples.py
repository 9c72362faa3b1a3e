"""The examples of the docs run as they stand, are short, and are cells."""

import re
import runpy
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
EXAMPLES = sorted((DOCS / "examples").glob("*.py"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_it_runs(path, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    runpy.run_path(str(path), run_name="__main__")
    scores = re.findall(r"(?:score/loss:|accuracy) ([\d.]+)", capsys.readouterr().out)
    assert float(scores[-1]) > 0.8
    assert "matplotlib.pyplot" not in sys.modules  # nothing waits for a window
    assert {path.name for path in tmp_path.iterdir()} <= {"checkpoints", "X.npy"}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_it_is_short_and_made_of_cells(path):
    lines = path.read_text().splitlines()
    assert len(lines) <= 60
    assert (lines[0], lines[1][:4]) == ("# %% [markdown]", "# # ")
    heads = [line for line in lines if line.startswith("# %%")]
    assert set(heads) == {"# %% [markdown]", "# %%"}


def test_the_page_shows_all_of_them_by_their_titles():
    page = (DOCS / "examples.md").read_text()
    for path in EXAMPLES:
        title = path.read_text().splitlines()[1].removeprefix("# # ")
        assert f"## {title}\n\n```{{literalinclude}} examples/{path.name}\n" in page
    assert not list(DOCS.rglob("*.ipynb"))
