"""How many threads torch computes with, chosen from the work of a step."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise

import torch

from .errors import check_count

# Elements of one tensor that make a thread worth waking at every kernel. 2 threads against 1 on 2
# cores, a step of Linear, Logistic, Linear, Logistic: the best of many runs, which nobody disturbs,
# takes 1.0 to 1.2 times as long up to 2^16 elements, 0.9 to 1.1 at 2^17, 0.7 to 1.1 at 2^19. The
# median where other processes want the cores too is 1 to 300 up to 2^17 and 1.5 to 10 from 2^19 on,
# since each kernel waits for a thread that is not running. A third to win, so much to lose: 2
# threads from 2^20 on, where a kernel takes most of a millisecond.
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
