"""What scikit-learn's estimators of opnet share: which net, and on which rows it is trained.

Rows go into a RunnerV2_1; what it has learned comes out under the names that scikit-learn has.
"""

import copy
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

import opnet
from opnet.errors import check_count, check_flag, check_number
from opnet.losses import Loss
from opnet.metrics import weighted
from opnet.op import forget
from opnet.walk import leaf_ops

from . import named
from .callbacks import EarlyStopping
from .runner_v2_1 import RunnerV2_1

DTYPES = [np.float64, np.float32]  # that X stays in; other numbers become the first


class Rows(NamedTuple):
    """X [N, I], labels y [N, O] as the loss takes them, and weights [N], where there are any."""

    X: np.ndarray
    y: np.ndarray
    weights: np.ndarray | None

    def at(self, places: np.ndarray) -> "Rows":
        weights = None if self.weights is None else self.weights[places]
        return Rows(self.X[places], self.y[places], weights)

    def data_set(self) -> list[np.ndarray]:
        """[X, y]; weights, with mean 1, are the last column of y: WeightedLoss reads them there."""
        if self.weights is None:
            return [self.X, self.y]
        return [self.X, np.column_stack([self.y, self.weights / self.weights.mean()])]


class Learner(NamedTuple):
    """What learns, epoch by epoch: `partial_fit` goes on with it."""

    model: Any
    optimizer: opnet.Optimizer
    generator: torch.Generator


class NetEstimator(BaseEstimator):
    """A net and how it is trained; a subclass says what labels are, its head, loss and metric."""

    _accepted: Mapping[str, Any] = MappingProxyType({})  # what validate_data is told of y

    def __init__(
        self,
        hidden_layer_sizes: tuple[int, ...] = (32,),
        activation: str = "tanh",
        *,
        optimizer: str = "adam",
        optimizer_params: dict[str, Any] | None = None,
        learning_rate: float = 0.03,
        epochs: int = 200,
        batch_size: int | None = None,
        block_size: int | None = None,
        weight_decay: float = 0.0,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        patience: int = 10,
        random_state: Any = None,
        device: str = "cpu",
        warm_start: bool = False,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.optimizer = optimizer
        self.optimizer_params = optimizer_params
        self.learning_rate = learning_rate
        self.epochs = epochs
        self.batch_size = batch_size
        self.block_size = block_size
        self.weight_decay = weight_decay
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.random_state = random_state
        self.device = device
        self.warm_start = warm_start

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train on X [N, I] and y [N]; `sample_weight` [N] says how often each row counts.

        The weights of the epoch with the lowest loss stay, also where Ctrl-C ends it.
        NonFiniteError when the loss is nan or infinite.
        """
        who = type(self).__name__
        epochs = check_count(f"{who}: epochs", self.epochs)
        goes_on = check_flag(f"{who}: warm_start", self.warm_start) and hasattr(self, "model_")
        stops = check_flag(f"{who}: early_stopping", self.early_stopping)
        rows = self._rows(X, y, sample_weight, reset=not goes_on, known=goes_on)
        random_state = check_random_state(self.random_state)
        learner = self._begin(rows, random_state, goes_on)
        train, dev = self._split(rows, random_state) if stops else (rows, rows)
        return self._train(learner, train, dev, goes_on, num_epochs=epochs, keep="best_loss")

    def _partial_fit(self, X: Any, y: Any, sample_weight: Any) -> Self:
        goes_on = hasattr(self, "model_")
        rows = self._rows(X, y, sample_weight, reset=not goes_on, known=True)
        if not (learner := getattr(self, "_learner", None)):
            learner = self._begin(rows, check_random_state(self.random_state), goes_on)
        return self._train(learner, rows, rows, goes_on, num_epochs=1, keep="last")

    def _labels(self, y: np.ndarray, known: bool) -> np.ndarray:
        """y as the loss takes it, [N, O]; `known` says that classes_ is what it has to be of."""
        raise NotImplementedError

    def _strata(self, labels: np.ndarray) -> np.ndarray | None:
        """What the rows held out shall have in the shares of all rows."""
        raise NotImplementedError

    def _head(self, outputs: int) -> opnet.Op | None:
        """The op that the net ends in, behind its last Linear."""
        raise NotImplementedError

    def _judges(self, model: Any) -> tuple[Loss, Any]:
        """Loss and metric."""
        raise NotImplementedError

    def to_model(self) -> Any:
        """The trained opnet model, a copy: what becomes of it does not reach the estimator."""
        check_is_fitted(self, "model_")
        return copy.deepcopy(self.model_)

    def _rows(self, X: Any, y: Any, sample_weight: Any, *, reset: bool, known: bool) -> Rows:
        """What came, as the runner takes it; rows that count 0 times are left out."""
        X, y = validate_data(self, X, y, reset=reset, dtype=DTYPES, **self._accepted)
        labels, weights = self._labels(y, known), self._weights(X, y, sample_weight)
        rows = Rows(X, labels.astype(X.dtype), weights)
        if weights is None or weights.all():
            return rows
        if not weights.any():
            raise ValueError(
                f"{type(self).__name__}: every row has weight 0, wanted some that count"
            )
        return rows.at(weights != 0)

    def _weights(self, X: np.ndarray, y: np.ndarray, sample_weight: Any) -> np.ndarray | None:
        if sample_weight is None:
            return None
        how = {"ensure_non_negative": True, "allow_all_zero_weights": False}
        weights: np.ndarray = _check_sample_weight(sample_weight, X, dtype=X.dtype, **how)
        return weights

    def _begin(self, rows: Rows, random_state: np.random.RandomState, goes_on: bool) -> Learner:
        """The net, where there is none to go on with, an optimizer, and what draws the batches."""
        generator = torch.Generator().manual_seed(int(random_state.randint(2**31)))
        model = self.model_ if goes_on else self._net(rows, generator)
        options = {"weight_decay": self.weight_decay, **(self.optimizer_params or {})}
        optimizer = named.optimizer(self.optimizer, self.learning_rate, model, **options)
        return Learner(model, optimizer, generator)

    def _net(self, rows: Rows, generator: torch.Generator) -> opnet.Sequential:
        if not isinstance(hidden := self.hidden_layer_sizes, Iterable):
            who = f"{type(self).__name__}: hidden_layer_sizes"
            raise TypeError(f"{who} is {hidden!r}, wanted a tuple, as (32,)")
        sizes = [rows.X.shape[1], *hidden, rows.y.shape[1]]
        return named.net(
            sizes,
            self.activation,
            self._head(sizes[-1]),
            generator=generator,
            device=self.device,
            dtype=torch.float32 if rows.X.dtype == np.float32 else torch.float64,
        )

    def _split(self, rows: Rows, random_state: np.random.RandomState) -> tuple[Rows, Rows]:
        """The rows to train on, and those held out."""
        who, share = f"{type(self).__name__}: validation_fraction", self.validation_fraction
        share = check_number(who, share, "0 < a number < 1", lambda f: 0 < f < 1)
        how = {"stratify": self._strata(rows.y), "random_state": random_state, "test_size": share}
        train, dev = train_test_split(np.arange(len(rows.X)), **how)
        return rows.at(train), rows.at(dev)

    def _train(self, learner: Learner, train: Rows, dev: Rows, goes_on: bool, **how: Any) -> Self:
        """One `RunnerV2_1.train`; whatever ends it, what it has learned is kept."""
        loss_fn, metric = self._judges(learner.model)
        if train.weights is not None:
            loss_fn, metric = opnet.WeightedLoss(loss_fn), weighted(metric)
        runner = RunnerV2_1(learner.model, learner.optimizer, metric, loss_fn)
        held_out = dev is not train
        how |= {"batch_size": self.batch_size, "block_size": self.block_size, "log_epochs": 0}
        how |= {"callbacks": [EarlyStopping(self.patience)] if held_out else []}
        try:
            runner.train(train.data_set(), dev.data_set(), generator=learner.generator, **how)
        finally:
            if runner.train_loss:
                self._keep(learner, runner, goes_on, held_out)
        return self

    def _keep(self, learner: Learner, runner: RunnerV2_1, goes_on: bool, held_out: bool) -> None:
        """Learned state, under scikit-learn's names."""
        forget(learner.model)  # the rows, which would be pickled with it
        self._learner, self.model_ = learner, learner.model
        before = self if goes_on else None
        self.loss_curve_ = getattr(before, "loss_curve_", []) + runner.train_loss
        self.validation_loss_curve_ = runner.dev_loss if held_out else None
        self.validation_scores_ = runner.dev_scores if held_out else None
        self.loss_ = runner.dev_loss[runner.kept_epoch or 0]
        self.n_iter_ = len(self.loss_curve_)

    def _outputs(self, X: Any) -> np.ndarray:
        check_is_fitted(self, "model_")
        X = validate_data(self, X, reset=False, dtype=DTYPES)
        outputs: np.ndarray = RunnerV2_1(self.model_, None, None, None).predict(X).cpu().numpy()
        return outputs

    @classmethod
    def _wrapping(cls, model: Any, **params: Any) -> tuple[Self, int]:
        """An estimator around a copy of `model`, and how many outputs it has."""
        first = next((op for op in leaf_ops(model) if hasattr(op, "input_size")), None)
        if first is None:
            raise ValueError(f"{cls.__name__}: no op of {model!r:.80} says its input_size")
        estimator = cls(**params)
        estimator.model_ = copy.deepcopy(model)
        estimator.n_features_in_ = first.input_size
        outputs = estimator._outputs(np.zeros((1, first.input_size)))
        return estimator, outputs.shape[-1]
