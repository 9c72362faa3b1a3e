"""The operators and optimizers of NNDL, formula by formula, each result a new tensor."""

from typing import Any

import torch
from torch import Tensor

from experiments.contest.problem import Problem


class Linear:
    """z = x W + b."""

    def __init__(self, W: Tensor, b: Tensor) -> None:
        self.params, self.grads = {"W": W, "b": b}, {}  # type: ignore[var-annotated]

    def __call__(self, inputs: Tensor) -> Tensor:
        self.inputs = inputs
        return torch.matmul(inputs, self.params["W"]) + self.params["b"]

    def backward(self, grads: Tensor) -> Tensor:
        self.grads["W"] = torch.matmul(self.inputs.T, grads)
        self.grads["b"] = torch.sum(grads, dim=0)
        return torch.matmul(grads, self.params["W"].T)


class Logistic:
    """p = 1 / (1 + exp(-z))."""

    def __call__(self, inputs: Tensor) -> Tensor:
        self.outputs = 1.0 / (1.0 + torch.exp(-inputs))
        return self.outputs

    def backward(self, grads: Tensor) -> Tensor:
        return grads * self.outputs * (1.0 - self.outputs)


class ReLU:
    """y = max(0, z)."""

    def __call__(self, inputs: Tensor) -> Tensor:
        self.inputs = inputs
        return torch.maximum(inputs, torch.zeros_like(inputs))

    def backward(self, grads: Tensor) -> Tensor:
        return grads * (self.inputs > 0).float()


class Model:
    """The ops one after another, and back."""

    def __init__(self, problem: Problem) -> None:
        hidden = {"logistic": Logistic, "relu": ReLU}[problem.case.activation]
        self.layers: list[Any] = []
        for W, b in problem.weights:
            self.layers += [Linear(torch.tensor(W), torch.tensor(b)), hidden()]
        self.layers[-1] = Logistic()

    def __call__(self, X: Tensor) -> Tensor:
        for layer in self.layers:
            X = layer(X)
        return X

    def backward(self, grads: Tensor) -> None:
        for layer in reversed(self.layers):
            grads = layer.backward(grads)


class BinaryCrossEntropy:
    """L = -(y^T log p + (1 - y)^T log(1 - p)) / n."""

    def __init__(self, model: Model) -> None:
        self.model = model

    def __call__(self, predicts: Tensor, labels: Tensor) -> Tensor:
        self.predicts, self.labels, self.num = predicts, labels, predicts.shape[0]
        terms = labels.t() @ torch.log(predicts) + (1 - labels.t()) @ torch.log(1 - predicts)
        return torch.squeeze(-terms / self.num, dim=1)

    def backward(self) -> None:
        p, y = self.predicts, self.labels
        self.model.backward(-(y / p - (1 - y) / (1 - p)) / self.num)


class BatchGD:
    """w <- w - lr g."""

    def __init__(self, lr: float, model: Model) -> None:
        self.lr, self.model = lr, model

    def step(self) -> None:
        for layer in self.model.layers:
            if isinstance(layer, Linear):
                for key in layer.params:
                    layer.params[key] = self.moved(layer, key)

    def moved(self, layer: Linear, key: str) -> Tensor:
        return layer.params[key] - self.lr * layer.grads[key]


class Adam(BatchGD):
    """w <- w - lr m^ / (sqrt(s^) + 1e-8), as in chapter 7."""

    def __init__(self, lr: float, model: Model) -> None:
        super().__init__(lr, model)
        self.means: dict[Any, tuple[Any, Any, int]] = {}

    def moved(self, layer: Linear, key: str) -> Tensor:
        g = layer.grads[key]
        m, s, t = self.means.get((layer, key), (0.0, 0.0, 0))
        m, s, t = 0.9 * m + 0.1 * g, 0.999 * s + 0.001 * g**2, t + 1
        self.means[layer, key] = m, s, t
        step = (m / (1 - 0.9**t)) / (torch.sqrt(s / (1 - 0.999**t)) + 1e-8)
        return layer.params[key] - self.lr * step
