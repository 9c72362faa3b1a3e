"""A training takes as much memory beside its data for many rows as for few."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

STATUS = Path("/proc/self/status")
TOLD = STATUS.exists() and "VmHWM" in STATUS.read_text()
FEW, MANY, COLUMNS = 1_000_000, 6_000_000, 20
CHILD = """
import sys, torch
def megabytes(*keys):
    told = dict(line.split(":") for line in open("/proc/self/status"))
    return [int(told[key].split()[0]) / 1024 for key in keys]
bare, = megabytes("RssAnon")
from opnet import BatchGD, BinaryCrossEntropyLoss, Model_MLP_L2, accuracy, from_npy
from runners import RunnerV2_1, run
run.MOST_UNREAD = 0  # score few rows as many, by blocks

def train(how, stem):
    X, y = (from_npy(f"{stem}.{name}.npy") for name in "Xy")
    if how == "in memory":
        X, y = X[:], y[:]
    model = Model_MLP_L2(20, 16, 1)
    runner = RunnerV2_1(model, BatchGD(0.1, model), accuracy, BinaryCrossEntropyLoss(model))
    runner.train([X, y], [X, y], num_epochs=2, log_epochs=0, block_size=4096)  # recorded by both

train(*sys.argv[1:3])  # what a first run leaves is no run's
for stem in sys.argv[2:]:
    train(sys.argv[1], stem)
    most, files = megabytes("VmHWM", "RssFile")
    print(most - files - bare)
"""


def rows_of_holes(count, directory):
    """X and y, all of them zeros and none of them on disk."""
    for name, columns in (("X", COLUMNS), ("y", 1)):
        path = directory / f"{count}.{name}.npy"
        np.lib.format.open_memmap(path, "w+", "f4", (count, columns)).flush()
    return str(directory / f"{count}")


# Bytes a row at the peak: the labels of the train and of the dev set, or X and y in memory.
@pytest.mark.skipif(not TOLD, reason="VmHWM is told by Linux")
@pytest.mark.parametrize(("how", "a_row"), [("on disk", 4 + 4), ("in memory", 4 * COLUMNS + 4)])
def test_the_peak_grows_with_the_data_only(how, a_row, tmp_path):
    stems = [rows_of_holes(count, tmp_path) for count in (FEW, MANY)]
    done = subprocess.run(
        [sys.executable, "-c", CHILD, how, *stems],
        env=os.environ | {"MALLOC_MMAP_THRESHOLD_": str(2**20)},  # what is freed is given back
        check=True,
        timeout=300,
        capture_output=True,
        text=True,
    )
    few, many = map(float, done.stdout.split())  # megabytes above `import torch`
    assert (many - few) * 2**20 / (MANY - FEW) < a_row + 1
    if how == "on disk":
        assert many * 2**20 < MANY * 4 * COLUMNS / 4
