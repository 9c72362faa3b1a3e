"""One training that is timed, on as many ranks as have been started: `experiments.scaling` does."""

import json
import statistics
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch

from experiments.scaling_model import DEV_ROWS, MANY
from opnet import BatchGD, BinaryCrossEntropyLoss, Model_MLP_L2, accuracy
from opnet.parallel import Ranks, joined, rank
from runners import RunnerV2_1

COLUMNS, LR = 20, 0.05
SETTLING = 3  # epochs, in which memory is found and kernels are recorded
REDUCTIONS = 50


class Clock:
    """When each epoch ended."""

    recordable = True

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_epoch_end(self, runner: Any, epoch: int) -> None:
        self.ends.append(time.perf_counter())


def measured(rows: int, hidden: int, epochs: int, threads: int) -> dict[str, Any]:
    """Seconds of each settled epoch, and of a reduction of few numbers and of MANY."""
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(rows + DEV_ROWS, COLUMNS, generator=generator)
    y = (X[:, :1] + X[:, 1:2] * X[:, 2:3] > 0).float()
    model = Model_MLP_L2(COLUMNS, hidden, 1, generator=generator)
    runner = RunnerV2_1(model, BatchGD(LR, model), accuracy, BinaryCrossEntropyLoss(model))
    sets, clock = ([X[:rows], y[:rows]], [X[rows:], y[rows:]]), Clock()
    runner.train(
        *sets,
        num_epochs=SETTLING + epochs,
        log_epochs=0,
        keep="last",
        threads=threads,
        callbacks=[clock],
    )
    ends = clock.ends[SETTLING - 1 :]
    seconds = [after - before for before, after in pairwise(ends)]
    size = sum(tensor.numel() for layer in model.layers for tensor in layer.params.values())
    ranks = joined(torch.device("cpu"))
    return {
        "epochs": seconds,
        "loss": runner.train_loss[-1],
        "numbers": size,
        "few": _median(lambda: ranks.sum(torch.zeros(4)), ranks),
        "many": _median(lambda: ranks.sum(torch.zeros(MANY)), ranks),
    }


def _median(job: Callable[[], Any], ranks: Ranks) -> float:
    if not ranks.several:
        return 0.0
    took = []
    for _ in range(REDUCTIONS):
        start = time.perf_counter()
        job()
        took.append(time.perf_counter() - start)
    return statistics.median(took)


if __name__ == "__main__":
    found = measured(*map(int, sys.argv[1:]))
    if rank() == 0:
        print(json.dumps(found))
