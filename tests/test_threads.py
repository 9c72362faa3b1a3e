"""The thread count follows the work, stays within what the process may use, and is put back."""

import os
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from opnet.threads import ELEMENTS_PER_THREAD, fitting_threads, most_threads, threads_for

LARGE = (10**6, (20, 256, 1))


@pytest.fixture
def processors(monkeypatch):
    """processors(n, asked): a process that may run on n of them and has an OMP_NUM_THREADS."""

    def make(count, asked=None):
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(count)))
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        if asked is not None:
            monkeypatch.setenv("OMP_NUM_THREADS", asked)

    return make


@pytest.mark.parametrize(
    ("rows", "widths", "count"),
    [
        (1, (2, 5, 1), 1),
        (800, (2, 5, 1), 1),  # two moons
        (64, (16, 64, 64, 1), 1),  # a mini-batch
        (0, (2, 1), 1),
        (10, (), 1),
        (10**6, (2, 5, 1), 9),
        (10**6, (20, 256, 1), 64),
        (256, (4096, 4096), 64),  # few rows, large products
    ],
)
def test_small_work_gets_one_thread_and_large_work_all(rows, widths, count):
    assert threads_for(rows, widths, 64) == count
    assert threads_for(rows, widths, 1) == 1


@given(
    rows=st.integers(0, 10**7),
    widths=st.lists(st.integers(1, 5000), max_size=4),
    most=st.integers(1, 300),
)
def test_each_thread_has_its_share_of_work_and_more_work_never_has_fewer(rows, widths, most):
    count = threads_for(rows, widths, most)
    assert 1 <= count <= most
    assert count <= threads_for(rows + 1, widths, most) <= threads_for(rows + 1, [*widths, 1], most)
    if count > 1:
        largest = max(*widths, *(a * b / 16 for a, b in pairwise(widths)), 0)
        assert rows * largest >= count * ELEMENTS_PER_THREAD


@pytest.mark.parametrize(
    ("count", "asked", "most"),
    [
        (8, None, 8),
        (8, "2", 2),
        (2, "8", 2),
        (8, "4,2", 4),  # OpenMP: of the first level and of the second
        (8, "0", 8),  # as OpenMP, what is no count is passed over
        (8, "many", 8),
        (8, "", 8),
    ],
)
def test_no_more_than_the_process_may_use(processors, count, asked, most):
    processors(count, asked)
    assert most_threads() == most
    torch.set_num_threads(16)
    for threads in (None, 16):
        with fitting_threads(*LARGE, threads=threads) as chosen:
            assert chosen == torch.get_num_threads() == most


def test_a_choice_stays_within_what_the_user_has_set_and_an_argument_does_not(processors):
    processors(4)
    torch.set_num_threads(2)
    with fitting_threads(*LARGE) as chosen:
        assert chosen == 2
    with fitting_threads(*LARGE, threads=3) as chosen:
        assert chosen == 3
    with fitting_threads(1, (2, 5, 1), threads=3) as chosen:
        assert chosen == 3


def test_processors_are_counted_where_their_affinity_is_not_told(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    assert most_threads() == 3
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert most_threads() == 1


@pytest.mark.parametrize("error", [None, ZeroDivisionError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("before", [1, 3])
def test_what_was_set_is_put_back(processors, error, before):
    processors(2)
    torch.set_num_threads(before)

    def work():
        with fitting_threads(1, (2, 5, 1), threads=2):
            assert torch.get_num_threads() == 2
            if error:
                raise error

    if error:
        with pytest.raises(error):
            work()
    else:
        work()
    assert torch.get_num_threads() == before
