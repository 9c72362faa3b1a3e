"""scikit-learn's MLPClassifier, a partial_fit a step; scores and dev losses are asked for."""

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.neural_network import MLPClassifier

from experiments.competitors import numpy_loop
from experiments.contest.problem import Histories, Problem


def classifier(problem: Problem) -> Any:
    """At the start weights, which it has no argument for: they are put into a fitted one."""
    case = problem.case
    net = MLPClassifier(
        case.widths[1:-1],
        activation=case.activation,
        solver={"BatchGD": "sgd", "Adam": "adam"}[case.optimizer],
        alpha=0.0,
        batch_size=case.batch_size or case.rows,
        learning_rate_init=case.lr,
        shuffle=False,
        momentum=0.0,
        nesterovs_momentum=False,
    )
    net.batch_size = 2
    net.partial_fit(problem.X[:2], np.array([0, 1]), classes=[0, 1])
    net.batch_size = case.batch_size or case.rows
    net.coefs_ = [W.copy() for W, _ in problem.weights]
    net.intercepts_ = [b[0].copy() for _, b in problem.weights]
    del net._optimizer
    return net


def train(problem: Problem) -> Callable[[], Histories]:
    def trained() -> Histories:
        net, epochs = classifier(problem), []
        for epoch in range(problem.case.epochs):
            loss = score = 0.0
            for X, y in numpy_loop.batches(problem, epoch):
                share = len(X) / len(problem.X)
                score += share * float((net.predict(X) == y[:, 0]).mean())
                net.partial_fit(X, y[:, 0])
                loss += share * float(net.loss_)
            on_dev = numpy_loop.judged(net.predict_proba(problem.X_dev)[:, 1:], problem.y_dev)
            epochs.append((loss, score, *on_dev))
        return Histories(*map(list, zip(*epochs, strict=True)))

    return trained


def predict(problem: Problem) -> Callable[[], Any]:
    net = classifier(problem)
    return lambda: net.predict_proba(problem.X)[:, 1]
