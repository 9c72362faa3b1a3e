"""A pickle is a list of instructions: they are read one by one, and none of them runs code.

A small stack machine of our own knows the instructions that data need; a name is looked up among
what `arrays` builds and nowhere else. `pickle.Unpickler` is not used: told so by a few bytes, it
allocates gigabytes before it reads. What comes out is a tree of str-keyed dicts, lists, tuples,
numbers, strings and tensors. Source: the comments of `pickletools`.
"""

import io
import pickletools
from collections.abc import Callable
from typing import Any

from torch import Tensor

from .arrays import BUILDERS, NAMES, STORAGES, Array, Name, Ordered, Storage, fill, flat_of
from .errors import CheckpointError

Storages = Callable[[str], Any]  # key -> bytes

DEPTH = 100
UNSAFE = "no checkpoint that can be read safely"
_DIGITS = 24  # of a decimal number: more than 64 bits need


def unpickled(data: bytes, who: str, storages: Storages | None = None) -> Any:
    """What `data` hold; `storages` gives the bytes of a torch storage by its key.

    CheckpointError, one line that starts with `who`, for all that is no tree of tensors.
    """
    try:
        return _Machine(data, storages).run()
    except CheckpointError as error:
        raise CheckpointError(f"{who}: {UNSAFE}: {error}") from None
    except Exception as error:  # the bytes may lead anywhere
        raise CheckpointError(f"{who}: {UNSAFE}: broken ({type(error).__name__})") from error


class _Machine:
    """The stack, the memo, and what may still be spent: memory stays a small multiple of the file.

    An instruction of a few bytes makes an object of up to some hundred: so their number is bounded.
    Bytes that the memo gives again and again would be copied each time: so these are counted.
    """

    def __init__(self, data: bytes, storages: Storages | None) -> None:
        self.stream, self.size, self.storages = io.BytesIO(data), len(data), storages
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.flats: dict[str, Storage] = {}
        self.most = self.left = 100_000 + len(data) // 32
        self.octets = 2 * len(data)  # protocol 2 makes them twice, by way of text

    def run(self) -> Any:
        while (code := self.stream.read(1)) != b".":
            self.spend()
            if code not in _STEPS:
                raise CheckpointError(f"it has {_called(code)}, which no tensor needs")
            read, step = _STEPS[code]
            step(self, read(self.stream) if read else None)
        if len(self.stack) != 1 or self.marks or self.stream.read(1):
            raise CheckpointError("it does not end where it stops")
        self.left = self.most
        return self.tree(self.stack.pop(), DEPTH)

    def spend(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise CheckpointError("it is of more parts than a file of its size should have")

    def spend_octets(self, *things: Any) -> None:
        raw = (thing for thing in things if isinstance(thing, (bytes, bytearray, str)))
        self.octets -= sum(map(len, raw))
        if self.octets < 0:
            raise CheckpointError("its arrays are larger than the file")

    def tree(self, value: Any, depth: int) -> Any:
        """`value` as plain Python; what holds itself, or too much of what it shares, is refused."""
        self.spend()
        if depth == 0:
            raise CheckpointError(f"it is nested more than {DEPTH} deep")
        match value:
            case None | bool() | int() | float() | str() | Tensor():
                return value
            case Array(Tensor() as tensor):
                return tensor
            case dict():
                return {key: self.tree(item, depth - 1) for key, item in value.items()}
            case Name(text):
                raise CheckpointError(f"it holds the name {text}, which is no tensor")
            case tuple():
                return tuple(self.tree(item, depth - 1) for item in value)
            case list():
                return [self.tree(item, depth - 1) for item in value]
        raise CheckpointError(f"it holds {type(value).__name__}, which is no tensor")

    def push(self, value: Any) -> None:
        if isinstance(value, int) and value.bit_length() > 64:
            raise CheckpointError("it holds a whole number of more than 64 bits")
        self.stack.append(value)

    def mark(self, _: Any) -> None:
        self.marks.append(self.stack)
        self.stack = []

    def since_mark(self) -> list[Any]:
        items, self.stack = self.stack, self.marks.pop()
        return items

    def last(self, count: int) -> tuple[Any, ...]:
        if len(self.stack) < count:
            raise CheckpointError("it takes from the stack what is not there")
        return tuple(self.stack.pop() for _ in range(count))[::-1]

    def proto(self, version: int) -> None:
        if version > 5:
            raise CheckpointError(f"it is of protocol {version}, wanted at most 5")

    def name(self, text: str) -> None:
        if text not in NAMES:
            shown = ascii(text[:100])[1:-1].replace(" ", ".", 1)
            raise CheckpointError(f"it names {shown}, which is no tensor")
        self.push(Name(text))

    def stack_name(self, _: Any) -> None:
        module, name = self.last(2)
        if not (isinstance(module, str) and isinstance(name, str)):
            raise CheckpointError("it names what is no name")
        self.name(f"{module[:100]} {name[:100]}")

    def call(self, _: Any) -> None:
        name, args = self.last(2)
        if not (type(name) is Name and name.text in BUILDERS and type(args) is tuple):
            raise CheckpointError("it calls what cannot be called")
        self.spend_octets(*args)
        self.push(BUILDERS[name.text](*args))

    def build(self, _: Any) -> None:
        (state,) = self.last(1)
        self.spend_octets(*(state if isinstance(state, tuple) else ()))
        fill(self.stack[-1], state)

    def append(self, items: list[Any]) -> None:
        if type(self.stack[-1]) is not list:
            raise CheckpointError("it appends to what is no list")
        self.stack[-1].extend(items)

    def set_items(self, items: list[Any]) -> None:
        into = self.stack[-1]
        if type(into) not in (dict, Ordered):
            raise CheckpointError("it sets items of what is no dict")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if type(key) is not str:
                raise CheckpointError(f"a key is a {type(key).__name__}, wanted str")
            into[key] = value

    def dict(self, _: Any) -> None:
        items = self.since_mark()
        self.push({})
        self.set_items(items)

    def storage(self, _: Any) -> None:
        match self.last(1)[0]:
            case ("storage", Name(text), str(key), str(), int(count)) if text in STORAGES:
                self.push(self.stored(key, STORAGES[text], count))
            case _:
                raise CheckpointError("a storage that is not written as torch writes one")

    def stored(self, key: str, dtype: Any, count: int) -> Storage:
        if self.storages is None:
            raise CheckpointError("it wants a storage, and is no torch archive")
        if key not in self.flats:
            raw = self.storages(key)
            if len(raw) != count * dtype.itemsize:
                raise CheckpointError(f"a storage of {count} numbers has {len(raw)} bytes")
            self.flats[key] = Storage(flat_of(dtype, raw))
        if (flat := self.flats[key].flat).dtype != dtype or flat.numel() != count:
            raise CheckpointError("a storage of two kinds")
        return self.flats[key]


def _called(code: bytes) -> str:
    if not code:
        return "no end"
    names = (op.name for op in pickletools.opcodes if op.code.encode("latin1") == code)
    return f"the instruction {next(names, repr(code))}"


def _decimal(stream: io.BytesIO) -> int:
    """A line as text protocols write numbers; a long one is never turned into a number."""
    line = stream.readline(_DIGITS)
    if not line.endswith(b"\n"):
        raise CheckpointError("it holds a whole number of more than 64 bits")
    booleans = {b"00": False, b"01": True}
    return booleans[line[:-1]] if line[:-1] in booleans else int(line[:-1].rstrip(b"L"))


_PUSHED = ["INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"]
_PUSHED += ["UNICODE", "BINUNICODE", "BINUNICODE8", "SHORT_BINUNICODE"]
_PUSHED += ["BINBYTES", "BINBYTES8", "SHORT_BINBYTES", "BYTEARRAY8"]
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_BY_NAME: dict[str, Callable[[_Machine, Any], Any]] = {
    **{name: lambda m, value: m.push(value) for name in _PUSHED},
    **{name: lambda m, _, v=value: m.push(v) for name, value in _CONSTANTS.items()},  # type: ignore[misc]
    "PROTO": lambda m, version: m.proto(version),
    "FRAME": lambda m, _: None,
    "MARK": _Machine.mark,
    "POP": lambda m, _: m.last(1),
    "POP_MARK": lambda m, _: m.since_mark(),
    "EMPTY_TUPLE": lambda m, _: m.push(()),
    "TUPLE1": lambda m, _: m.push(m.last(1)),
    "TUPLE2": lambda m, _: m.push(m.last(2)),
    "TUPLE3": lambda m, _: m.push(m.last(3)),
    "TUPLE": lambda m, _: m.push(tuple(m.since_mark())),
    "EMPTY_LIST": lambda m, _: m.push([]),
    "LIST": lambda m, _: m.push(m.since_mark()),
    "APPEND": lambda m, _: m.append(list(m.last(1))),
    "APPENDS": lambda m, _: m.append(m.since_mark()),
    "EMPTY_DICT": lambda m, _: m.push({}),
    "DICT": _Machine.dict,
    "SETITEM": lambda m, _: m.set_items(list(m.last(2))),
    "SETITEMS": lambda m, _: m.set_items(m.since_mark()),
    "GET": lambda m, index: m.push(m.memo[index]),
    "PUT": lambda m, index: m.memo.__setitem__(index, m.stack[-1]),
    "MEMOIZE": lambda m, _: m.memo.__setitem__(len(m.memo), m.stack[-1]),
    "GLOBAL": lambda m, text: m.name(text),
    "STACK_GLOBAL": _Machine.stack_name,
    "REDUCE": _Machine.call,
    "BUILD": _Machine.build,
    "BINPERSID": _Machine.storage,
}
_BY_NAME |= {kind + "GET": _BY_NAME["GET"] for kind in ("BIN", "LONG_BIN")}
_BY_NAME |= {kind + "PUT": _BY_NAME["PUT"] for kind in ("BIN", "LONG_BIN")}
_READERS = dict.fromkeys(("INT", "LONG", "GET", "PUT"), _decimal)
_STEPS: dict[bytes, tuple[Callable[[Any], Any] | None, Callable[[_Machine, Any], Any]]] = {
    op.code.encode("latin1"): (
        _READERS.get(op.name, op.arg.reader if op.arg else None),
        _BY_NAME[op.name],
    )
    for op in pickletools.opcodes
    if op.name in _BY_NAME
}
