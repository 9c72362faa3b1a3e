"""What the tests of `python -m opnet` share: rows, and a command line as a process of its own."""

import json
import os
import subprocess
import sys

MOONS = ("--data", "moons", "--rows", "150", "--epochs", "20", "--hidden", "6")
CUT_SHORT = 60  # seconds that a child may take
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}
FLOWERS = "width,kind,length\n" + "".join(
    f"{1 + k + i % 7 / 10},{kind},{5 - k + i % 5 / 10}\n"
    for i in range(30)
    for k, kind in enumerate(("oak", "ash", "yew"))
)


def record(out):
    return json.loads((out / "run.json").read_text())


def child(*words, **how):
    command = [sys.executable, "-W", "error", "-m", "opnet", *words]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env=ENVIRONMENT, **pipes, **how)
