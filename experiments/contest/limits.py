"""How near an epoch comes to what a device can do: to its memory, or to its arithmetic.

Counted is what any implementation has to do that keeps the outputs [N, H] of the hidden layers in
memory: the products, and five walks through each of these tensors in a step, two on the dev set.
"""

import time
from collections.abc import Callable
from itertools import pairwise
from statistics import median
from typing import Any

from experiments.contest.cases import Case

COPIED = 2**26  # numbers; read and written
SIDE = 4096  # of the square matrices to multiply
WALKS = {"train": 5, "dev": 2}  # write a, read it for the next product and twice back, write dz


def work(case: Case) -> tuple[float, float]:
    """Multiplications and additions of an epoch, and bytes of float32 that it moves."""
    products = sum(inputs * outputs for inputs, outputs in pairwise(case.widths))
    back = products + sum(i * o for i, o in list(pairwise(case.widths))[1:])  # dL/dW, dL/da
    operations = 2 * (case.rows * (products + back) + case.dev_rows * products)
    hidden = sum(case.widths[1:-1])
    walked = hidden * (WALKS["train"] * case.rows + WALKS["dev"] * case.dev_rows)
    return float(operations), 4.0 * walked


def limits(device: str, copied: int = COPIED, side: int = SIDE) -> tuple[float, float]:
    """Operations and bytes a second: a product of two matrices, a copy."""
    import torch

    a, b = (torch.rand(side, side, device=device) for _ in range(2))
    here, there = (torch.zeros(copied, device=device) for _ in range(2))
    multiply = _seconds(lambda: torch.mm(a, b), device)
    copy = _seconds(lambda: there.copy_(here), device)
    return 2.0 * side**3 / multiply, 2.0 * 4 * copied / copy


def shares(case: Case, seconds: float, operations: float, moved: float) -> str:
    """Which part of the limits an epoch of so many seconds reaches."""
    needed, walked = work(case)
    arithmetic, memory = needed / operations / seconds, walked / moved / seconds
    return f"{arithmetic:.1%} of the arithmetic, {memory:.1%} of the memory bandwidth"


def _seconds(job: Callable[[], Any], device: str) -> float:
    """Of one call, the median of some; the first ones prepare."""
    import torch

    taken = []
    for _ in range(8):
        start = time.perf_counter()
        job()
        if device.startswith("cuda"):
            torch.cuda.synchronize(device)
        taken.append(time.perf_counter() - start)
    return median(taken[3:])
