"""Moons are scikit-learn's, splits are disjoint, and the global random state stays as it was."""

import logging

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from opnet import make_moons, split


def test_moons_are_scikit_learns_row_by_row():
    from sklearn.datasets import make_moons as sklearn_moons

    X, y = make_moons(50, noise=0.3, seed=7)
    expected_X, expected_y = sklearn_moons(50, noise=0.3, random_state=7)
    assert (X.dtype, y.dtype, X.shape, y.shape) == (torch.float32,) * 2 + ((50, 2), (50, 1))
    np.testing.assert_array_equal(X, expected_X.astype(np.float32))
    np.testing.assert_array_equal(y.flatten(), expected_y)
    assert make_moons((3, 5), seed=0)[1].sum() == 5


@given(
    sizes=st.lists(st.integers(1, 20), min_size=1, max_size=4),
    spare=st.integers(0, 5),
    seed=st.integers(0, 2**31),
)
def test_a_split_has_each_row_at_most_once_with_its_own_label(sizes, spare, seed):
    n = sum(sizes) + spare
    X = torch.arange(n).reshape(n, 1).float()
    parts = split(X, X * 10, tuple(sizes), seed=seed)
    assert [len(rows) for rows, _ in parts] == sizes
    rows = torch.cat([rows for rows, _ in parts]).flatten().tolist()
    assert len(set(rows)) == len(rows)
    assert all(torch.equal(y, rows * 10) for rows, y in parts)
    if n > 12:
        other = split(X, X * 10, tuple(sizes), seed=seed + 1)
        assert not all(torch.equal(a, b) for (a, _), (b, _) in zip(parts, other, strict=True))
    again = split(X, X * 10, tuple(sizes), seed=seed)
    assert all(torch.equal(a, b) for (a, _), (b, _) in zip(parts, again, strict=True))


def test_the_books_split():
    parts = split(*make_moons(1000, noise=0.5, seed=0), seed=0)
    assert [len(X) for X, _ in parts] == [640, 160, 200]


def test_parts_are_copies():
    X, y = make_moons(10, seed=0)
    (part, _), _ = split(X, y, (5, 5), seed=0)
    before = X.clone()
    part.zero_()
    assert torch.equal(X, before)


def test_no_global_random_state_is_touched_and_a_fresh_seed_is_logged(caplog):
    np.random.seed(5)
    torch.manual_seed(5)
    numpy_state, torch_state = np.random.get_state()[1].copy(), torch.get_rng_state()
    with caplog.at_level(logging.INFO, "opnet"):
        X, y = make_moons(20, noise=0.1)
        split(X, y, (10, 10))
    assert [record.message.split("=")[0] for record in caplog.records] == [
        "make_moons: seed",
        "split: seed",
    ]
    seed = int(caplog.records[0].message.split("=")[1])
    assert torch.equal(make_moons(20, noise=0.1, seed=seed)[0], X)
    assert (np.random.get_state()[1] == numpy_state).all()
    assert torch.equal(torch.get_rng_state(), torch_state)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"n_samples": 0}, "n_samples is 0"),
        ({"n_samples": (3, 0)}, "n_samples is 0"),
        ({"noise": -0.1}, "noise is -0.1"),
        ({"noise": float("nan")}, "noise is nan"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": 2**70}, "seed is 1180591620717411303424, wanted at most"),
    ],
)
def test_moons_that_cannot_be_are_refused(arguments, said):
    with pytest.raises(ValueError, match=f"make_moons: {said}"):
        make_moons(**arguments)


@pytest.mark.parametrize(
    ("y", "sizes", "said"),
    [
        (10, (6, 5), r"sizes \(6, 5\) need 11 rows, X has 10"),
        (9, (5, 5), "X has 10 rows, y has 9"),
        (10, (5, 0), "size is 0"),
    ],
)
def test_splits_that_cannot_be_are_refused(y, sizes, said):
    with pytest.raises(ValueError, match=f"split: {said}"):
        split(torch.ones(10, 2), torch.ones(y, 1), sizes)


def test_a_split_of_what_is_no_tensor_or_into_no_sizes_is_refused():
    with pytest.raises(TypeError, match="split: X is a list, wanted a Tensor"):
        split([[1.0]], torch.ones(1, 1), (1,))
    with pytest.raises(TypeError, match="split: sizes is 5, wanted a tuple"):
        split(torch.ones(5, 1), torch.ones(5, 1), 5)
