"""The formulas in NumPy as one would write them well: floats, in place where it is easy."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from experiments.contest.problem import Histories, Problem

SMALLEST = np.float32(1e-30)  # under the logarithm


def logistic(z: Any) -> Any:
    np.negative(z, out=z)
    np.exp(z, out=z)
    z += 1
    return np.reciprocal(z, out=z)


def relu(z: Any) -> Any:
    return np.maximum(z, 0, out=z)


# each takes the activation's output: the book's slopes, told from y
SLOPES: dict[str, Callable[[Any], Any]] = {
    "logistic": lambda y: y * (1 - y),
    "relu": lambda y: y > 0,
}
ACTIVATIONS = {"logistic": logistic, "relu": relu}


def outputs(problem: Problem, weights: list[Any], X: Any) -> list[Any]:
    """X and the output of each layer."""
    found, last = [X], len(weights) - 1
    for place, (W, b) in enumerate(weights):
        act = logistic if place == last else ACTIVATIONS[problem.case.activation]
        z = found[-1] @ W
        z += b
        found.append(act(z))
    return found


def judged(p: Any, y: Any) -> tuple[float, float]:
    right = np.where(y >= 0.5, p, 1 - p)  # labels are 0 or 1
    loss = -np.log(np.maximum(right, SMALLEST)).mean()
    return float(loss), float(((p >= 0.5) == (y >= 0.5)).mean())


def gradients(problem: Problem, weights: list[Any], found: list[Any], y: Any) -> list[Any]:
    grads: list[Any] = []
    g = (found[-1] - y) / np.float32(len(y))
    for place in reversed(range(len(weights))):
        grads.append((found[place].T @ g, g.sum(axis=0, keepdims=True)))
        if place:
            g = g @ weights[place][0].T
            g *= SLOPES[problem.case.activation](found[place])
    return grads[::-1]


class Adam:
    """Kingma, Ba 2015, algorithm 1."""

    def __init__(self, lr: float, weights: list[Any]) -> None:
        self.lr, self.t = lr, 0
        self.means = [[(np.zeros_like(w), np.zeros_like(w)) for w in layer] for layer in weights]

    def step(self, weights: list[Any], grads: list[Any]) -> None:
        self.t += 1
        for layer, layer_grads, means in zip(weights, grads, self.means, strict=True):
            for w, g, (m, s) in zip(layer, layer_grads, means, strict=True):
                m += 0.1 * (g - m)
                s += 0.001 * (g * g - s)
                scale = np.sqrt(s / (1 - 0.999**self.t)) + 1e-8
                w -= self.lr / (1 - 0.9**self.t) * m / scale


class BatchGD:
    """w <- w - lr g."""

    def __init__(self, lr: float, weights: list[Any]) -> None:
        self.lr = lr

    def step(self, weights: list[Any], grads: list[Any]) -> None:
        for layer, layer_grads in zip(weights, grads, strict=True):
            for w, g in zip(layer, layer_grads, strict=True):
                w -= self.lr * g


def train(problem: Problem) -> Callable[[], Histories]:
    def trained() -> Histories:
        weights = [(W.copy(), b.copy()) for W, b in problem.weights]
        make: Any = {"BatchGD": BatchGD, "Adam": Adam}[problem.case.optimizer]
        optimizer, epochs = make(problem.case.lr, weights), []
        for epoch in range(problem.case.epochs):
            loss = score = 0.0
            for X, y in batches(problem, epoch):
                found = outputs(problem, weights, X)
                numbers, share = judged(found[-1], y), len(X) / len(problem.X)
                loss, score = loss + share * numbers[0], score + share * numbers[1]
                optimizer.step(weights, gradients(problem, weights, found, y))
            on_dev = judged(outputs(problem, weights, problem.X_dev)[-1], problem.y_dev)
            epochs.append((loss, score, *on_dev))
        return Histories(*map(list, zip(*epochs, strict=True)))

    return trained


def batches(problem: Problem, epoch: int) -> Iterator[tuple[Any, Any]]:
    size = problem.case.batch_size
    if size is None:
        yield problem.X, problem.y
        return
    for start in range(0, len(problem.X), size):
        rows = problem.orders[epoch][start : start + size]
        yield problem.X[rows], problem.y[rows]


def predict(problem: Problem) -> Callable[[], Any]:
    return lambda: outputs(problem, problem.weights, problem.X)[-1]
