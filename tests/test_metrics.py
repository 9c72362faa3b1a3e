"""Accuracy counts what it should, on every shape, and never broadcasts."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from opnet import accuracy
from opnet.metrics import over_rows, weighted


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1))
def test_two_classes(rows):
    p = torch.tensor([[p] for p, _ in rows], dtype=torch.float64)
    y = torch.tensor([[label] for _, label in rows])
    expected = sum((p >= 0.5) == label for p, label in rows) / len(rows)
    assert accuracy(p, y).item() == pytest.approx(expected)
    assert accuracy(p, y.float()).item() == pytest.approx(expected)
    assert accuracy(p.reshape(1, -1, 1), y.numpy().reshape(1, -1, 1)).item() == pytest.approx(
        expected
    )


def test_several_classes_by_index_and_by_column():
    p = torch.tensor([[0.1, 0.7, 0.2], [0.5, 0.2, 0.3], [0.0, 0.1, 0.9], [0.2, 0.3, 0.5]])
    indices = torch.tensor([1, 0, 2, 1])
    assert accuracy(p, indices).item() == 0.75
    assert accuracy(p, np.array([1, 0, 2, 1])).item() == 0.75
    assert accuracy(p, torch.eye(3)[indices]).item() == 0.75
    assert accuracy(p.reshape(2, 2, 3), indices.reshape(2, 2)).item() == 0.75


@pytest.mark.parametrize(
    ("p", "y"), [((4, 1), (4,)), ((4, 1), (1, 4)), ((4, 1), (3, 1)), ((0, 1), (0, 1))]
)
def test_shapes_that_differ_are_refused_not_broadcast(p, y):
    with pytest.raises(ValueError, match="accuracy: labels have shape"):
        accuracy(torch.ones(p), torch.ones(y))


def test_scores_have_another_threshold():
    scores, labels = torch.tensor([[0.2], [-0.2], [3.0]]), torch.tensor([[1], [-1], [-1]])
    assert accuracy(scores, labels, threshold=0).item() == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("p", "y"),
    [
        ([[0.1], [torch.nan]], [[0], [1]]),
        ([[0.1], [0.9]], [[0.0], [torch.nan]]),
        ([[0.1, 0.9], [0.9, 0.1]], [[0.0, 1.0], [torch.nan, 0.0]]),
        ([[0.1, 0.9], [0.9, 0.1]], [1.0, torch.nan]),
    ],
)
def test_a_nan_among_predictions_or_labels_gives_nan(p, y):
    assert accuracy(torch.tensor(p), torch.tensor(y)).isnan()


def test_many_rows_in_half_precision_do_not_overflow():
    assert accuracy(torch.ones(200_000, 1, dtype=torch.float16), torch.ones(200_000, 1)) == 1


@pytest.mark.parametrize("columns", [1, 3])
def test_a_weighted_score_counts_a_row_as_often_as_its_weight_says(columns):
    p, y = torch.rand(6, columns), torch.eye(3)[torch.arange(6) % 3][:, :columns]
    times = torch.tensor([2, 0, 1, 1, 3, 0])
    rows = torch.arange(6).repeat_interleave(times)
    labels = torch.cat([y, (times / times.float().mean())[:, None]], dim=1)
    score = weighted(accuracy)
    assert score(p, labels).item() == pytest.approx(accuracy(p[rows], y[rows]).item())
    assert score.of_rows(p.expand(2, 6, columns), labels.expand(2, *labels.shape)).shape == (2, 6)


def test_only_a_mean_over_rows_can_be_weighted():
    with pytest.raises(ValueError, match=r"weighted: .* is no mean over rows"):
        weighted(lambda p, y: (p == y).all())
    assert weighted(over_rows(lambda p, y: y[..., 0])(lambda p, y: y.mean()))
