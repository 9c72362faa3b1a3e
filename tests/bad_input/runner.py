"""Parts of a runner, arguments of `train`, data sets, directories."""

import re
from functools import partial

import numpy as np

from opnet import BatchGD, BinaryCrossEntropyLoss, CheckpointError, Model_MLP_L2, accuracy
from runners import EarlyStopping, RunnerV2_1

from .row import INF, NAN, Bad, X, Y, seeded

SIZES = ("batch_size", "block_size", "threads")  # None is what they are by themselves


class Untold:
    """A callback that must not hear of a training that is refused."""

    def on_train_begin(self, runner):
        raise AssertionError("told of a training that was refused")


def trained(arguments, w):
    """`train` with one bad argument among good ones."""
    good = {
        "train_set": [X, Y], "dev_set": [X, Y], "num_epochs": 3, "log_epochs": 0,
        "save_dir": w.directory / "new", "callbacks": [Untold()],
    }  # fmt: skip
    w.runner.train(**good | arguments)


def built(parts, w):
    good = {"model": w.model, "optimizer": w.optimizer, "metric": accuracy, "loss_fn": w.loss}
    RunnerV2_1(**good | parts)


def missing(part, do, w):
    """A runner that has been made without a part that it then needs."""
    parts = {"optimizer": w.optimizer, "metric": accuracy, "loss_fn": w.loss} | part
    runner = RunnerV2_1(w.model, *parts.values())
    if do == "train":
        runner.train([X, Y], [X, Y], num_epochs=1)
    runner.evaluate([X, Y])


def to_construction():
    other = Model_MLP_L2(2, 5, 1, generator=seeded())
    for part, value, error, said in (
        ("model", 3, TypeError, "model is a int, wanted a model"),
        ("model", "x", TypeError, "model is a str, wanted a model"),
        ("model", None, TypeError, "model is a NoneType, wanted a model"),
        ("model", Model_MLP_L2, TypeError, "model is the class Model_MLP_L2, wanted a model"),
        ("optimizer", 3, TypeError, "optimizer is 3, wanted one with step"),
        ("optimizer", "x", TypeError, "optimizer is 'x', wanted one with step"),
        ("optimizer", BatchGD, TypeError, "optimizer is the class BatchGD, wanted one of it"),
        ("optimizer", BatchGD(1, other), ValueError, "optimizer was made for another model"),
        ("metric", 3, TypeError, "metric is 3, wanted one with __call__"),
        ("metric", "x", TypeError, "metric is 'x', wanted one with __call__"),
        ("loss_fn", 3, TypeError, "loss_fn is 3, wanted one with __call__"),
        ("loss_fn", "x", TypeError, "loss_fn is 'x', wanted one with __call__"),
        ("loss_fn", BinaryCrossEntropyLoss, TypeError,
         "loss_fn is the class BinaryCrossEntropyLoss, wanted one of it"),
        ("loss_fn", BinaryCrossEntropyLoss(other), ValueError, "loss_fn was made for another"),
    ):  # fmt: skip
        call = partial(built, {part: value})
        yield Bad(f"RunnerV2_1: {said}", call, error, f"^RunnerV2_1: {said}")


def to_what_is_missing():
    for do in ("train", "evaluate"):
        for part in ("metric", "loss_fn"):
            said = f"{part} is None, wanted one"
            yield Bad(f"{do}: no {part}", partial(missing, {part: None}, do), TypeError, said)
    for part, value, error, said in (
        ("optimizer", None, ValueError, "optimizer is None, wanted one made for the model"),
        ("loss_fn", BinaryCrossEntropyLoss(), ValueError, "loss_fn has no model, wanted"),
        ("loss_fn", accuracy, TypeError, "loss_fn is .*, wanted one with backward"),
    ):
        call = partial(missing, {part: value}, "train")
        yield Bad(f"train: {said}", call, error, f"^train: {said}")


def to_train():
    counts = {-5: ValueError, 2.5: TypeError, "3": TypeError, None: TypeError, True: TypeError}
    whole = [
        (key, value, error, f"{key} is {value!r}, wanted a whole number")
        for key in ("num_epochs", "log_epochs", *SIZES)
        for value, error in (counts | {NAN: TypeError, INF: TypeError}).items()
        if key not in SIZES or value is not None
    ]
    steps = (0, -1, 2.5, True, None, NAN, "", "fast", "Eager", ["eager"], b"eager")
    for key, value, error, said in (
        *whole,
        *((key, 0, ValueError, f"{key} is 0, wanted a whole number >= 1") for key in SIZES),
        *((key, 10**5000, ValueError, f"{key} is beyond all that can be") for key in SIZES),
        *(
            ("step", step, ValueError, f"step is {re.escape(repr(step))}, wanted one of eager")
            for step in steps
        ),
        ("keep", "best", ValueError, "keep is 'best', wanted one of best_score, best_loss, last"),
        ("keep", 3, ValueError, "keep is 3, wanted one of"),
        ("keep", None, ValueError, "keep is None, wanted one of"),
        ("keep", ["last"], ValueError, r"keep is \['last'\], wanted one of"),
        ("callbacks", 3, TypeError, "callbacks is a int, wanted a list of them"),
        ("callbacks", None, TypeError, "callbacks is a NoneType, wanted a list of them"),
        ("callbacks", EarlyStopping(1), TypeError, "callbacks is a EarlyStopping, wanted a list"),
        ("callbacks", "x", TypeError, r"callback 0 \(str\) has none of on_train_begin"),
        ("callbacks", [EarlyStopping], TypeError, "callback 0 is the class EarlyStopping, wanted"),
        ("callbacks", [print], TypeError, "callback 0 .* has none of on_train_begin"),
        ("schedule", 3, TypeError, "schedule is 3, wanted a callable"),
        ("schedule", "x", TypeError, "schedule is 'x', wanted a callable"),
        ("schedule", EarlyStopping, TypeError, "schedule is <class .*, wanted a callable"),
        ("schedule", lambda epoch: NAN, ValueError, r"schedule\(0\) is nan, wanted"),
        ("schedule", lambda epoch: -1, ValueError, r"schedule\(0\) is -1.*, wanted"),
        ("schedule", lambda epoch: "1", TypeError, r"schedule\(0\) is '1', wanted"),
        ("generator", 3, TypeError, "generator is 3, wanted a torch.Generator"),
        ("generator", "x", TypeError, "generator is 'x', wanted a torch.Generator"),
        ("generator", np.random.default_rng(0), TypeError, "generator is .*, wanted a torch.Gen"),
        ("save_every", 0, ValueError, "save_every is 0, wanted a whole number >= 1"),
        (
            "save_every",
            10**5000,
            ValueError,
            "save_every is beyond all that can be counted, wanted",
        ),
        ("save_every", "2", TypeError, "save_every is '2', wanted a whole number"),
        ("resume", 1, TypeError, "resume is 1, wanted True or False"),
        ("save_dir", "", ValueError, "save_dir is '', wanted a path"),
        ("save_dir", 3, TypeError, "save_dir is 3, wanted a path"),
        ("save_dir", b"new", TypeError, "save_dir is b'new', wanted a path"),
        ("save_dir", "new\0", ValueError, r"save_dir is 'new\\x00', wanted a path"),
    ):
        call = partial(trained, {key: value})
        yield Bad(f"train: {said}", call, error, f"^train: {said}")
    for key, value in (("save_every", 2), ("resume", True)):
        call = partial(trained, {key: value, "save_dir": None})
        yield Bad(f"train: {key} and no save_dir", call, ValueError, "need a save_dir")
    yield Bad("train: epochs", partial(trained, {"epochs": 3}), TypeError, "keyword .* 'epochs'")
    for name, place, said in (
        ("a file", "file", "file: cannot be made: File exists"),
        ("below a file", "file/below", "below: cannot be made: Not a directory"),
        ("a long name", "a" * 300, "cannot be made: File name too long"),
    ):

        def call(w, place=place):
            trained({"save_dir": w.directory / place}, w)

        yield Bad(f"train: save_dir {name}", call, CheckpointError, said)


def with_value(values, value):
    values = values.clone()
    values[2, 0] = value
    return values


SETS = (
    ("three items", [X, Y, Y], ValueError, r"is a list, wanted two items: \[X, y\]"),
    ("one item", [X], ValueError, r"is a list, wanted two items: \[X, y\]"),
    ("None", None, ValueError, r"is a NoneType, wanted two items"),
    ("a number", 3, ValueError, r"is a int, wanted two items"),
    ("strings", ["ab", "cd"], TypeError, "X is a str, wanted a Tensor or an array of numbers"),
    ("an array", X.numpy(), ValueError, "is a ndarray, wanted two items"),
    ("a dict", {"X": X, "y": Y}, TypeError, "X is a str, wanted a Tensor"),
    ("no X", [None, Y], TypeError, "X is a NoneType, wanted a Tensor"),
    ("no y", [X, None], TypeError, "y is a NoneType, wanted a Tensor"),
    ("ragged", [[[1.0, 2.0], [1.0]], Y], TypeError, "X is a list, wanted a Tensor"),
    ("lengths", [X, Y[:3]], ValueError, r"X has shape \[4, 2\], y \[3, 1\]: rows differ"),
    ("no rows", [X[:0], Y[:0]], ValueError, r"X has shape \[0, 2\], wanted .* N >= 1"),
    ("a row", [X[0], Y[0]], ValueError, r"X has shape \[2\], wanted \[..., N, features\]"),
    ("columns", [X[:, :1], Y], ValueError, "Linear 'fc1': inputs have 1 columns, W wants 2"),
    ("nan", [with_value(X, NAN), Y], ValueError, r"X\[2, 0\] is nan \(1 of 8 values not finite"),
    ("inf", [with_value(X, -INF), Y], ValueError, r"X\[2, 0\] is -inf \(1 of 8 values not fi"),
    ("float64", [X.double(), Y], TypeError, "Linear 'fc1': inputs are torch.float64, W is"),
    ("int64", [X.long(), Y], TypeError, "Linear 'fc1': inputs are torch.int64, W is"),
    ("complex", [X.cfloat(), Y], TypeError, "X is torch.complex64, wanted real numbers"),
    ("sparse", [X.to_sparse(), Y], TypeError, "X: came sparse_coo, wanted a dense"),
    ("no values", [X.to("meta"), Y], TypeError, "X: came a meta tensor, wanted"),
    ("sparse y", [X, Y.to_sparse()], TypeError, "y: came sparse_coo, wanted a dense"),
    ("complex y", [X, Y.cfloat()], TypeError, "labels are .*complex64, wanted real numbers"),
    ("y [N]", [X, Y[:, 0]], ValueError, r"labels have shape \[4\], predictions \[4, 1\]"),
    ("y [N, 2]", [X, Y.expand(4, 2)], ValueError, r"labels have shape \[4, 2\], predictions"),
    ("y of 2", [X, Y + 1], ValueError, r"labels\[1, 0\] is 2 .*write y - 1"),
    ("y of -1", [X, 2 * Y - 1], ValueError, r"labels\[0, 0\] is -1 .*\(y \+ 1\) / 2"),
    ("nan y", [X, with_value(Y, NAN)], ValueError, r"labels\[2, 0\] is nan"),
)


def to_data_sets():
    for name, data_set, error, said in SETS:
        for key in ("train_set", "dev_set"):
            call = partial(trained, {key: data_set})
            yield Bad(f"train: {key}: {name}", call, error, f"^{key}:? .*{said}")
        call = partial(evaluated, data_set)
        yield Bad(f"evaluate: {name}", call, error, f"^(evaluate: data_set:? )?.*{said}")
        if said.startswith(("X", "Linear")) and "rows differ" not in said:
            x = data_set[0] if isinstance(data_set, list) else "ab"
            call = partial(predicted, x)
            yield Bad(f"predict: {name}", call, error, f"^(predict: )?{said}")


def evaluated(data_set, w):
    w.runner.evaluate(data_set)


def predicted(x, w):
    w.runner.predict(x)


def to_files():
    for method in ("save_model", "load_model"):
        for value in ("", "a\0", 3, b"a", None):
            error = ValueError if isinstance(value, str) else TypeError

            def call(w, method=method, value=value):
                getattr(w.runner, method)(value)

            yield Bad(f"{method} {value!r}", call, error, f"^{method}: .*_dir is .*, wanted a path")


RUNNER = [*to_construction(), *to_what_is_missing(), *to_train(), *to_data_sets(), *to_files()]
