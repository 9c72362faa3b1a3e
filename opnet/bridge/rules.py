"""What torch's kernels are in ONNX: a rule for each, written as a formula of its values.

A rule takes the kernel's arguments, tensors as `Value`s, and gives its output. In-place kernels and
those with an `out` have the rule of the plain one.
"""

from collections.abc import Callable
from typing import Any

import torch

from .values import Value

Rule = Callable[..., Any]


def named(kind: str) -> Rule:
    """A kernel that ONNX has too, element by element."""
    return lambda x, *others: x.by(kind, *others)


def expm1(x: Value) -> Value:
    """exp(x) - 1 = tanh(x / 2) (exp(x) + 1), of which nothing cancels near 0."""
    return (x * 0.5).by("Tanh") * (x.exp() + 1)


def log1p(x: Value) -> Value:
    """log(1 + x) = x log(u) / (u - 1),  u = 1 + x as it is rounded; x where u is 1."""
    u = x + 1
    tiny = u.compared("Equal", 1)
    return tiny.where(x, x * u.by("Log") / tiny.where(1, u - 1))


def logaddexp(a: Value, b: Value) -> Value:
    """log(exp(a) + exp(b)) = max(a, b) + log(1 + exp(-|a - b|))."""
    return a.by("Max", b) + log1p((-(a - b).by("Abs")).exp())


def clamp(x: Value, low: Any = None, high: Any = None) -> Value:
    x = x if low is None else x.by("Max", low)
    return x if high is None else x.by("Min", high)


def power(x: Any, exponent: Any) -> Value:
    if isinstance(exponent, Value) and not isinstance(x, Value):
        return exponent.number(x).by("Pow", exponent)
    return x * x if exponent == 2 else x.by("Pow", exponent)


def divided(x: Value, other: Any) -> Value:
    return (x if x.dtype.is_floating_point else x.to(torch.get_default_dtype())) / other


def floor_divide(x: Any, other: Any) -> Value:
    like = x if isinstance(x, Value) else other
    if not like.dtype.is_floating_point:
        raise NotImplementedError("whole numbers")
    return (x / other if x is like else like.number(x) / other).by("Floor")


def lerp(a: Value, b: Value, weight: Any) -> Value:
    return a + weight * (b - a)


def matmul_added(b: Value, x: Value, W: Value, beta: float = 1, alpha: float = 1) -> Value:
    product = x @ W
    return (b if beta == 1 else b * beta) + (product if alpha == 1 else product * alpha)


def scaled(x: Value, factor: Any) -> Any:
    return x if not isinstance(factor, Value) and factor == 1 else x * factor


def add(x: Value, other: Any, alpha: Any = 1) -> Value:
    return x + (scaled(other, alpha) if isinstance(other, Value) else other * alpha)


def subtracted(x: Value, other: Any, alpha: Any = 1) -> Value:
    return x - (scaled(other, alpha) if isinstance(other, Value) else other * alpha)


def total(x: Value, axes: Any = None, keepdim: bool = False, dtype: Any = None) -> Value:
    """Of whole numbers, as of what is true or false, in int64."""
    of_x = x.dtype if x.dtype.is_floating_point else torch.int64
    return x.to(dtype or of_x).sum(axes, keepdim)


def mean(x: Value, axes: Any = None, keepdim: bool = False, dtype: Any = None) -> Value:
    return x.to(dtype or x.dtype).mean(axes, keepdim)


def var_mean(x: Value, axes: Any, correction: float = 1, keepdim: bool = False) -> Any:
    if correction != 0:
        raise NotImplementedError("var_mean of another correction than 0")
    m = x.mean(axes, keepdim=True)
    variance = power(x - m, 2).mean(axes, keepdim)
    return variance, m if keepdim else x.mean(axes)


def largest(x: Value, axis: int, keepdim: bool = False) -> Any:
    places = Value(x.graph, "", torch.int64, x.ndim if keepdim else x.ndim - 1)
    where = x.graph.node("ArgMax", x, like=places, axis=axis, keepdims=int(keepdim))
    return x.reduced("ReduceMax", axis, keepdim), where


def norm(x: Value, order: float = 2, axes: Any = None, keepdim: bool = False, **_: Any) -> Value:
    if order != 2:
        raise NotImplementedError(f"a norm of order {order}")
    return x.reduced("ReduceL2", axes, keepdim)


def scatter(x: Value, axis: int, places: Value, number: Any) -> Value:
    numbers = places.typed(x.dtype)
    numbers = Value.filled(numbers, number)
    return x.graph.node("ScatterElements", x, places, numbers, like=x, axis=axis)


def permuted(x: Value, axes: Any) -> Value:
    return x.graph.node("Transpose", x, like=x, perm=[axis % x.ndim for axis in axes])


def transposed(x: Value, a: int = 0, b: int = 1) -> Value:
    axes = [*range(x.ndim)]
    if x.ndim > 1:
        axes[a], axes[b] = axes[b], axes[a]
    return permuted(x, axes)


def viewed(x: Value, shape: Any) -> Value:
    like = Value(x.graph, "", x.dtype, len(shape))
    sizes = [size if size % x.graph.rows else -1 for size in shape]  # -1: what is left
    if sizes.count(-1) > 1 and sizes[0] == -1:
        sizes[0] = 0  # as x has it
    if sizes.count(-1) > 1:
        raise NotImplementedError("several sizes that depend on the rows")
    return x.graph.node("Reshape", x, x.graph.whole(*sizes), like=like)


def expanded(x: Value, shape: Any, **_: Any) -> Value:
    like = Value(x.graph, "", x.dtype, len(shape))
    sizes = x.graph.whole(*(max(size, 1) for size in shape))  # -1: as it is
    return x.graph.node("Expand", x, sizes, like=like)


def selected(x: Value, axis: int, place: int) -> Value:
    like = Value(x.graph, "", x.dtype, x.ndim - 1)
    at = x.graph.constant(torch.tensor(place))
    return x.graph.node("Gather", x, at, like=like, axis=axis)


def sliced(x: Value, axis: int = 0, start: Any = None, end: Any = None, step: int = 1) -> Value:
    bounds = (start or 0, 2**62 if end is None else min(end, 2**62), axis, step)
    return x.graph.node("Slice", x, *map(x.graph.whole, bounds), like=x)


def unsqueezed(x: Value, axis: int) -> Value:
    like = Value(x.graph, "", x.dtype, x.ndim + 1)
    return x.graph.node("Unsqueeze", x, x.graph.whole(axis), like=like)


def concatenated(values: list[Value], axis: int = 0) -> Value:
    return values[0].graph.node("Concat", *values, like=values[0], axis=axis)


def stacked(values: list[Value], axis: int = 0) -> Value:
    return concatenated([unsqueezed(value, axis) for value in values], axis)


def softmax_backward(g: Value, p: Value, axis: int, dtype: Any) -> Value:
    return p * (g - (g * p).sum(axis, keepdim=True))


def log_softmax_backward(g: Value, log_p: Value, axis: int, dtype: Any) -> Value:
    return g - log_p.exp() * g.sum(axis, keepdim=True)


def elu_backward(g: Value, a: float, scale: float, input_scale: float, _: bool, x: Value) -> Value:
    return (x > 0).where(g * scale, g * ((x * input_scale).exp() * (input_scale * scale * a)))


RULES: dict[str, Rule] = {
    **{kind.lower(): named(kind) for kind in ("Sigmoid", "Tanh", "Exp", "Log", "Sqrt", "Neg")},
    **{kind.lower(): named(kind) for kind in ("Abs", "Reciprocal", "Relu", "Erf", "Sin", "Cos")},
    **{kind.lower(): named(kind) for kind in ("Mul", "Sign", "Floor")},
    **{"mm": named("MatMul"), "maximum": named("Max"), "minimum": named("Min")},
    **{"gt": Value.__gt__, "ge": Value.__ge__, "lt": Value.__lt__, "le": Value.__le__},
    **{"bitwise_and": Value.__and__, "logical_and": Value.__and__},
    **{"bitwise_or": named("Or"), "logical_or": named("Or")},
    **{"bitwise_not": Value.__invert__, "logical_not": Value.__invert__},
    **{name: lambda x, **_: x for name in ("detach", "alias", "clone", "lift_fresh")},
    "bmm": named("MatMul"),
    "div": divided,
    "eq": lambda x, other: x.compared("Equal", other),
    "ne": lambda x, other: ~x.compared("Equal", other),
    "where": Value.where,
    "expm1": expm1,
    "log1p": log1p,
    "logaddexp": logaddexp,
    "erfc": lambda x: 1 - x.by("Erf"),
    "cosh": lambda x: (x.exp() + (-x).exp()) * 0.5,
    "rsqrt": lambda x: x.by("Sqrt").by("Reciprocal"),
    "floor_divide": floor_divide,
    "clamp": clamp,
    "clamp_min": clamp,
    "clamp_max": lambda x, high: clamp(x, None, high),
    "pow": power,
    "lerp": lerp,
    "add": add,
    "sub": subtracted,
    "rsub": lambda x, other, alpha=1: other - scaled(x, alpha),
    "addmm": matmul_added,
    "addcmul": lambda x, a, b, value=1: x + scaled(a * b, value),
    "addcdiv": lambda x, a, b, value=1: x + scaled(a / b, value),
    "masked_fill": lambda x, mask, number: mask.where(number, x),
    "sum": total,
    "mean": mean,
    "var_mean": var_mean,
    "max": largest,
    "amax": lambda x, axes=None, keepdim=False: x.reduced("ReduceMax", axes, keepdim),
    "amin": lambda x, axes=None, keepdim=False: x.reduced("ReduceMin", axes, keepdim),
    "linalg_vector_norm": norm,
    "scatter": scatter,
    "t": transposed,
    "transpose": transposed,
    "permute": permuted,
    "view": viewed,
    "_unsafe_view": viewed,
    "expand": expanded,
    "select": selected,
    "slice": sliced,
    "unsqueeze": unsqueezed,
    "cat": concatenated,
    "stack": stacked,
    "copy": lambda x, other, *_: x.filled(other),
    "fill": lambda x, number: x.filled(number),
    "zero": lambda x: x.filled(0),
    "zeros_like": lambda x, **_: x.filled(0),
    "ones_like": lambda x, **_: x.filled(1),
    "new_zeros": lambda x, shape, **_: x.graph.constant(torch.zeros(shape, dtype=x.dtype)),
    "_to_copy": lambda x, dtype=None, **_: x.to(dtype or x.dtype),
    "_softmax": lambda x, axis, _: x.by("Softmax", axis=axis),
    "_log_softmax": lambda x, axis, _: x.by("LogSoftmax", axis=axis),
    "silu": lambda x: x * x.by("Sigmoid"),
    "leaky_relu": lambda x, a=0.01: (x > 0).where(x, x * a),
    "hardtanh": lambda x, low=-1, high=1: clamp(x, low, high),
    "threshold_backward": lambda g, x, low: (x > low).where(g, 0),
    "leaky_relu_backward": lambda g, x, a, _: (x > 0).where(g, g * a),
    "hardtanh_backward": lambda g, x, low, high: ((x > low) & (x < high)).where(g, 0),
    "sigmoid_backward": lambda g, p: g * (p * (1 - p)),
    "tanh_backward": lambda g, y: g * (1 - y * y),
    "elu_backward": elu_backward,
    "_softmax_backward_data": softmax_backward,
    "_log_softmax_backward_data": log_softmax_backward,
}
