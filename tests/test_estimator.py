"""The estimators: scikit-learn's own contract, what weights mean, and what they share with it."""

import pickle
import warnings
from itertools import product

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_iris, make_moons, make_regression
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

import opnet
from experiments import estimators
from opnet import NonFiniteError
from opnet.walk import every_op, state
from runners import EarlyStopping, OpNetClassifier, OpNetRegressor, RunnerV2_1
from runners.named import ACTIVATIONS, OPTIMIZERS

BOTH = pytest.mark.parametrize("make", [OpNetClassifier, OpNetRegressor])
X_MOONS, Y_MOONS = make_moons(120, noise=0.2, random_state=0)
IRIS = load_iris(return_X_y=True)
MISSING = ("pandas is not installed", "SCIPY_ARRAY_API is not set")


def data_for(make):
    if make is OpNetClassifier:
        return X_MOONS, Y_MOONS
    X, y = make_regression(80, 3, noise=1.0, random_state=0)
    return StandardScaler().fit_transform(X), y / y.std()


def outputs(estimator, X):
    return getattr(estimator, "predict_proba", estimator.predict)(X)


def failed(estimator):
    """The checks that fail; what is skipped is skipped for a package that is not installed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn's, of what it skips
        results = check_estimator(estimator, on_fail=None)
    assert len(results) > 50
    skipped = [str(r["exception"]) for r in results if r["status"] == "skipped"]
    assert all(any(why in said for why in MISSING) for said in skipped)
    return {r["check_name"]: r["exception"] for r in results if r["status"] == "failed"}


# --- scikit-learn's contract


@BOTH
def test_every_check_of_scikit_learn_passes(make):
    assert not failed(make())


@BOTH
def test_every_check_passes_after_pickling(make):
    assert not failed(pickle.loads(pickle.dumps(make().fit(*data_for(make)))))


@pytest.mark.parametrize(
    ("ours", "theirs"), [(OpNetClassifier, LogisticRegression), (OpNetRegressor, Ridge)]
)
def test_in_a_pipeline_fails_only_what_every_pipeline_does(ours, theirs):
    """A Pipeline of this scikit-learn changes its `steps`; it excuses itself from two checks."""
    of_pipelines = failed(make_pipeline(StandardScaler(), theirs())).keys()
    assert failed(make_pipeline(StandardScaler(), ours(random_state=0))).keys() == of_pipelines
    assert of_pipelines <= {"check_estimators_overwrite_params", "check_dont_overwrite_parameters"}


def test_on_moons_it_beats_a_line_and_keeps_up_with_lbfgs():
    """Over 10 splits: >= 8 points above LogisticRegression, within 1 of MLPClassifier(lbfgs)."""
    splits = [estimators.one_split(seed, "cpu") for seed in range(estimators.SPLITS)]
    names = ("OpNetClassifier()", "LogisticRegression()", "MLPClassifier(solver='lbfgs')")
    ours, line, lbfgs = (np.mean([split[name][0] for split in splits]) for name in names)
    assert ours >= line + 0.08
    assert ours >= lbfgs - 0.01


def test_at_home_in_model_selection():
    pipeline = make_pipeline(StandardScaler(), OpNetClassifier(epochs=60, random_state=0))
    grid = GridSearchCV(pipeline, {"opnetclassifier__activation": ["tanh", "relu"]}, cv=2)
    assert grid.fit(X_MOONS, Y_MOONS).best_score_ > 0.85
    assert cross_val_score(pipeline, *IRIS, cv=3).min() > 0.9
    calibrated = CalibratedClassifierCV(pipeline, cv=2).fit(X_MOONS, Y_MOONS)
    np.testing.assert_allclose(calibrated.predict_proba(X_MOONS).sum(axis=1), 1)


@BOTH
def test_a_clone_is_not_fitted_and_a_pickle_gives_the_same_numbers(make):
    X, y = data_for(make)
    fitted = make(epochs=5, learning_rate=0.1).fit(X, y)
    again = pickle.loads(pickle.dumps(fitted))
    assert np.array_equal(outputs(again, X), outputs(fitted, X))
    assert len(pickle.dumps(make(epochs=5).fit(np.tile(X, (9, 1)), np.tile(y, 9)))) < 20_000
    assert clone(fitted).get_params() == fitted.get_params()
    with pytest.raises(NotFittedError):
        clone(fitted).predict(X)
    with pytest.raises(NotFittedError):
        clone(fitted).to_model()


# --- what a fit is


@pytest.mark.parametrize("how", [{}, {"batch_size": 16}, {"early_stopping": True}])
@BOTH
def test_a_random_state_says_all_and_the_global_generators_are_left_alone(make, how):
    X, y = data_for(make)
    before, numpys = torch.get_rng_state(), np.random.get_state()[1].copy()
    one, two = (make(epochs=20, random_state=3, **how).fit(X, y) for _ in range(2))
    assert np.array_equal(outputs(one, X), outputs(two, X))
    assert one.loss_curve_ == two.loss_curve_
    other = make(epochs=20, random_state=4, **how).fit(X, y)
    assert not np.array_equal(outputs(one, X), outputs(other, X))
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(np.random.get_state()[1], numpys)


def test_a_fit_is_a_training_of_the_runner():
    fitted = OpNetClassifier((4,), epochs=30, random_state=0).fit(X_MOONS, Y_MOONS)
    model = OpNetClassifier((4,), epochs=1, learning_rate=0.0, random_state=0)
    model = model.fit(X_MOONS, Y_MOONS).to_model()  # as it was drawn
    optimizer, loss_fn = opnet.Adam(0.03, model), opnet.BinaryCrossEntropyLoss(model)
    runner = RunnerV2_1(model, optimizer, opnet.accuracy, loss_fn)
    rows = [X_MOONS, Y_MOONS.reshape(-1, 1).astype(float)]
    runner.train(rows, rows, num_epochs=30, log_epochs=0, keep="best_loss")
    assert fitted.loss_curve_ == runner.train_loss
    assert fitted.loss_ == min(runner.dev_loss)
    assert all(map(torch.equal, state(fitted.model_), state(model)))


@pytest.mark.parametrize(
    ("activation", "optimizer"),
    [*product(ACTIVATIONS, ["adam"]), *product(["tanh"], OPTIMIZERS)],
)
def test_every_name_trains(activation, optimizer):
    fitted = OpNetClassifier((8, 4), activation, optimizer=optimizer, epochs=20, random_state=0)
    curve = fitted.fit(X_MOONS, Y_MOONS).loss_curve_
    assert curve[-1] < curve[0]
    kinds = [type(op) for op in fitted.model_.layers]
    act = getattr(opnet, ACTIVATIONS[activation])
    assert kinds == [opnet.Linear, act, opnet.Linear, act, opnet.Linear, opnet.Logistic]
    assert [len(op.params["W"]) for op in fitted.model_.layers[::2]] == [2, 8, 4]


def test_options_reach_the_optimizer():
    plain, nesterov, decayed = (
        OpNetClassifier(optimizer="momentum", epochs=5, random_state=0, **how)
        .fit(X_MOONS, Y_MOONS)
        .loss_curve_
        for how in ({}, {"optimizer_params": {"nesterov": True}}, {"weight_decay": 0.1})
    )
    assert plain[0] == nesterov[0] == decayed[0]
    assert len({plain[-1], nesterov[-1], decayed[-1]}) == 3


@BOTH
def test_block_size_changes_no_number_but_by_rounding(make):
    X, y = data_for(make)
    one, two = (make(epochs=20, random_state=0, block_size=b).fit(X, y) for b in (None, 7))
    np.testing.assert_allclose(outputs(one, X), outputs(two, X), rtol=1e-9, atol=1e-12)


@BOTH
def test_early_stopping_keeps_the_weights_of_the_lowest_loss_held_out(make):
    X, y = data_for(make)
    how = {"early_stopping": True, "validation_fraction": 0.25, "patience": 5}
    fitted = make(learning_rate=0.1, epochs=1000, random_state=0, **how).fit(X, y)
    curve = fitted.validation_loss_curve_
    best = int(np.argmin(curve))
    assert fitted.n_iter_ == len(curve) == len(fitted.loss_curve_) == best + 1 + 5 < 1000
    assert fitted.loss_ == curve[best]
    assert len(fitted.validation_scores_) == len(curve)
    assert make(epochs=3).fit(X, y).validation_loss_curve_ is None


@BOTH
def test_float32_stays_float32(make):
    X, y = data_for(make)
    fitted = make(epochs=3).fit(X.astype(np.float32), y)
    assert outputs(fitted, X).dtype == np.float32
    assert outputs(fitted.fit(X, y), X).dtype == np.float64


def test_several_targets_are_several_outputs():
    X, y = make_regression(80, 3, n_targets=2, random_state=0)
    y = y / y.std(axis=0)
    fitted = OpNetRegressor(random_state=0).fit(X, y)
    assert fitted.predict(X).shape == (80, 2)
    assert fitted.score(X, y) > 0.95


def test_words_are_classes_too():
    words = np.array(["no", "yes"], dtype=object)[Y_MOONS]
    fitted = OpNetClassifier(random_state=0).fit(X_MOONS, words)
    assert fitted.classes_.tolist() == ["no", "yes"]
    assert fitted.score(X_MOONS, words) > 0.95
    X, y = IRIS
    fitted = OpNetClassifier(random_state=0).fit(StandardScaler().fit_transform(X), y * 10)
    assert fitted.classes_.tolist() == [0, 10, 20]
    assert fitted.predict_proba(X).shape == (150, 3)


# --- weights


@pytest.mark.parametrize("how", [{}, {"block_size": 7}, {"epochs": 3, "weight_decay": 0.1}])
@BOTH
def test_a_weight_says_how_often_a_row_is_there(make, how):
    X, y = data_for(make)
    times = np.random.RandomState(0).randint(0, 4, len(X))
    how = {"epochs": 50, "random_state": 0, **how}
    weighted = make(**how).fit(X, y, sample_weight=times)
    repeated = make(**how).fit(X.repeat(times, axis=0), y.repeat(times))
    scaled = make(**how).fit(X, y, sample_weight=times * 10.0)
    for other in (repeated, scaled):
        np.testing.assert_allclose(outputs(weighted, X), outputs(other, X), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("how", [{"batch_size": 9}, {"early_stopping": True}])
@BOTH
def test_weights_stay_with_their_rows_through_batches_and_splits(make, how):
    """Weights of 1 change nothing, and rows of weight 0, whatever stands in them, are absent."""
    X, y = data_for(make)
    plain, ones = (make(epochs=20, random_state=0, **how) for _ in range(2))
    plain.fit(X, y)
    ones.fit(X, y, sample_weight=np.ones(len(X)))
    np.testing.assert_allclose(outputs(plain, X), outputs(ones, X), rtol=1e-9)
    weights = np.random.RandomState(0).uniform(0.5, 2, len(X)).round(1)
    kept = np.arange(len(X)) % 3 > 0
    few = make(epochs=20, random_state=0, **how).fit(X[kept], y[kept], weights[kept])
    wild = make(epochs=20, random_state=0, **how)
    wild.fit(np.where(kept[:, None], X, 1e6), y, weights * kept)
    assert np.array_equal(outputs(few, X), outputs(wild, X))
    assert not np.array_equal(outputs(few, X), outputs(plain, X))


def test_class_weights_are_weights_of_rows():
    X, y = X_MOONS[40:], Y_MOONS[40:]
    how = {"epochs": 30, "random_state": 0}
    of_classes = OpNetClassifier(class_weight={0: 5, 1: 1}, **how).fit(X, y)
    of_rows = OpNetClassifier(**how).fit(X, y, sample_weight=np.where(y == 0, 5.0, 1.0))
    assert np.array_equal(outputs(of_classes, X), outputs(of_rows, X))
    both = OpNetClassifier(class_weight={0: 5, 1: 1}, **how).fit(X, y, np.where(y == 0, 1.0, 5.0))
    evened = OpNetClassifier(**how).fit(X, y)
    np.testing.assert_allclose(outputs(both, X), outputs(evened, X), rtol=1e-9)
    counts = np.bincount(y)
    balanced = OpNetClassifier(class_weight="balanced", **how).fit(X, y)
    by_hand = OpNetClassifier(class_weight=dict(enumerate(1 / counts)), **how).fit(X, y)
    np.testing.assert_allclose(outputs(balanced, X), outputs(by_hand, X), rtol=1e-9)


# --- going on


@BOTH
def test_partial_fit_is_an_epoch_and_goes_on_with_what_the_optimizer_has_kept(make):
    X, y = data_for(make)
    first = {"classes": [0, 1]} if make is OpNetClassifier else {}
    how = {"learning_rate": 0.003, "random_state": 0}  # so that the last weights are the best
    partial, whole = make(**how), make(epochs=5, **how)
    for _ in range(5):
        partial.partial_fit(X, y, **first)
        first = {}
    assert partial.loss_curve_ == whole.fit(X, y).loss_curve_
    assert partial.n_iter_ == 5
    assert np.array_equal(outputs(partial, X), outputs(whole, X))
    again = pickle.loads(pickle.dumps(partial))
    assert np.array_equal(
        outputs(again.partial_fit(X, y), X), outputs(partial.partial_fit(X, y), X)
    )


@BOTH
def test_a_warm_start_goes_on_and_a_cold_one_does_not(make):
    X, y = data_for(make)
    warm, cold = (make(epochs=10, warm_start=w, random_state=0).fit(X, y) for w in (True, False))
    assert warm.loss_curve_ == cold.loss_curve_
    loss = warm.loss_
    warm.fit(X, y)
    assert warm.n_iter_ == len(warm.loss_curve_) == 20
    assert warm.loss_curve_[10] == pytest.approx(loss)
    once = cold.loss_curve_
    assert cold.fit(X, y).loss_curve_ == once


@BOTH
def test_a_model_goes_out_and_comes_in(make, tmp_path):
    X, y = data_for(make)
    fitted = make(epochs=20, random_state=0).fit(X, y)
    model = fitted.to_model()
    assert not any("inputs" in vars(op) for op in every_op(model))
    opnet.save_paddle(model, tmp_path)
    wrapped = make.from_model(opnet.load(tmp_path), epochs=3, warm_start=True)
    assert wrapped.n_features_in_ == X.shape[1]
    assert np.array_equal(outputs(wrapped, X), outputs(fitted, X))
    assert wrapped.partial_fit(X, y).loss_curve_[0] == pytest.approx(fitted.loss_)
    assert wrapped.fit(X, y).n_iter_ == 4
    for weight in state(model):
        weight.zero_()
    assert np.array_equal(outputs(fitted, X), outputs(make.from_model(fitted.to_model()), X))
    assert not np.array_equal(outputs(make.from_model(model), X), outputs(fitted, X))


def test_a_wrapped_classifier_has_the_names_that_it_is_given():
    model = opnet.Sequential(opnet.Linear(4, 3), opnet.Softmax())
    assert OpNetClassifier.from_model(model).classes_.tolist() == [0, 1, 2]
    words = OpNetClassifier.from_model(model, classes=["a", "b", "c"]).predict(IRIS[0])
    assert set(words) <= {"a", "b", "c"}
    assert OpNetClassifier.from_model(opnet.Model_MLP_L2(2, 5, 1)).predict(X_MOONS).max() <= 1


def test_what_stops_a_fit_leaves_the_best_weights(monkeypatch):
    def interrupt(self, runner, epoch):
        if epoch == 7:
            raise KeyboardInterrupt

    monkeypatch.setattr(EarlyStopping, "on_epoch_end", interrupt)
    fitted = OpNetClassifier(early_stopping=True, random_state=0)
    with pytest.raises(KeyboardInterrupt):
        fitted.fit(X_MOONS, Y_MOONS)
    assert fitted.n_iter_ == 8
    assert fitted.score(X_MOONS, Y_MOONS) > 0.8


# --- what is refused


def moons(**how):
    return OpNetClassifier(**how).fit(X_MOONS, Y_MOONS)


REFUSED = [
    (lambda: moons(hidden_layer_sizes=5), TypeError, r"hidden_layer_sizes is 5, wanted a tuple"),
    (lambda: moons(hidden_layer_sizes=(0,)), ValueError, r"output_size is 0, wanted a whole"),
    (lambda: moons(activation="step"), ValueError, "activation is 'step', wanted one of elu, "),
    (lambda: moons(optimizer="lbfgs"), ValueError, "optimizer is 'lbfgs', wanted one of adagrad"),
    (lambda: moons(optimizer_params={"rho": 1}), TypeError, "unexpected keyword argument 'rho'"),
    (lambda: moons(learning_rate=-1.0), ValueError, "Adam: init_lr is -1.0, wanted"),
    (lambda: moons(epochs=0), ValueError, "OpNetClassifier: epochs is 0, wanted"),
    (lambda: moons(batch_size=0), ValueError, "batch_size is 0, wanted"),
    (lambda: moons(warm_start="yes"), TypeError, "warm_start is 'yes', wanted True or False"),
    (lambda: moons(early_stopping=1), TypeError, "early_stopping is 1, wanted True or False"),
    (lambda: moons(early_stopping=True, patience=0), ValueError, "patience is 0, wanted"),
    (
        lambda: moons(class_weight={0: -1.0, 1: 0.0}),
        ValueError,
        "class_weight is {0: -1.0, 1: 0.0}, wanted",
    ),
    (lambda: moons(class_weight={0: 0, 1: 0}), ValueError, "every row has weight 0, wanted"),
    (
        lambda: moons(early_stopping=True, validation_fraction=1),
        ValueError,
        "validation_fraction is 1.0, wanted 0 < a number < 1",
    ),
    (lambda: moons(class_weight="even"), ValueError, "balanced"),
    (lambda: moons(device="abacus"), ValueError, "device is 'abacus', wanted"),
    (
        lambda: OpNetClassifier().fit(X_MOONS, np.ones(120)),
        ValueError,
        "OpNetClassifier: y has 1 class, wanted 2 classes or more",
    ),
    (
        lambda: moons(warm_start=True).fit(X_MOONS, Y_MOONS + 1),
        ValueError,
        "y has classes that are not in classes_: 2",
    ),
    (
        lambda: OpNetClassifier().fit(X_MOONS, Y_MOONS, sample_weight=-np.ones(120)),
        ValueError,
        "Negative values",
    ),
    (
        lambda: OpNetClassifier().partial_fit(X_MOONS, Y_MOONS),
        ValueError,
        "classes must be passed on the first call",
    ),
    (
        lambda: OpNetClassifier(class_weight="balanced").partial_fit(X_MOONS, Y_MOONS, [0, 1]),
        ValueError,
        "class_weight='balanced' in partial_fit, wanted the weights",
    ),
    (
        lambda: OpNetClassifier.from_model(opnet.Sequential(opnet.Linear(2, 1))),
        ValueError,
        "the model ends in Linear.*, wanted a Logistic with one output or a Softmax",
    ),
    (
        lambda: OpNetClassifier.from_model(opnet.Model_MLP_L2(2, 5, 1), classes=[1, 2, 3]),
        ValueError,
        "classes are 3, the model has 2",
    ),
    (
        lambda: OpNetClassifier.from_model(opnet.Model_MLP_L2(2, 5, 1), classes=["right", "left"]),
        ValueError,
        r"classes are \['right', 'left'\], wanted each once and sorted",
    ),
    (
        lambda: OpNetRegressor.from_model(opnet.Sequential(opnet.Tanh())),
        ValueError,
        "no op of .* says its input_size",
    ),
    (
        lambda: OpNetRegressor(optimizer="sgd", learning_rate=1e12).fit(X_MOONS, Y_MOONS),
        NonFiniteError,
        "at learning rate 1000000000000.0",
    ),
]


@pytest.mark.parametrize(("refused", "error", "said"), REFUSED)
def test_what_cannot_be_fitted_is_named_in_one_line(refused, error, said):
    with pytest.raises(error, match=said) as caught:
        refused()
    assert "\n" not in str(caught.value)
