"""Inputs, upstream gradients, arguments of ops and containers."""

import torch

from opnet import (
    ELU,
    GELU,
    BatchNorm,
    Dropout,
    HardLogistic,
    HardTanh,
    LayerNorm,
    LeakyReLU,
    Linear,
    Logistic,
    LogSoftmax,
    Model_MLP_L2,
    ReLU,
    Sequential,
    Softmax,
    Softplus,
    Swish,
    Tanh,
)

from .row import INF, NAN, Bad, X, seeded


def to_an_op():
    """Inputs that are no [..., N, 2] of float32, and upstream gradients that are not [4, .]."""
    for make in (
        lambda: Linear(2, 3, "op", generator=seeded()),
        lambda: LayerNorm(2, "op"),
        lambda: BatchNorm(2, "op"),
    ):
        kind = f"{type(make()).__name__} 'op': inputs"
        for name, x, error, said in (
            ("columns", torch.ones(4, 3), ValueError, "have 3 columns, W wants 2"),
            ("a row", X[0], ValueError, r"are float32 \[2\], wanted .*reshape"),
            ("a number", torch.tensor(1.0), ValueError, r"are float32 \[\], wanted"),
            ("int64", X.long(), TypeError, r"are torch.int64, W is torch.float32: .to\("),
            ("bool", X > 0, TypeError, "are torch.bool, W is torch.float32"),
            ("float64", X.double(), TypeError, "are torch.float64, W is torch.float32"),
            ("complex", X.cfloat(), TypeError, "are torch.complex64, W is"),
            ("NumPy", X.numpy(), TypeError, "are a ndarray, wanted a Tensor"),
            ("a list", X.tolist(), TypeError, "are a list, wanted a Tensor"),
            ("a string", "ab", TypeError, "are a str, wanted a Tensor"),
            ("None", None, TypeError, "are a NoneType, wanted a Tensor"),
            ("sparse", X.to_sparse(), TypeError, "came sparse_coo, wanted a dense"),
            ("device", X.to("meta"), ValueError, "are on meta, W is on cpu"),
        ):
            yield Bad(f"{kind} {name}", lambda w, m=make, x=x: m()(x), error, kind + ".*" + said)
    for make in (
        *(Logistic, Tanh, ReLU, LeakyReLU, ELU, Softplus, Swish, GELU, HardTanh, HardLogistic),
        *(Softmax, LogSoftmax),
    ):
        for came, x in {
            "list": [[1.0]],
            "str": "a",
            "NoneType": None,
            "sparse_coo": X.to_sparse(),
        }.items():
            said = f"^{make.__name__}: inputs: came (a )?{came}, wanted a"
            yield Bad(f"{make.__name__}: {came}", lambda w, m=make, x=x: m()(x), TypeError, said)
    for make in (
        lambda: Linear(2, 2, "op", generator=seeded()),
        Tanh,
        Softmax,
        lambda: LayerNorm(2),
        lambda: Model_MLP_L2(2, 3, 2, generator=seeded()),
    ):
        who = type(make()).__name__
        yield Bad(
            f"{who}: no forward",
            lambda w, m=make: m().backward(X),
            RuntimeError,
            "backward before forward",
        )
        for name, g, error, said in (
            ("shape", torch.ones(4, 7), ValueError,
             r"is float32 \[4, 7\], wanted float32 \[4, 2\]"),
            ("a column", torch.ones(4, 1), ValueError,
             r"is float32 \[4, 1\], wanted float32 \[4, 2\]"),
            ("float64", X.double(), ValueError, r"is float64 \[4, 2\], wanted float32 \[4, 2\]"),
            ("a list", [[1.0]], TypeError, ": came a list, wanted a Tensor"),
            ("None", None, TypeError, ": came a NoneType, wanted a Tensor"),
            ("a string", "a", TypeError, ": came a str, wanted a Tensor"),
        ):  # fmt: skip
            yield Bad(
                f"{who}: grads {name}",
                lambda w, m=make, g=g: sent_back(m(), g),
                error,
                f"{who}.*: upstream gradient {said}".replace("t :", "t:"),
            )


def sent_back(op, grads):
    op(X)
    op.backward(grads)


def to_construction():
    whole = {
        0: ValueError,
        -1: ValueError,
        2.5: TypeError,
        "2": TypeError,
        True: TypeError,
        None: TypeError,
    }
    for size, error in whole.items():
        said = f"size is {size!r}, wanted a whole number >= 1"
        yield Bad(
            f"Linear({size!r}, 1)", lambda w, s=size: Linear(s, 1), error, f"Linear: input_{said}"
        )
        yield Bad(
            f"Linear(1, {size!r})", lambda w, s=size: Linear(1, s), error, f"Linear: output_{said}"
        )
        yield Bad(
            f"Model_MLP_L2, {size!r}",
            lambda w, s=size: Model_MLP_L2(2, s, 1),
            error,
            f"'fc1': output_{said}",
        )
    for name in ("", "a/b", "../x", ".a", "a b", "a\n", "é", "x" * 300):
        yield Bad(
            f"name {name[:9]!r}",
            lambda w, n=name: Linear(2, 1, n),
            ValueError,
            "^Linear: name is '.*', wanted 1 to 100 of A-Z",
        )
    for name in (3, b"a", ["a"]):
        yield Bad(
            f"name {name!r}",
            lambda w, n=name: Tanh(n),
            TypeError,
            "^Tanh: name is .*, wanted a string",
        )
    rows = [
        ("weight_init", 3, TypeError, "weight_init is 3, wanted a callable"),
        ("bias_init", 3, TypeError, "initialiser of b is 3, wanted a callable"),
        ("weight_init", lambda s: torch.ones(1), ValueError,
         r"of W returned float32 \[1\], wanted shape \[2, 3\]"),
        ("bias_init", lambda s: torch.ones(3), ValueError,
         r"of b returned float32 \[3\], wanted shape \[1, 3\]"),
        ("weight_init", lambda s: [1], TypeError, "returned a list, wanted a Tensor"),
        ("weight_init", lambda s: torch.ones(s).long(), TypeError,
         r"returned int64 .*floating point"),
        ("weight_init", lambda s: torch.ones(s).to_sparse(), TypeError,
         "came sparse_coo, wanted a dense"),
        ("generator", 7, TypeError, "generator is 7, wanted a torch.Generator"),
        ("device", "gpu", ValueError, "device is 'gpu', wanted auto, cpu"),
        ("device", [1], TypeError, r"device is \[1\], wanted a string"),
        ("dtype", "float64", TypeError, "dtype is 'float64', wanted floating point"),
        ("dtype", torch.int64, TypeError, "dtype is torch.int64, wanted floating point"),
    ]  # fmt: skip
    for key, value, error, said in rows:
        yield Bad(
            f"Linear, {key}: {said}",
            lambda w, k=key, v=value: Linear(2, 3, "fc1", **({"generator": seeded()} | {k: v})),
            error,
            said,
        )
    for target in (None, float, "gpu", torch.int64):
        yield Bad(
            f"to({target})", lambda w, t=target: w.model.to(t), (TypeError, ValueError), "wanted"
        )
    same = Tanh()
    for name, layers, error, said in (
        ("no layers", (), ValueError, "has no layers, wanted at least one op"),
        ("one name", (Linear(2, 2, "a"), Tanh(), Linear(2, 2, "a")), ValueError,
         "layers 0 and 2 are both named 'a'"),
        ("one name but for case", (Linear(2, 2, "a"), Linear(2, 2, "A")), ValueError,
         "layers 0 and 1 are both named 'A'"),
        ("one op twice", (same, same), ValueError, "Tanh.* stands in two places"),
        ("a class", (Linear,), TypeError, "layer 0 is the class Linear, wanted an op of it"),
        ("a number", (Tanh(), 3), TypeError, r"layer 1 \(int\) has no forward, wanted an op"),
        ("a list", ([Tanh()],), TypeError, r"layer 0 \(list\) has no forward"),
        ("a function", (torch.tanh,), TypeError, "has no forward"),
        ("no backward", (torch.nn.Linear(2, 2),), TypeError, r"layer 0 \(Linear\) has no backward"),
    ):  # fmt: skip
        yield Bad(f"Sequential: {name}", lambda w, a=layers: Sequential(*a), error, said)
    numbers = [
        (LeakyReLU, "negative_slope", ">= 0"), (ELU, "alpha", ">= 0"), (Swish, "beta", ">= 0"),
        (HardLogistic, "slope", "> 0"), (Dropout, "p", "0 <= p < 1"),
    ]  # fmt: skip
    for make, key, wanted in numbers:
        for value, error in {
            -1: ValueError,
            NAN: ValueError,
            INF: ValueError,
            "1": TypeError,
            None: TypeError,
            True: TypeError,
        }.items():
            yield Bad(
                f"{make.__name__}, {key} {value!r}",
                lambda w, m=make, k=key, v=value: m(**{k: v}),
                error,
                f"{make.__name__}: {key} is .*, wanted .*{wanted}",
            )


def to_summaries():
    net, bare = Sequential(Linear(2, 3), Linear(3, 1)), Sequential(Logistic())
    shared = Sequential(Logistic(), Logistic())
    shared.layers[1] = shared.layers[0]
    wanted = r"wanted a whole number >= 1"
    for name, model, inputs, error, said in (
        ("columns unknown", bare, None, ValueError, "the inputs of Sequential cannot be told"),
        ("too many columns", net, 3, ValueError, r"Sequential does not run on \[1, 3\]: "),
        ("a vector", net, (2,), ValueError, r"inputs is \(2,\), wanted a shape \[..., N"),
        ("no rows", net, (0, 2), ValueError, f"inputs is 0, {wanted}"),
        ("a float", net, 2.0, TypeError, f"inputs is 2.0, {wanted}"),
        ("a string", net, "2", TypeError, f"inputs is '2', {wanted}"),
        ("a tensor", net, X, TypeError, "inputs is a Tensor, wanted its shape"),
        ("more than memory", net, (10**12, 10**12, 2), ValueError, "Sequential does not run on"),
        ("an op twice", shared, 2, ValueError, "Sequential: Logistic .* stands in two places"),
    ):  # fmt: skip
        call = lambda w, model=model, inputs=inputs: model.summary(inputs)  # noqa: E731
        who = "" if name == "an op twice" else "summary: "
        yield Bad(f"summary: {name}", call, error, f"^{who}{said}")


OPS = [*to_an_op(), *to_construction(), *to_summaries()]
