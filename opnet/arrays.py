"""What the names in a pickle stand for: from bytes, sizes and strides to a tensor, or an error.

A name is a key of BUILDERS and nothing else: it is never imported. Each builder matches what it is
given against the one form in which NumPy or torch writes it, and counts the bytes before it makes
a tensor. `Array`, `Dtype` and `Ordered` are filled in a second step, as pickles do it (FILLERS).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .errors import CheckpointError

CODES = {
    "f2": torch.float16,
    "f4": torch.float32,
    "f8": torch.float64,
    "i8": torch.int64,
    "i4": torch.int32,
    "i2": torch.int16,
    "i1": torch.int8,
    "u1": torch.uint8,
    "b1": torch.bool,
    "u2": torch.bfloat16,  # NumPy has none: Paddle keeps its bits as whole numbers
}
STORAGES = {
    "torch HalfStorage": torch.float16,
    "torch BFloat16Storage": torch.bfloat16,
    "torch FloatStorage": torch.float32,
    "torch DoubleStorage": torch.float64,
    "torch LongStorage": torch.int64,
    "torch IntStorage": torch.int32,
    "torch ShortStorage": torch.int16,
    "torch CharStorage": torch.int8,
    "torch ByteStorage": torch.uint8,
    "torch BoolStorage": torch.bool,
}
Shape = tuple[int, ...]


class Name(NamedTuple):
    """`module name`, as the pickle spells it."""

    text: str


class Ordered(dict[Any, Any]):
    """A collections.OrderedDict: the one kind of dict that may be filled with `_metadata`."""


@dataclass
class Dtype:
    """A NumPy dtype: its torch dtype, and whether the bytes of a number come high one first."""

    torch: torch.dtype
    big: bool = False


@dataclass
class Array:
    """A NumPy array that is still to be filled."""

    tensor: Tensor | None = None


@dataclass
class Storage:
    """The flat tensor of which torch tensors are views."""

    flat: Tensor


def tensor_of(dtype: Dtype, shape: Shape, order: str, raw: bytes | bytearray) -> Tensor:
    """The tensor of `shape` whose numbers are `raw`, rows first (order C) or columns (order F)."""
    check_sizes("shape", shape)
    wanted = math.prod(shape) * dtype.torch.itemsize
    if wanted != len(raw):
        raise CheckpointError(f"an array of shape {list(shape)} has {len(raw)} bytes, not {wanted}")
    if order not in ("C", "F"):
        raise CheckpointError(f"an array in the order {order[:20]!r}, wanted C or F")
    flat = flat_of(dtype.torch, raw, dtype.big)
    if order == "C":
        return flat.reshape(shape)
    return flat.reshape(shape[::-1]).permute(*range(len(shape))[::-1]).contiguous()


def flat_of(dtype: torch.dtype, raw: bytes | bytearray | memoryview, big: bool = False) -> Tensor:
    """The numbers in `raw`, which is copied: [len(raw) / itemsize]."""
    if len(raw) == 0:
        return torch.empty(0, dtype=dtype)
    octets = torch.frombuffer(bytearray(raw), dtype=torch.uint8)
    if dtype == torch.bool and int(octets.max()) > 1:
        raise CheckpointError("truth values other than 0 and 1")
    if big and dtype.itemsize > 1:
        octets = octets.reshape(-1, dtype.itemsize).flip(1).reshape(-1)
    return octets.view(dtype)


def check_sizes(what: str, sizes: object) -> None:
    """CheckpointError unless `sizes` is a tuple of at most 64 whole numbers >= 0."""
    fit = isinstance(sizes, tuple) and all(type(size) is int and size >= 0 for size in sizes)
    if not fit or len(sizes) > 64:  # type: ignore[arg-type]
        raise CheckpointError(f"a {what} that is no short tuple of whole numbers >= 0")


def _unfilled(*args: object) -> Array:
    match args:
        case (Name("numpy ndarray"), (0,), b"b"):
            return Array()
    raise CheckpointError("an array that is not begun as NumPy begins one")


def _dtype(*args: object) -> Dtype:
    match args:
        case (str(code),) | (str(code), 0 | 1, 0 | 1) if code in CODES:
            return Dtype(CODES[code])
        case (str(code), *_):
            raise CheckpointError(f"an array of dtype {code[:20]!r}, wanted one of {list(CODES)}")
    raise CheckpointError("a dtype that is not written as NumPy writes one")


def _from_buffer(*args: object) -> Tensor:
    match args:
        case (bytes() | bytearray() as raw, Dtype() as dtype, tuple(shape), str(order)):
            return tensor_of(dtype, shape, order, raw)
        case (bytes() | bytearray() as raw, Dtype() as dtype, tuple(shape), "K", tuple(axes)):
            return tensor_of(dtype, shape, "C", raw).permute(axes).contiguous()
    raise CheckpointError("an array that is not written as NumPy writes one")


def _scalar(*args: object) -> Tensor:
    match args:
        case (Dtype() as dtype, bytes(raw)):
            return tensor_of(dtype, (), "C", raw)
    raise CheckpointError("a number that is not written as NumPy writes one")


def _latin1(*args: object) -> bytes:
    match args:
        case (str(text), "latin1"):
            return text.encode("latin1")
    raise CheckpointError("text that is to be encoded otherwise than in latin1")


def _no_bytes(*args: object) -> bytes:
    if args:
        raise CheckpointError("bytes that are written otherwise than Python writes them")
    return b""


def _tuple(*args: object) -> tuple[object, ...]:
    match args:
        case (tuple(items),):
            return items
    raise CheckpointError("a tuple that is not made of one")


def _ordered(*args: object) -> Ordered:
    if args:
        raise CheckpointError("an OrderedDict that does not start empty")
    return Ordered()


def _view(*args: object) -> Tensor:
    match args:
        case (Storage(flat), int(offset), tuple(size), tuple(stride), bool(), Ordered() as hooks):
            if not hooks:
                return _checked_view(flat, offset, size, stride)
    raise CheckpointError("a tensor that is not written as torch writes a plain one")


def _checked_view(flat: Tensor, offset: int, size: Shape, stride: Shape) -> Tensor:
    for what, sizes in (("size", size), ("stride", stride), ("offset", (offset,))):
        check_sizes(what, sizes)
    there, wanted = flat.numel(), math.prod(size)
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if wanted > there or (last >= there if wanted else offset > there):
        raise CheckpointError(f"a tensor {list(size)} reaches out of its storage of {there}")
    return flat.as_strided(size, stride, offset)


def _parameter(*args: object) -> Tensor:
    match args:
        case (Tensor() as data, bool(), Ordered()):
            return data
    raise CheckpointError("a parameter that is not written as torch writes one")


BUILDERS: dict[str, Callable[..., Any]] = {
    "numpy.core.multiarray _reconstruct": _unfilled,
    "numpy._core.multiarray _reconstruct": _unfilled,
    "numpy.core.multiarray scalar": _scalar,
    "numpy._core.multiarray scalar": _scalar,
    "numpy.core.numeric _frombuffer": _from_buffer,
    "numpy._core.numeric _frombuffer": _from_buffer,
    "numpy dtype": _dtype,
    "_codecs encode": _latin1,
    "builtins bytes": _no_bytes,  # protocols 0 to 2 write b"" as a call
    "__builtin__ bytes": _no_bytes,
    "builtins tuple": _tuple,  # Paddle's pair of name and array
    "__builtin__ tuple": _tuple,
    "collections OrderedDict": _ordered,
    "torch._utils _rebuild_tensor_v2": _view,
    "torch._utils _rebuild_parameter": _parameter,
}
NAMES = {*BUILDERS, *STORAGES, "numpy ndarray"}


def fill(thing: object, state: object) -> None:
    """The second step of a pickle: what an array or a dtype holds; `_metadata` is passed over."""
    match thing, state:
        case Array(None), (1, tuple(shape), Dtype() as dtype, bool(fortran), bytes(raw)):
            thing.tensor = tensor_of(dtype, shape, "F" if fortran else "C", raw)
        case Dtype(), (3, "<" | ">" | "|" as order, None, None, None, int(), int(), int()):
            thing.big = order == ">"
        case Ordered(), {"_metadata": dict()} if len(state) == 1:  # type: ignore[arg-type]
            pass
        case _:
            raise CheckpointError(f"{type(thing).__name__} filled with what is not its own")
