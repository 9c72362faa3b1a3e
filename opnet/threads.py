"""How many threads torch computes with, chosen from the work of a step."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise

import torch

from .errors import check_count

# Elements of one tensor that make a thread worth waking at every kernel. With 2 threads on 2 cores
# a step of Linear, Logistic, Linear, Logistic took 1.0 to 1.2 times that with one thread below
# 2^18 elements and broke even between 2^19 and 2^20, where a kernel takes about a millisecond; the
# gain was 0.75 at most. Where other processes hold the cores a wrong 2 costs 10 to 100 times, since
# each kernel waits for a thread that is not running: in doubt it is one thread.
ELEMENTS_PER_THREAD = 2**19
PRODUCTS_PER_ELEMENT = 16  # multiplications of a matrix product in the time of one logistic


@contextmanager
def fitting_threads(rows: int, widths: Sequence[int], threads: int | None = None) -> Iterator[int]:
    """torch with as many threads as pay for `rows` through layers of `widths`, inputs first.

    Yields the number; what was set before is set again at the end, also after an error. By itself
    never more than was set; `threads` overrides the choice. Never more than the process may use:
    its processors, and OMP_NUM_THREADS. Another number of threads may add up in another order: the
    last bits of results can differ. The choice depends on its arguments and these limits only, not
    on how busy the machine is, so that a run can be repeated. Setting costs half a microsecond.
    ValueError or TypeError for `threads` that are no count.
    """
    before, most = torch.get_num_threads(), most_threads()
    if threads is None:
        count = threads_for(rows, widths, min(before, most))
    else:
        count = min(check_count("threads", threads), most)
    torch.set_num_threads(count)
    try:
        yield count
    finally:
        torch.set_num_threads(before)


def threads_for(rows: int, widths: Sequence[int], most: int) -> int:
    """At most `most`, one for each ELEMENTS_PER_THREAD of the largest kernel; at least one."""
    products = (inputs * outputs // PRODUCTS_PER_ELEMENT for inputs, outputs in pairwise(widths))
    largest = rows * max([*widths, *products], default=0)
    return max(1, min(most, largest // ELEMENTS_PER_THREAD))


def most_threads() -> int:
    """How many this process may use."""
    there = hasattr(os, "sched_getaffinity")
    processors = len(os.sched_getaffinity(0)) if there else os.cpu_count() or 1
    asked = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()  # "4,2": of the first level
    return min(processors, int(asked)) if asked.isdecimal() and int(asked) else processors
