"""The loop of NNDL chapter 4 on its own operators: four numbers read back each epoch."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from experiments.competitors.books_ops import Adam, BatchGD, BinaryCrossEntropy, Model
from experiments.contest.problem import Histories, Problem


def accuracy(predicts: Tensor, labels: Tensor) -> Tensor:
    return torch.mean(((predicts >= 0.5).float() == labels).float())


class Runner:
    """The book's RunnerV2_1 without its files."""

    def __init__(self, problem: Problem) -> None:
        self.problem, self.model = problem, Model(problem)
        optimizer = {"BatchGD": BatchGD, "Adam": Adam}[problem.case.optimizer]
        self.optimizer = optimizer(problem.case.lr, self.model)
        self.loss_fn = BinaryCrossEntropy(self.model)
        self.histories = Histories([], [], [], [])

    def train(self, X: Tensor, y: Tensor, X_dev: Tensor, y_dev: Tensor) -> None:
        for epoch in range(self.problem.case.epochs):
            loss = score = 0.0
            for X_batch, y_batch in self.batches(X, y, epoch):
                predicts = self.model(X_batch)
                share = len(X_batch) / len(X)
                loss += share * self.loss_fn(predicts, y_batch).item()
                score += share * accuracy(predicts, y_batch).item()
                self.loss_fn.backward()
                self.optimizer.step()
            predicts = self.model(X_dev)
            self.histories.train_loss.append(loss)
            self.histories.train_score.append(score)
            self.histories.dev_score.append(accuracy(predicts, y_dev).item())
            self.histories.dev_loss.append(self.loss_fn(predicts, y_dev).item())

    def batches(self, X: Tensor, y: Tensor, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        if self.problem.case.batch_size is None:
            yield X, y
            return
        order = torch.from_numpy(self.problem.orders[epoch])
        for rows in order.split(self.problem.case.batch_size):
            yield X[rows], y[rows]


def train(problem: Problem) -> Callable[[], Histories]:
    arrays = (problem.X, problem.y, problem.X_dev, problem.y_dev)
    rows = [torch.from_numpy(array) for array in arrays]

    def trained() -> Histories:
        runner = Runner(problem)
        with torch.no_grad():
            runner.train(*rows)
        return runner.histories

    return trained


def predict(problem: Problem) -> Callable[[], Tensor]:
    model, X = Model(problem), torch.from_numpy(problem.X)
    return lambda: model(X)
