"""The code of README and docs runs as it stands there; what the README names exists."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PAGES = [*sorted(ROOT.glob("README*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```(?:\n\n```text\n(.*?)^```)?", re.DOTALL | re.MULTILINE)
BLOCKS = [
    pytest.param(*block, id=f"{page.name}:{number}")
    for page in PAGES
    for number, block in enumerate(BLOCK.findall(page.read_text()), start=1)
]


@pytest.mark.parametrize(("code", "printed"), BLOCKS)
def test_every_python_block_runs_as_written(code, printed, tmp_path):
    """A ```text block right after it is what it prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert printed in ("", done.stdout)
    for path in re.findall(r"plots\.save\(\w+, \"(.+?)\"\)", code):
        assert (tmp_path / path).exists()


def test_the_pages_that_show_code_are_among_them():
    assert {"README.md", "README.zh-CN.md", "index.md", "own_op.md", "book.md"} <= {
        block.id.partition(":")[0] for block in BLOCKS
    }


def test_the_files_and_targets_that_it_names_exist():
    rooms = re.search(r"## The rooms\n(.*)", README, re.DOTALL)[1]
    for line in re.findall(r"^\| (`.*?) \|", rooms, re.MULTILINE):
        first, *others = re.findall(r"`([^`]+)`", line)
        for name in (first, *(f"opnet/{other}" for other in others)):
            assert (ROOT / name).exists(), name
    picture = re.search(r"!\[.*?\]\((.*?)\)", README)[1]
    assert (ROOT / picture).exists()
    targets = re.findall(r"^make (\w+)", README, re.MULTILINE)
    makefile = (ROOT / "Makefile").read_text()
    assert targets == ["moons", "test"]
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)
