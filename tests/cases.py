"""The table of ops: a case is a row, a law (test_laws.py) is run over every row."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch

from opnet import Linear, Logistic, Model_MLP_L2, Sequential

WIDE = {"dtype": torch.float64}


class Case(NamedTuple):
    """An op in float64 and the shape of the inputs that it takes, without batch axes."""

    name: str
    make: Callable[[], Any]
    shape: tuple[int, int]


CASES = [
    Case("Linear", lambda: Linear(3, 4, "fc1", **WIDE), (5, 3)),
    Case("Linear, one row", lambda: Linear(3, 4, "fc1", **WIDE), (1, 3)),
    Case("Linear, no b", lambda: Linear(3, 4, "fc1", bias_init=None, **WIDE), (5, 3)),
    Case("Linear, b drawn", lambda: Linear(2, 1, "fc1", bias_init=torch.randn, **WIDE), (5, 2)),
    Case("Logistic", Logistic, (5, 3)),
    Case("Sequential", lambda: Sequential(Linear(3, 2, "a", **WIDE), Logistic()), (5, 3)),
    Case(
        "Sequential in a Sequential",
        lambda: Sequential(
            Sequential(Logistic(), Linear(3, 2, "a", **WIDE)), Linear(2, 2, "b", **WIDE)
        ),
        (5, 3),
    ),
    Case("Model_MLP_L2", lambda: Model_MLP_L2(2, 5, 1, **WIDE), (7, 2)),
]

# logits at which p has and has not rounded to 0 or 1, with each label
LOGITS = [0.0, 1e-8, -1e-8, 17.0, -17.0, 20.0, -20.0, 90.0, -90.0, 1e4, -1e4]
