"""Histories, sets, paths, sizes, and files of figures."""

import functools
from functools import partial

import torch

from opnet import plots

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
    for name, histories, error, said in (
        ("a list", [good, good], TypeError, "histories are a list, wanted {label: values}"),
        ("None", None, TypeError, "histories are a NoneType, wanted {label: values}"),
        ("none", {}, ValueError, "histories have lengths {}, wanted two of one length >= 1"),
        ("one", {"a": good}, ValueError, "histories have lengths {'a': 2}"),
        ("three", dict.fromkeys("abc", good), ValueError, "histories have lengths"),
        ("empty", {"a": [], "b": []}, ValueError, "histories have lengths {'a': 0, 'b': 0}"),
        ("unequal", {"a": good, "b": [1.0]}, ValueError, "histories have lengths"),
        ("a number", {"a": good, "b": 3}, ValueError, r"b has shape \[\], wanted \[epochs\]"),
        ("2-D", {"a": good, "b": Y}, ValueError, r"b has shape \[4, 1\], wanted \[epochs\]"),
        ("no history", {"a": None, "b": good}, TypeError, "a is a NoneType, wanted a Tensor or"),
        ("strings", {"a": good, "b": ["x", "y"]}, TypeError, "b is a list, wanted a Tensor or"),
        ("a string", {"a": good, "b": "xy"}, TypeError, "b is a str, wanted a Tensor or"),
        ("complex", {"a": good, "b": [1j, 2]}, TypeError, "b is torch.complex128, wanted real"),
        ("nan", {"a": good, "b": [1, NAN]}, ValueError, r"b\[1\] is nan \(1 of 2 values not fin"),
        ("inf", {"a": [INF, 1], "b": good}, ValueError, r"a\[0\] is inf \(1 of 2 values not fin"),
    ):
        call = partial(drawn, plots.curves, {"histories": histories, "ylabel": "y"})
        yield Bad(f"curves: {name}", call, error, f"^curves: {said}")


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
        ("three columns", (torch.ones(4, 3), Y), ValueError, r"has X \[4, 3\], wanted \[N, 2\]"),
        ("a row", (X[0], Y[0]), ValueError, r": X has shape \[2\], wanted"),
        ("unequal", (X, Y[1:]), ValueError, r": X has shape \[4, 2\], y \[3, 1\]: rows differ"),
        ("two outputs", (X, X), ValueError, r"has y \[4, 2\], wanted \[N, 1\] or \[N\]"),
        ("nan X", (with_nan(X), Y), ValueError, r": X\[2, 0\] is nan \(1 of 8"),
        ("nan y", (X, with_nan(Y)), ValueError, r": y\[2, 0\] is nan \(1 of 4"),
        ("X alone", X, ValueError, "is a Tensor, wanted two items"),
        ("None", None, ValueError, "is a NoneType, wanted two items"),
        ("strings", ("ab", "cd"), TypeError, ": X is a str, wanted a Tensor"),
        ("sparse", (X.to_sparse(), Y), TypeError, ": X: came sparse_coo"),
        ("complex y", (X, Y.cfloat()), TypeError, ": y is torch.complex64, wanted real"),
    )
    rows = (
        *((f"set {n}", "sets", {"dev": s}, error, f"dev {said}".replace(" :", ":"))
          for n, s, error, said in pairs),
        ("sets: a list", "sets", [(X, Y)], TypeError, "sets are a list, wanted {name:"),
        ("sets: None", "sets", None, TypeError, "sets are a NoneType, wanted {name:"),
        ("four sets", "sets", dict.fromkeys("abcd", (X, Y)), ValueError, "4 sets, wanted at most"),
        *((f"limits {v!r}", "limits", v, e, "limits is .*, wanted a finite number > 0")
          for v, e in POSITIVE.items()),
        *((f"resolution {v!r}", "resolution", v, e, "resolution is .*, wanted a whole number")
          for v, e in {1: ValueError, 2.5: TypeError, "a": TypeError}.items()),
    )  # fmt: skip
    predictions = (
        ("a number", 3, TypeError, "predict is 3, wanted a callable"),
        ("None", None, TypeError, "predict is None, wanted a callable"),
        ("returns X", lambda x: x, ValueError, r"predict gave \[.*, 2\], wanted \[.*0, 1\]"),
        ("returns a list", lambda x: [1.0], TypeError, "predict gave a list, wanted a Tensor"),
        ("returns None", lambda x: None, TypeError, "predict gave a NoneType, wanted a Tensor"),
        ("returns nan", lambda x: NAN * right(x), ValueError, "predict gave nan"),
    )
    for draw in (plots.decision_boundaries, plots.moving_boundary):
        good, who = {"predicts": {"a": right}, "sets": {"dev": (X, Y)}}, draw.__name__
        for name, key, value, error, said in (
            *rows,
            *((f"predict {n}", "predicts", {"a": p}, e, said) for n, p, e, said in predictions),
            ("no predicts", "predicts", {}, ValueError, "predicts are empty, wanted at least one"),
            ("predicts: a list", "predicts", [right], TypeError, "predicts are a list, wanted {"),
        ):
            call = partial(drawn, draw, good | {key: value})
            yield Bad(f"{who}: {name}", call, error, f"^decision_boundary: {said}")


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


PLOTS = [*to_curves(), *to_figures(), *to_boundaries(), *to_descents(), *to_files()]
