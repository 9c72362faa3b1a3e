"""opnet as a user writes it: a plain RunnerV2_1, which also keeps the best weights."""

from collections.abc import Callable

import torch
from torch import Tensor

from experiments.contest.problem import Histories, Problem
from opnet import (
    Adam,
    BatchGD,
    BinaryCrossEntropyLoss,
    Linear,
    Logistic,
    Op,
    ReLU,
    Sequential,
    accuracy,
)
from runners import RunnerV2_1


def model_of(problem: Problem) -> Sequential:
    hidden = {"logistic": Logistic, "relu": ReLU}[problem.case.activation]
    ops: list[Op] = []
    for W, b in problem.weights:
        linear = Linear(*W.shape)
        linear.params["W"].copy_(torch.from_numpy(W))
        linear.params["b"].copy_(torch.from_numpy(b))
        ops += [linear, hidden()]
    return Sequential(*ops[:-1], Logistic())


def train(problem: Problem) -> Callable[[], Histories]:
    train_set, dev_set = problem.sets()

    def trained() -> Histories:
        model, case = model_of(problem).to(problem.device), problem.case
        optimizer = {"BatchGD": BatchGD, "Adam": Adam}[case.optimizer](case.lr, model)
        runner = RunnerV2_1(model, optimizer, accuracy, BinaryCrossEntropyLoss(model))
        generator = torch.Generator().manual_seed(problem.seed)
        runner.train(
            train_set,
            dev_set,
            num_epochs=case.epochs,
            log_epochs=0,
            batch_size=case.batch_size,
            generator=generator,
        )
        return Histories(runner.train_loss, runner.train_scores, runner.dev_loss, runner.dev_scores)

    return trained


def predict(problem: Problem) -> Callable[[], Tensor]:
    runner = RunnerV2_1(model_of(problem), None, accuracy, None)
    X = torch.from_numpy(problem.X)
    return lambda: runner.predict(X)
