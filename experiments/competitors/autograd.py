"""nn.Module, autograd, torch.optim, DataLoader: what most people write."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.utils.data import DataLoader, TensorDataset

from experiments.contest.problem import Histories, Problem

Judge = Callable[[Any, Tensor, Tensor], tuple[Tensor, Tensor]]


def judge(net: nn.Module, X: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Loss and accuracy from the logits, the fastest form that is exact."""
    z = net(X)
    return binary_cross_entropy_with_logits(z, y), ((z >= 0) == (y >= 0.5)).float().mean()


def network(problem: Problem) -> nn.Sequential:
    """The net up to its logits."""
    hidden = {"logistic": nn.Sigmoid, "relu": nn.ReLU}[problem.case.activation]
    layers: list[nn.Module] = []
    for W, _ in problem.weights:
        layers += [nn.Linear(*W.shape), hidden()]
    net = nn.Sequential(*layers[:-1])
    set_start(net, problem)
    return net


@torch.no_grad()
def set_start(net: nn.Sequential, problem: Problem) -> None:
    for place, (W, b) in enumerate(problem.weights):
        layer: Any = net[2 * place]
        layer.weight.copy_(torch.from_numpy(W).T)
        layer.bias.copy_(torch.from_numpy(b)[0])


def batches(problem: Problem, train_set: list[Tensor], epoch: int) -> Iterable[Any]:
    if problem.case.batch_size is None:
        return [train_set]
    order = problem.orders[epoch].tolist()
    return DataLoader(TensorDataset(*train_set), problem.case.batch_size, sampler=order)


def train(problem: Problem, judge: Judge = judge) -> Callable[[], Histories]:
    train_set, dev_set = problem.sets()
    net = network(problem).to(problem.device)
    make = {"BatchGD": torch.optim.SGD, "Adam": torch.optim.Adam}[problem.case.optimizer]

    def trained() -> Histories:
        set_start(net, problem)
        optimizer = make(net.parameters(), lr=problem.case.lr)
        histories = Histories([], [], [], [])
        for epoch in range(problem.case.epochs):
            totals = [0.0, 0.0]
            for X, y in batches(problem, train_set, epoch):
                optimizer.zero_grad()
                loss, score = judge(net, X, y)
                loss.backward()
                optimizer.step()
                share = len(X) / len(train_set[0])
                totals = [totals[0] + share * loss.item(), totals[1] + share * score.item()]
            with torch.no_grad():
                on_dev = [number.item() for number in judge(net, *dev_set)]
            for history, number in zip(histories, (*totals, *on_dev), strict=True):
                history.append(number)
        return histories

    return trained


def predict(
    problem: Problem, compiled: Callable[[Any], Any] = lambda net: net
) -> Callable[[], Tensor]:
    net = compiled(nn.Sequential(network(problem), nn.Sigmoid()))
    X = torch.from_numpy(problem.X)

    def predicted() -> Tensor:
        with torch.no_grad():
            return net(X)

    return predicted
