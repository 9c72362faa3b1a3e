"""Learning rates: f(epoch) -> rate, epochs counted from 0. Any such callable is a schedule."""

import copy
import math
from collections.abc import Callable, Iterable

from .errors import check_count, check_fraction, check_positive, check_rate

LEAST_CHANGE = 1e-8  # a rate that would fall by no more than this stays, as in torch


class Schedule:
    """rate = f(epoch), epochs from 0. A subclass writes `__call__`.

    One that has `observe(loss)` is told the dev loss after each epoch of `RunnerV2_1.train`.
    """

    def __call__(self, epoch: int) -> float:
        raise NotImplementedError(f"{type(self).__name__}: has no __call__")

    def simulate(self, epochs: int | Iterable[float]) -> list[float]:
        """[f(0), ..., f(epochs - 1)], as for a plot.

        Where f observes losses, `epochs` may be those losses; a number stands for so many that
        never fall.
        TypeError, ValueError for anything else. The schedule itself stays as it is.
        """
        who = type(self).__name__
        if not hasattr(self, "observe"):
            return [self(epoch) for epoch in range(check_count(f"{who}: epochs", epochs, lowest=0))]
        if not isinstance(epochs, Iterable):
            epochs = [1.0] * check_count(f"{who}: epochs", epochs, lowest=0)
        schedule, rates = copy.deepcopy(self), []
        for epoch, loss in enumerate(epochs):
            rates.append(schedule(epoch))
            schedule.observe(loss)
        return rates


class Constant(Schedule):
    """rate = init_lr. ValueError, TypeError unless that is finite and >= 0."""

    def __init__(self, init_lr: float) -> None:
        self.init_lr = check_rate(f"{type(self).__name__}: init_lr", init_lr)

    def __call__(self, epoch: int) -> float:
        return self.init_lr


class StepDecay(Constant):
    """rate = init_lr gamma^floor(epoch / step_size).

    ValueError, TypeError unless step_size is a whole number >= 1 and gamma > 0.
    Source: as torch's StepLR.
    """

    def __init__(self, init_lr: float, step_size: int, gamma: float = 0.1) -> None:
        super().__init__(init_lr)
        self.step_size = check_count("StepDecay: step_size", step_size)
        self.gamma = check_positive("StepDecay: gamma", gamma)

    def __call__(self, epoch: int) -> float:
        return self.init_lr * self.gamma ** (epoch // self.step_size)


class Exponential(Constant):
    """rate = init_lr gamma^epoch. ValueError, TypeError unless gamma > 0.

    Source: as torch's ExponentialLR.
    """

    def __init__(self, init_lr: float, gamma: float) -> None:
        super().__init__(init_lr)
        self.gamma = check_positive("Exponential: gamma", gamma)

    def __call__(self, epoch: int) -> float:
        return self.init_lr * self.gamma**epoch


class Cosine(Constant):
    """rate = min_lr + (init_lr - min_lr) (1 + cos(pi epoch / num_epochs)) / 2.

    Half a wave down to min_lr at num_epochs, and up again after it. ValueError, TypeError unless
    num_epochs is a whole number >= 1 and min_lr >= 0.
    Source: Loshchilov, Hutter 2017, eq. 5; as torch's CosineAnnealingLR.
    """

    def __init__(self, init_lr: float, num_epochs: int, min_lr: float = 0.0) -> None:
        super().__init__(init_lr)
        self.num_epochs = check_count("Cosine: num_epochs", num_epochs)
        self.min_lr = check_rate("Cosine: min_lr", min_lr)

    def __call__(self, epoch: int) -> float:
        wave = 1 + math.cos(math.pi * epoch / self.num_epochs)
        return self.min_lr + (self.init_lr - self.min_lr) * wave / 2


class WarmUp(Schedule):
    """rate = f(epoch) min(1, (epoch + 1) / num_epochs),  f any schedule.

    The share of f rises in equal parts from 1 / num_epochs in epoch 0 to 1 in epoch num_epochs - 1;
    f counts the epochs of the warm-up too. ValueError, TypeError unless `schedule` is a callable
    and num_epochs a whole number >= 1.
    Source: Goyal et al. 2017, section 2.2; as torch's LinearLR chained with f.
    """

    def __init__(self, schedule: Callable[[int], float], num_epochs: int) -> None:
        if not callable(schedule):
            raise TypeError(f"WarmUp: schedule is {schedule!r}, wanted a callable: epoch -> rate")
        self.schedule = schedule
        self.num_epochs = check_count("WarmUp: num_epochs", num_epochs)
        if hasattr(schedule, "observe"):  # only then does it want to be told the dev loss
            self.observe = schedule.observe

    def __call__(self, epoch: int) -> float:
        return self.schedule(epoch) * min(1.0, (epoch + 1) / self.num_epochs)


class ReduceOnPlateau(Constant):
    """rate <- max(factor rate, min_lr) when the loss has not fallen for more than patience epochs.

    Fallen means below (1 - threshold) times the lowest one since the start; after a cut the epochs
    are counted anew. `observe(loss)` tells the loss of an epoch, `train` does so with the dev loss;
    asked for epoch 0, the schedule starts anew. ValueError, TypeError unless 0 <= factor,
    threshold < 1, patience is a whole number >= 0 and min_lr >= 0.
    Source: as torch's ReduceLROnPlateau.
    """

    def __init__(
        self,
        init_lr: float,
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        min_lr: float = 0.0,
    ) -> None:
        super().__init__(init_lr)
        self.factor = check_fraction("ReduceOnPlateau: factor", factor)
        self.patience = check_count("ReduceOnPlateau: patience", patience, lowest=0)
        self.threshold = check_fraction("ReduceOnPlateau: threshold", threshold)
        self.min_lr = check_rate("ReduceOnPlateau: min_lr", min_lr)
        self._start()

    def _start(self) -> None:
        self.rate, self.lowest, self.waited = self.init_lr, math.inf, 0

    def __call__(self, epoch: int) -> float:
        if epoch == 0:
            self._start()
        return self.rate

    def observe(self, loss: float) -> None:
        if loss < self.lowest * (1 - self.threshold):
            self.lowest, self.waited = loss, 0
        else:
            self.waited += 1
        if self.waited > self.patience:
            self.waited = 0
            reduced = max(self.rate * self.factor, self.min_lr)
            if self.rate - reduced > LEAST_CHANGE:
                self.rate = reduced
