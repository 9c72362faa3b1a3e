"""Histories, sets, paths, sizes, and files of figures."""

import functools
from functools import partial

import torch
from sklearn.linear_model import LinearRegression, LogisticRegression

from opnet import CheckpointError, Linear, Logistic, plots
from runners import RunnerV2_1

from .row import INF, NAN, Bad, X, Y

POSITIVE = {0: ValueError, -1: ValueError, NAN: ValueError, INF: ValueError, "a": TypeError}
STEPS = torch.tensor([[1.0, 1.0], [0.5, 0.0]])


def right(x):
    """p = 1 right of x1 = 0."""
    return (x[:, :1] > 0).float()


def bowl(x1, x2):
    return x1**2 + x2**2


def drawn(draw, arguments, w):
    draw(**arguments)


@functools.cache
def film():
    made = plots.moving_boundary({"a": right}, {}, resolution=2)
    made._draw_was_started = True  # else matplotlib warns of one that nobody has played
    return made


def to_curves():
    good = [1.0, 2.0]
    for name, history, error, said in (
        ("two lists", [good, good], TypeError, "history is a list, wanted a runner, {name: val"),
        ("None", None, TypeError, "history is a NoneType, wanted a runner, {name: values} or"),
        ("none", {}, ValueError, "histories have lengths {}, wanted one length >= 1"),
        ("empty", {"a": [], "b": []}, ValueError, "histories have lengths {'a': 0, 'b': 0}"),
        ("unequal", {"a": good, "b": [1.0]}, ValueError, "histories have lengths"),
        ("unequal lists", [good, good, good, [1.0]], ValueError, "histories have lengths {'train"),
        ("a number", {"a": good, "b": 3}, ValueError, r"b has shape \[\], wanted \[epochs\]"),
        ("2-D", {"a": good, "b": Y}, ValueError, r"b has shape \[4, 1\], wanted \[epochs\]"),
        ("no history", {"a": None, "b": good}, TypeError, "a is a NoneType, wanted a Tensor or"),
        ("strings", {"a": good, "b": ["x", "y"]}, TypeError, "b is a list, wanted a Tensor or"),
        ("a string", {"a": good, "b": "xy"}, TypeError, "b is a str, wanted a Tensor or"),
        ("complex", {"a": good, "b": [1j, 2]}, TypeError, "b is torch.complex128, wanted real"),
        ("nan", {"a": good, "b": [1, NAN]}, ValueError, r"b\[1\] is nan \(1 of 2 values not fin"),
        ("inf", {"a": [INF, 1], "b": good}, ValueError, r"a\[0\] is inf \(1 of 2 values not fin"),
    ):
        call = partial(drawn, plots.curves, {"history": history})
        yield Bad(f"curves: {name}", call, error, f"^curves: {said}")
    untrained = RunnerV2_1(Linear(2, 1), None, None, None)
    call = partial(drawn, plots.curves, {"history": untrained})
    yield Bad("curves: untrained", call, ValueError, "^curves: histories have lengths .*wanted")


def to_axes():
    for draw, given in (
        (plots.curves, {"history": {"a": [1.0]}}),
        (plots.gradient_flow, {"flow": {"fc1": 1.0}}),
        (plots.confusion, {"labels": [0, 1], "predictions": [0, 1]}),
        (plots.DecisionBoundary.from_predict, {"predict": right}),
    ):
        who = "DecisionBoundary" if draw.__name__ == "from_predict" else draw.__name__
        for ax in (3, "ax", plots.figure()[0]):
            call = partial(drawn, draw, given | {"ax": ax})
            yield Bad(f"{who}: ax {ax}", call, TypeError, f"^{who}: ax is .*, wanted Axes")


def to_flows():
    norms = {"fc1": 1.0}
    for name, flow, error, said in (
        ("a number", 3, TypeError, "flow is a int, wanted a model, or a list of {layer: norm}"),
        ("None", None, TypeError, "flow is a NoneType, wanted a model, or a list"),
        ("a string", "fc1", TypeError, "flow is a str, wanted a model, or a list"),
        ("an empty list", [], ValueError, "flow is empty, wanted"),
        ("an empty dict", {}, ValueError, "flow is empty, wanted"),
        ("a list of numbers", [1.0], TypeError, "flow holds a float, wanted {layer: norm}"),
        ("other layers", [norms, {"fc2": 1.0}], ValueError, "the layers differ, wanted the same"),
        ("nan", {"fc1": NAN}, ValueError, r"norms\[0\] is nan"),
        ("nan in time", [norms, {"fc1": NAN}], ValueError, r"fc1\[1\] is nan"),
        ("a string as a norm", {"fc1": "a"}, TypeError, "norms is a list, wanted"),
    ):
        call = partial(drawn, plots.gradient_flow, {"flow": flow})
        yield Bad(f"gradient_flow: {name}", call, error, f"^gradient_flow: {said}")
    call = partial(drawn, plots.gradient_flow, {"flow": Logistic()})
    said = "^gradient_norms: Logistic has no gradients, wanted a model after backward"
    yield Bad("gradient_flow: no params", call, ValueError, said)


def to_confusions():
    for name, key, value, error, said in (
        ("fewer", "predictions", [0, 1], ValueError, "3 labels, 2 predictions"),
        ("none", "labels", [], ValueError, r"labels have shape \[0\], wanted \[N\]"),
        ("a number", "labels", 3, ValueError, r"labels have shape \[\], wanted \[N\]"),
        ("3-D", "labels", [[[0.0]]], ValueError, r"labels have shape \[1, 1, 1\], wanted"),
        ("None", "labels", None, TypeError, "labels is a NoneType, wanted a Tensor or"),
        ("strings", "labels", ["a", "b", "c"], TypeError, "labels is a list, wanted a Tensor or"),
        ("nan", "predictions", [0.0, NAN, 1.0], ValueError, r"predictions\[1\] is nan"),
        (
            "no class",
            "predictions",
            [0.5, 2, 1],
            ValueError,
            r"predictions: row \[0\] is 0.5, want",
        ),
        ("below 0", "labels", [0, -1, 1], ValueError, r"labels: row \[1\] is -1, wanted a class"),
        ("too few names", "classes", ["a"], ValueError, "1 names in classes, 2 classes"),
        ("2-D names", "classes", 3, TypeError, "classes is 3, wanted a sequence of names"),
    ):
        good = {"labels": [0, 1, 1], "predictions": [0, 1, 0]}
        call = partial(drawn, plots.confusion, good | {key: value})
        yield Bad(f"confusion: {name}", call, error, f"^confusion: {said}")


def to_figures():
    for key in ("rows", "columns"):
        for value, error in {0: ValueError, -1: ValueError, 1.5: TypeError, "a": TypeError}.items():
            call = partial(drawn, plots.figure, {key: value})
            yield Bad(f"figure: {key} {value!r}", call, error, f"^figure: {key} is .*, wanted")
    for key in ("width", "height"):
        for value, error in POSITIVE.items():
            call = partial(drawn, plots.figure, {key: value})
            yield Bad(f"figure: {key} {value!r}", call, error, f"^figure: {key} is .*, wanted")


def with_nan(values):
    values = values.clone()
    values[2, 0] = NAN
    return values


def to_boundaries():
    pairs = (
        ("three columns", (torch.ones(4, 3), Y), ValueError, "has 3 features, wanted 2: two in `f"),
        ("a row", (X[0], Y[0]), ValueError, r": X has shape \[2\], wanted"),
        ("unequal", (X, Y[1:]), ValueError, r": X has shape \[4, 2\], y \[3, 1\]: rows differ"),
        ("3-D", (X[None], Y[None]), ValueError, r"has X \[1, 4, 2\], wanted \[N, 2\]"),
        ("three outputs", (X, torch.ones(4, 3)), ValueError, r"has y \[4, 3\], wanted \[N, 1\]"),
        ("a class too many", (X, [0, 1, 2, 1]), ValueError, r"has y where y\[2\] is 2, wanted a c"),
        (
            "a class below",
            (X, -Y),
            ValueError,
            r"has y where y\[\d\] is -1, wanted a class below 2",
        ),
        ("nan X", (with_nan(X), Y), ValueError, r": X\[2, 0\] is nan \(1 of 8"),
        ("nan y", (X, with_nan(Y)), ValueError, r": y\[2, 0\] is nan \(1 of 4"),
        ("X alone", X, ValueError, "is a Tensor, wanted two items"),
        ("None", None, ValueError, "is a NoneType, wanted two items"),
        ("strings", ("ab", "cd"), TypeError, ": X is a str, wanted a Tensor"),
        ("sparse", (X.to_sparse(), Y), TypeError, ": X: came sparse_coo"),
        ("complex y", (X, Y.cfloat()), TypeError, ": y is torch.complex64, wanted real"),
    )
    ranges = (3, "ab", None, (1, 1), (2, 1), (0, INF), (NAN, 1), (0, 1, 2))
    rows = (
        *((f"set {n}", "sets", {"dev": s}, error, f"dev {said}".replace(" :", ":"))
          for n, s, error, said in pairs),
        ("sets: a list", "sets", [(X, Y)], TypeError, "sets are a list, wanted {name:"),
        ("four sets", "sets", dict.fromkeys("abcd", (X, Y)), ValueError, "4 sets, wanted at most"),
        *((f"{key} {v!r}", key, v, ValueError, rf"{key} is .*, wanted \(low, high\)")
          for key in ("xlim", "ylim") for v in ranges if v is not None),
        *((f"resolution {v!r}", "resolution", v, e, "resolution is .*, wanted a whole number")
          for v, e in {1: ValueError, 2.5: TypeError, "a": TypeError}.items()),
        ("features: one", "features", (0,), ValueError, r"features is \(0,\), wanted two columns"),
        ("features: 3", "features", 3, ValueError, "features is 3, wanted two columns"),
        ("features: a string", "features", "ab", TypeError, "features is 'a', wanted a whole num"),
        ("features: twice", "features", (0, 0), ValueError, r"features=\(0, 0\), fixed={}, wanted"),
        ("features: a gap", "features", (0, 2), ValueError, r"features=\(0, 2\), fixed={}, wanted"),
        ("fixed: a list", "fixed", [1], TypeError, "fixed are a list, wanted {column: value}"),
        ("fixed: shown", "fixed", {1: 0.0}, ValueError, r"features=\(0, 1\), fixed={1: 0.0}, want"),
        ("fixed: nan", "fixed", {2: NAN}, ValueError, "fixed is nan, wanted a finite number"),
        ("fixed: by name", "fixed", {"a": 1}, TypeError, "fixed is 'a', wanted a whole number"),
        ("fixed: of two", "fixed", {2: 1.0}, ValueError, "dev has 2 features, wanted 3: two in"),
        ("classes: three", "classes", "abc", ValueError, "3 names for 2 classes"),
    )  # fmt: skip
    predictions = (
        ("a number", 3, TypeError, "predict is 3, wanted a callable"),
        ("None", None, TypeError, "predict is None, wanted a callable"),
        ("returns X", lambda x: x, ValueError, "predict gave values from -.*, wanted probabilit"),
        ("returns few", lambda x: right(x)[:2], ValueError, r"predict gave \[2, 1\], wanted \[\d+"),
        ("returns 1-D", lambda x: right(x)[:, 0], ValueError, r"predict gave \[\d+\], wanted"),
        ("returns None", lambda x: None, TypeError, "predict: what it gave is a NoneType, wanted"),
        ("returns nan", lambda x: NAN * right(x), ValueError, "predict gave nan, wanted prob"),
        ("returns complex", lambda x: right(x) * 1j, ValueError, "predict gave complex values"),
    )
    good = {"predict": right, "sets": {"dev": (X, Y)}}
    for name, key, value, error, said in (
        *rows,
        *((f"predict {n}", "predict", p, e, said) for n, p, e, said in predictions),
    ):
        call = partial(drawn, plots.DecisionBoundary, good | {key: value})
        yield Bad(f"boundary: {name}", call, error, f"^DecisionBoundary: {said}")
    for name, predicts, error, said in (
        ("none", {}, ValueError, "predicts are empty, wanted at least one"),
        ("a list", [right], TypeError, "predicts are a list, wanted {title:"),
        ("a number", {"a": 3}, TypeError, "predict is 3, wanted a callable"),
    ):
        call = partial(drawn, plots.moving_boundary, {"predicts": predicts})
        yield Bad(f"moving boundary: {name}", call, error, f"^DecisionBoundary: {said}")


def to_sources():
    made, fitted = plots.DecisionBoundary, LogisticRegression().fit(X.numpy(), Y.numpy().ravel())
    for name, draw, given, error, said in (
        ("a model", made.from_runner, {"runner": Linear(2, 1)}, TypeError, "runner is a Linear, w"),
        ("no files", made.from_checkpoint, {"directory": "nowhere"}, CheckpointError, "nowhere"),
        ("unfitted", made.from_estimator, {"estimator": LogisticRegression()}, TypeError,
         r"estimator is a LogisticRegression, wanted a fitted classifier \(classes_\)"),
        ("a regressor", made.from_estimator, {"estimator": LinearRegression()}, TypeError,
         "estimator is a LinearRegression, wanted a fitted classifier"),
        ("another label", made.from_estimator,
         {"estimator": fitted, "sets": {"a": (X, [0, 1, 7, 0])}}, ValueError,
         r"a has the label 7, the classes are \[0.0, 1.0\]"),
        ("X alone", made.from_estimator, {"estimator": fitted, "sets": {"a": 3}}, ValueError,
         "a is a int, wanted two items"),
        ("sets: a list", made.from_estimator, {"estimator": fitted, "sets": [X]}, TypeError,
         "sets are a list, wanted"),
        ("logits", made.from_predict, {"predict": Linear(2, 1)}, ValueError,
         "predict gave values from .*, wanted probabilities"),
    ):  # fmt: skip
        yield Bad(f"boundary of {name}", partial(drawn, draw, given), error, said)


def to_descents():
    window = ((-1.0, 1.0), (-1.0, 1.0))
    for name, key, value, error, said in (
        ("axes", "axes", 3, TypeError, "axes is 3, wanted Axes"),
        ("f", "f", 3, TypeError, "f is 3, wanted a callable"),
        (
            "f of a shape",
            "f",
            lambda a, b: a[0],
            ValueError,
            r"f gave \[200\], wanted \[200, 200\]",
        ),
        ("f of nan", "f", lambda a, b: a * NAN, ValueError, "f gave nan"),
        ("f of a list", "f", lambda a, b: [1], TypeError, "f gave a list, wanted a Tensor"),
        ("no paths", "paths", None, TypeError, "paths are a NoneType, wanted {name: path}"),
        ("a list", "paths", [STEPS], TypeError, "paths are a list, wanted {name: path}"),
        ("columns", "paths", {"a": torch.ones(2, 3)}, ValueError, r"a has shape \[2, 3\], wanted"),
        ("1-D", "paths", {"a": STEPS[0]}, ValueError, r"a has shape \[2\], wanted \[steps, 2\]"),
        ("no steps", "paths", {"a": STEPS[:0]}, ValueError, r"a has shape \[0, 2\], wanted"),
        ("nan", "paths", {"a": STEPS * NAN}, ValueError, r"a\[0, 0\] is nan \(4 of 4 values"),
        ("a string", "paths", {"a": "ab"}, TypeError, "a is a str, wanted a Tensor or an array"),
        (
            "one range",
            "window",
            window[:1],
            ValueError,
            r"window is .*, wanted \(\(low, high\), \(",
        ),
        ("reversed", "window", ((1, -1), (0, 1)), ValueError, "window is .*, wanted"),
        ("nan", "window", ((0, NAN), (0, 1)), ValueError, "window is .*, wanted"),
        ("strings", "window", (("a", "b"), (0, 1)), ValueError, "window is .*, wanted"),
        ("None", "window", None, ValueError, "window is None, wanted"),
        ("a point", "lowest", [(0.0,)], ValueError, r"lowest is \[\(0.0,\)\], wanted points"),
        ("a number", "lowest", 3, ValueError, "lowest is 3, wanted points"),
        ("resolution", "resolution", 1, ValueError, "resolution is 1, wanted"),
    ):
        good = {"axes": plots.figure()[1], "f": bowl, "paths": {"a": STEPS}, "window": window}
        call = partial(drawn, plots.descents, good | {key: value})
        yield Bad(f"descents: {key}: {name}", call, error, f"^descents: {said}")


def saved(path, w):
    plots.save(plots.figure()[0], w.directory / path)


def filmed(path, w):
    plots.save_animation(film(), w.directory / path)


def to_files():
    paths = {"": ValueError, "a\0.png": ValueError, 3: TypeError, b"a.png": TypeError}
    endings = {plots.save: (".jpeg", "", ".PNG"), plots.save_animation: (".png", "", ".mp4")}
    for write, draw, into, ending in (
        (plots.save, lambda: plots.figure()[0], saved, ".png"),
        (plots.save_animation, film, filmed, ".gif"),
    ):
        who = write.__name__
        for path, error in paths.items():
            call = lambda w, write=write, draw=draw, path=path: write(draw(), path)  # noqa: E731
            yield Bad(f"{who}: path {path!r}", call, error, f"^{who}: path is .*, wanted a path")
        for other in endings[write]:
            call = partial(into, f"new/x{other}")
            said = f"^{who}: .*x{other} ends in '{other}', wanted"
            yield Bad(f"{who}: ending {other!r}", call, ValueError, said)
        for place in (f"file/x{ending}", f"file/below/x{ending}", f"run/{'x' * 300}{ending}"):
            call, said = partial(into, place), f"^{who}: .*{ending}: cannot be written: "
            yield Bad(f"{who}: {place[:20]}{ending}", call, ValueError, said)
        for drawing in (3, None, "x"):
            call = lambda w, write=write, d=drawing, e=ending: write(d, f"x{e}")  # noqa: E731
            yield Bad(f"{who}: {drawing!r}", call, TypeError, f"^{who}: came .*, wanted a")
    for value, error in POSITIVE.items():
        call = lambda w, v=value: plots.save_animation(film(), w.directory / "x.gif", fps=v)  # noqa: E731
        yield Bad(f"fps {value!r}", call, error, "^save_animation: fps is .*, wanted a finite")


PLOTS = [
    *(*to_curves(), *to_axes(), *to_flows(), *to_confusions(), *to_figures()),
    *(*to_boundaries(), *to_sources(), *to_descents(), *to_files()),
]
