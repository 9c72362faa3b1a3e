"""(i): rows that stay on the disk. `python -m experiments.contest.disk ROWS DIRECTORY` prints JSON.

Memory is RssAnon, what the process holds of its own: the pages of a mapped file can be given back.
"""

import json
import sys
import threading
import time
from pathlib import Path
from typing import Any

from experiments.contest import machine

FEATURES, HIDDEN, EPOCHS, RATE = 20, 16, 2, 0.1
AT_ONCE = 100_000  # rows to write at a time


def write(rows: int, place: Path) -> tuple[Path, Path]:
    """X [rows, 20] and y [rows, 1], float32 .npy files."""
    import numpy as np

    paths, generator = (place / "X.npy", place / "y.npy"), np.random.default_rng(0)
    X, y = (
        np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(rows, columns))
        for path, columns in zip(paths, (FEATURES, 1), strict=True)
    )
    for start in range(0, rows, AT_ONCE):
        part = generator.standard_normal((min(AT_ONCE, rows - start), FEATURES), np.float32)
        X[start : start + len(part)] = part
        y[start : start + len(part)] = part[:, :1] + part[:, 1:2] ** 2 > 1
    return paths


class Watch(threading.Thread):
    """Looks at the memory every 10 ms, keeps the most."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.most, self.done = 0.0, threading.Event()

    def run(self) -> None:
        while not self.done.wait(0.01):
            self.most = max(self.most, machine.memory("RssAnon"))


def trained(rows: int, place: Path) -> dict[str, Any]:
    """MB above `import torch` at the peak, seconds an epoch, the losses; or why not."""
    import torch  # what it takes does not count

    before, watch = machine.memory("RssAnon"), Watch()
    from opnet import BatchGD, BinaryCrossEntropyLoss, Model_MLP_L2, accuracy, data
    from runners import RunnerV2_1

    if not hasattr(data, "from_npy"):
        return {"no": "opnet.data has no from_npy"}
    paths = write(rows, place)
    watch.start()
    X, y = map(data.from_npy, paths)
    model = Model_MLP_L2(FEATURES, HIDDEN, 1, generator=torch.Generator().manual_seed(0))
    runner = RunnerV2_1(model, BatchGD(RATE, model), accuracy, BinaryCrossEntropyLoss(model))
    start = time.perf_counter()
    runner.train([X, y], [X[:AT_ONCE], y[:AT_ONCE]], num_epochs=EPOCHS, log_epochs=0)
    seconds = time.perf_counter() - start
    watch.done.set()
    taken = {"MB": watch.most - before, "seconds an epoch": seconds / EPOCHS}
    return taken | {"train loss": runner.train_loss}


if __name__ == "__main__":
    print(json.dumps(trained(int(sys.argv[1]), Path(sys.argv[2]))))
