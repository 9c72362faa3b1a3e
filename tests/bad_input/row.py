"""A row of the table, and the good input that its bad one stands beside."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch

NAN, INF = math.nan, math.inf
X = torch.tensor([[0.5, -1.0], [2.0, 0.0], [-0.5, 1.5], [1.0, 1.0]])
Y = torch.tensor([[0.0], [1.0], [1.0], [0.0]])
P = torch.full((4, 1), 0.5)


def nothing(w):
    """What most rows need to be there."""


class Bad(NamedTuple):
    """A call on a world (test_bad_input.py), the error it must end in, what that must say.

    `given` makes ready what the call meets, which it must leave as it was too.
    """

    name: str
    call: Callable[[Any], Any]
    error: type[Exception]
    said: str
    given: Callable[[Any], Any] = nothing


def seeded():
    return torch.Generator().manual_seed(0)
