"""The same through torch.compile: forward, loss, score and their backward are compiled."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from experiments.competitors import autograd
from experiments.contest.problem import Histories, Problem

fixed = partial(torch.compile, dynamic=False)  # code for the one shape of each set


def train(problem: Problem) -> Callable[[], Histories]:
    return autograd.train(problem, fixed(autograd.judge))


def predict(problem: Problem) -> Callable[[], Any]:
    return autograd.predict(problem, fixed)
