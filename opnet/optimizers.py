"""Rules that move `params` along `grads`: one equation and one source each.

In all of them p is a param, g = dL/dp as `Optimizer.walk` gives it, lr the current rate.
"""

from typing import Any, Unpack

import torch
from torch import Tensor

from .doors import without_graph
from .errors import check_flag, check_fraction, check_positive
from .optimizer import Memory, Optimizer, Options


class BatchGD(Optimizer):
    """p <- p - lr g: gradient descent.

    p a param, g = dL/dp. Source: NNDL 4.2; Cauchy 1847.
    """

    @without_graph
    def step(self) -> None:
        for p, g, _ in self.walk():
            p.add_(g, alpha=-self.lr)


class Momentum(Optimizer):
    """v <- rho v + g,  p <- p - lr v;  with nesterov p <- p - lr (g + rho v).

    p a param, g = dL/dp, v its velocity, 0 at the start; 0 <= rho < 1, else a ValueError.
    Source: Polyak 1964; nesterov: Sutskever, Martens, Dahl, Hinton 2013; both as torch.optim.SGD.
    """

    def __init__(
        self,
        init_lr: float,
        model: Any,
        rho: float = 0.9,
        nesterov: bool = False,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(init_lr, model, **options)
        self.rho = check_fraction("Momentum: rho", rho)
        self.nesterov = check_flag("Momentum: nesterov", nesterov)

    def remember(self, param: Tensor) -> Memory:
        return {"velocity": torch.zeros_like(param)}

    @without_graph
    def step(self) -> None:
        for p, g, memory in self.walk():
            v = memory["velocity"].mul_(self.rho).add_(g)
            p.add_(g.add(v, alpha=self.rho) if self.nesterov else v, alpha=-self.lr)


class Adagrad(Optimizer):
    """s <- s + g^2,  p <- p - lr g / (sqrt(s) + epsilon).

    p a param, g = dL/dp, s the sum of its squares, 0 at the start; epsilon > 0, else a ValueError.
    Source: Duchi, Hazan, Singer 2011; as torch.optim.Adagrad.
    """

    def __init__(
        self, init_lr: float, model: Any, epsilon: float = 1e-10, **options: Unpack[Options]
    ) -> None:
        super().__init__(init_lr, model, **options)
        self.epsilon = check_positive("Adagrad: epsilon", epsilon)

    def remember(self, param: Tensor) -> Memory:
        return {"sum_of_squares": torch.zeros_like(param)}

    @without_graph
    def step(self) -> None:
        for p, g, memory in self.walk():
            s = memory["sum_of_squares"].addcmul_(g, g)
            p.addcdiv_(g, s.sqrt().add_(self.epsilon), value=-self.lr)


class RMSprop(Optimizer):
    """s <- beta s + (1 - beta) g^2,  p <- p - lr g / (sqrt(s) + epsilon).

    p a param, g = dL/dp, s the running mean of its squares, 0 at the start; 0 <= beta < 1 and
    epsilon > 0, else a ValueError.
    Source: Tieleman, Hinton 2012, lecture 6.5; as torch.optim.RMSprop.
    """

    def __init__(
        self,
        init_lr: float,
        model: Any,
        beta: float = 0.99,
        epsilon: float = 1e-8,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(init_lr, model, **options)
        self.beta = check_fraction("RMSprop: beta", beta)
        self.epsilon = check_positive("RMSprop: epsilon", epsilon)

    def remember(self, param: Tensor) -> Memory:
        return {"mean_of_squares": torch.zeros_like(param)}

    @without_graph
    def step(self) -> None:
        for p, g, memory in self.walk():
            s = memory["mean_of_squares"].mul_(self.beta).addcmul_(g, g, value=1 - self.beta)
            p.addcdiv_(g, s.sqrt().add_(self.epsilon), value=-self.lr)


class Adam(Optimizer):
    """p <- p - lr m^ / (sqrt(s^) + epsilon),  m^ = m / (1 - beta1^t),  s^ = s / (1 - beta2^t).

    m <- beta1 m + (1 - beta1) g and s <- beta2 s + (1 - beta2) g^2 are running means of g = dL/dp
    and of its squares, 0 at the start; t counts the steps of the param p. Dividing by 1 - beta^t
    makes up for the start at 0. 0 <= beta1, beta2 < 1 and epsilon > 0, else a ValueError.
    Source: Kingma, Ba 2015, algorithm 1; as torch.optim.Adam.
    """

    def __init__(
        self,
        init_lr: float,
        model: Any,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(init_lr, model, **options)
        self.beta1 = check_fraction("Adam: beta1", beta1)
        self.beta2 = check_fraction("Adam: beta2", beta2)
        self.epsilon = check_positive("Adam: epsilon", epsilon)

    def remember(self, param: Tensor) -> Memory:
        return {"mean": torch.zeros_like(param), "mean_of_squares": torch.zeros_like(param), "t": 0}

    @without_graph
    def step(self) -> None:
        for p, g, memory in self.walk():
            t = memory["t"] = memory["t"] + 1
            m = memory["mean"].mul_(self.beta1).add_(g, alpha=1 - self.beta1)
            s = memory["mean_of_squares"].mul_(self.beta2).addcmul_(g, g, value=1 - self.beta2)
            unbiased = s.div(1 - self.beta2**t)
            rate = self.lr / (1 - self.beta1**t)
            p.addcdiv_(m, unbiased.sqrt_().add_(self.epsilon), value=-rate)
