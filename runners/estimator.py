"""OpNetClassifier and OpNetRegressor: opnet's nets as scikit-learn's estimators."""

from types import MappingProxyType
from typing import Any, Self

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils import compute_sample_weight
from sklearn.utils.multiclass import (
    _check_partial_fit_first_call,
    check_classification_targets,
    unique_labels,
)

import opnet
from opnet.losses import Loss
from opnet.metrics import negative_squared_error
from opnet.walk import last_op

from . import named
from .estimator_base import NetEstimator


class OpNetClassifier(ClassifierMixin, NetEstimator):
    """A net that ends in the probabilities of 2 or more classes, trained on the cross-entropy.

    hidden_layer_sizes  units of each layer between inputs and outputs
    activation          behind each of them: elu, gelu, leaky_relu, logistic, relu, softplus, swish
                        or tanh
    optimizer           adagrad, adam, momentum, rmsprop or sgd, with more arguments of its class in
                        `optimizer_params`; `learning_rate` and `weight_decay` (L2) are for all
    epochs              at most so many; an epoch is one step on all rows, or with a `batch_size`
                        one on each batch
    block_size          how many rows go through the net at once: changes no number but by rounding
    class_weight        {class: how often its rows count}, or "balanced"
    early_stopping      hold out `validation_fraction` of the rows, with the shares of the classes,
                        and stop when their loss has not fallen for `patience` epochs
    random_state        says all that is drawn: weights, held-out rows, batches
    device              where the net is: cpu, cuda, ...
    warm_start          a second `fit` goes on from the weights of the first

    The weights with the lowest loss are kept: on the rows held out, else on all rows. X of float32
    is computed in float32, other X in float64. A row of weight 2 is as two rows, one of weight 0 as
    none. Learned are `classes_`, `n_features_in_`, `model_` (the net), `n_iter_` (epochs),
    `loss_curve_` (of each epoch), `loss_` (of the weights kept), and with `early_stopping`
    `validation_loss_curve_` and `validation_scores_` (accuracies), else None.
    ValueError, TypeError for what does not fit, in fit.
    Source: scikit-learn, the contract of estimators.
    """

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
        class_weight: Any = None,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        patience: int = 10,
        random_state: Any = None,
        device: str = "cpu",
        warm_start: bool = False,
    ) -> None:
        super().__init__(
            hidden_layer_sizes,
            activation,
            optimizer=optimizer,
            optimizer_params=optimizer_params,
            learning_rate=learning_rate,
            epochs=epochs,
            batch_size=batch_size,
            block_size=block_size,
            weight_decay=weight_decay,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            patience=patience,
            random_state=random_state,
            device=device,
            warm_start=warm_start,
        )
        self.class_weight = class_weight

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """One epoch on X, y, with what the optimizer has kept; `classes` at the first call."""
        if self.class_weight == "balanced":
            mend = "wanted the weights that compute_class_weight makes of all of y"
            raise ValueError(f"OpNetClassifier: class_weight='balanced' in partial_fit, {mend}")
        _check_partial_fit_first_call(self, classes)
        return self._partial_fit(X, y, sample_weight)

    def predict_proba(self, X: Any) -> np.ndarray:
        """The probabilities of the classes [N, C], in the order of `classes_`."""
        p = self._outputs(X)
        return np.column_stack([1 - p, p]) if p.shape[1] == 1 else p

    def predict(self, X: Any) -> np.ndarray:
        """The class of the highest probability [N]."""
        probabilities = self.predict_proba(X)
        classes: np.ndarray = self.classes_[probabilities.argmax(axis=1)]
        return classes

    @classmethod
    def from_model(cls, model: Any, *, classes: Any = None, **params: Any) -> Self:
        """A fitted classifier around a copy of a trained model, whose outputs are probabilities.

        `classes` names them, sorted, in the order of the outputs; 0, 1, ... if not given. `predict`
        works at once; `partial_fit`, and `fit` with `warm_start=True`, go on from it. ValueError
        for a model that does not end in a Logistic with one output or a Softmax, and unless there
        is a name for each class, in their order.
        """
        estimator, outputs = cls._wrapping(model, **params)
        if not isinstance(last_op(model), opnet.Logistic if outputs == 1 else opnet.Softmax):
            wanted = "a Logistic with one output or a Softmax"
            raise ValueError(f"{cls.__name__}: the model ends in {last_op(model)}, wanted {wanted}")
        count = max(outputs, 2)
        estimator.classes_ = np.arange(count) if classes is None else np.unique(classes)
        if classes is not None and list(classes) != estimator.classes_.tolist():
            came = f"{cls.__name__}: classes are {list(classes)!r:.80}"
            raise ValueError(f"{came}, wanted each once and sorted, in the order of the outputs")
        if len(estimator.classes_) != count:
            came = f"{cls.__name__}: classes are {len(estimator.classes_)}"
            raise ValueError(f"{came}, the model has {count}")
        return estimator

    def _labels(self, y: np.ndarray, known: bool) -> np.ndarray:
        """A column of 0 and 1 for two classes, a column for each of more."""
        check_classification_targets(y)
        if not known:
            self.classes_ = unique_labels(y)
        if (count := len(self.classes_)) < 2:
            raise ValueError(f"OpNetClassifier: y has {count} class, wanted 2 classes or more")
        if (foreign := np.setdiff1d(y, self.classes_)).size:
            came = ", ".join(map(str, foreign[:5]))
            raise ValueError(f"OpNetClassifier: y has classes that are not in classes_: {came}")
        places = np.searchsorted(self.classes_, y)
        return places.reshape(-1, 1) if count == 2 else np.eye(count)[places]

    def _strata(self, labels: np.ndarray) -> np.ndarray:
        return labels if labels.shape[1] == 1 else labels.argmax(axis=1)

    def _weights(self, X: np.ndarray, y: np.ndarray, sample_weight: Any) -> np.ndarray | None:
        weights = super()._weights(X, y, sample_weight)
        if self.class_weight is None:
            return weights
        of_class = compute_sample_weight(self.class_weight, y).astype(X.dtype)
        if not (of_class >= 0).all():
            came = f"OpNetClassifier: class_weight is {self.class_weight!r:.80}"
            raise ValueError(f"{came}, wanted numbers >= 0")
        return of_class if weights is None else of_class * weights

    def _head(self, outputs: int) -> opnet.Op:
        return opnet.Logistic() if outputs == 1 else opnet.Softmax()

    def _judges(self, model: Any) -> tuple[Loss, Any]:
        return named.judges(model)


class OpNetRegressor(RegressorMixin, NetEstimator):
    """A net that ends in one number for each target, trained on the squared error.

    Arguments and learned state are those of OpNetClassifier, without classes and their weights;
    `validation_scores_` are the negative squared errors. y is [N], or [N, O] for O targets.
    """

    _accepted = MappingProxyType({"y_numeric": True, "multi_output": True})

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """One epoch on X, y, with what the optimizer has kept."""
        return self._partial_fit(X, y, sample_weight)

    def predict(self, X: Any) -> np.ndarray:
        """The targets, [N], or [N, O] of O > 1."""
        outputs = self._outputs(X)
        return outputs[:, 0] if outputs.shape[1] == 1 else outputs

    @classmethod
    def from_model(cls, model: Any, **params: Any) -> Self:
        """A fitted regressor around a copy of a trained model.

        `predict` works at once; `partial_fit`, and `fit` with `warm_start=True`, go on from it.
        """
        return cls._wrapping(model, **params)[0]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _labels(self, y: np.ndarray, known: bool) -> np.ndarray:
        return y.reshape(len(y), -1)

    def _strata(self, labels: np.ndarray) -> None:
        return None

    def _head(self, outputs: int) -> None:
        return None

    def _judges(self, model: Any) -> tuple[Loss, Any]:
        return opnet.MeanSquaredErrorLoss(model), negative_squared_error
