"""The README's code runs as it stands there, and what it names exists."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_every_python_block_runs_as_written(tmp_path):
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(blocks) == 4
    for block in blocks:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", block],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "checkpoints" / "runs" / "mine" / "boundary.png").exists()


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
