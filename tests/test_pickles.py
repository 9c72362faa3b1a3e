"""Pickles: what data need is read, all else is a CheckpointError, and nothing is ever run."""

import ast
import codecs
import io
import os
import pickle
import subprocess
import sys
import time
import tracemalloc
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from opnet import CheckpointError
from opnet.pickles import unpickled

DATA = Path(__file__).parent / "data" / "paddle"
REAL = [path.read_bytes() for path in sorted(DATA.glob("*.pd*"))]
CODES = ["f2", "f4", "f8", "i8", "i4", "i2", "i1", "u1", "b1"]


def same(a, b):
    """Equal in type, and where they hold something, in every part of it."""
    if isinstance(b, np.ndarray):
        b = torch.from_numpy(np.array(b, b.dtype.newbyteorder("="), order="C"))
        return a.dtype == b.dtype and torch.equal(a, b)
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


def refused(data, said="^a/file: ", storages=None):
    with pytest.raises(CheckpointError, match=said) as error:
        unpickled(data, "a/file", storages)
    text = str(error.value)
    assert text.startswith("a/file: ")
    assert "\n" not in text
    assert len(text) < 400


# --- what is read

leaves = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=300)
)
structures = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=5),
        st.lists(inner, max_size=5).map(tuple),
        st.dictionaries(st.text(max_size=5), inner, max_size=5),
    ),
    max_leaves=20,
)


@given(structures, st.integers(0, 5))
def test_what_pickle_writes_of_plain_structures_is_read_the_same(value, protocol):
    assert same(unpickled(pickle.dumps(value, protocol), "x"), value)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("code", CODES)
def test_arrays_of_every_kind_order_and_shape(code, order, protocol):
    values = np.arange(24).reshape(2, 3, 4) % 2 if code == "b1" else np.arange(24).reshape(2, 3, 4)
    array = values.astype(np.dtype(code).newbyteorder(order))
    kinds = [array, np.asfortranarray(array), array[:, ::2], array.transpose(1, 0, 2)]
    kinds += [np.array(array[0, 0, 1], array.dtype), array[:, :0], array[0, 0]]
    assert same(unpickled(pickle.dumps(kinds, protocol), "x"), kinds)


@pytest.mark.parametrize("protocol", range(6))
def test_numbers_of_numpy_and_what_is_shared(protocol):
    array = np.ones((2, 5), np.float32)
    tensor, again = unpickled(pickle.dumps([array, array], protocol), "x")
    assert torch.equal(tensor, again)
    assert unpickled(pickle.dumps(np.float32(2.5), protocol), "x").item() == 2.5


def test_uint16_is_bfloat16():
    bits = torch.tensor([1.5, -2.0]).bfloat16()
    array = bits.view(torch.int16).numpy().view(np.uint16)
    assert torch.equal(unpickled(pickle.dumps(array), "x"), bits)


# --- what is refused


class Calls:
    """Pickled as a call of what it is given."""

    def __init__(self, *reduced):
        self.reduced = reduced

    def __reduce__(self):
        return self.reduced


class Plain:
    """An object with attributes, pickled by NEWOBJ and BUILD."""

    def __init__(self):
        self.x = 1


def glob(module, name):
    return b"c" + f"{module}\n{name}\n".encode()


ARRAY = pickle.dumps(np.ones((2, 5), np.float32), 2)
WRONG = {
    "nothing": (b"", "no end"),
    "text": (b"hello\n", "broken"),
    "no stop": (b"N", "no end"),
    "more after the stop": (b"N.N", "does not end"),
    "two values": (b"NN.", "does not end"),
    "an open mark": (b"N(N.", "does not end"),
    "protocol 6": (b"\x80\x06N.", "of protocol 6"),
    "a name": (glob("numpy", "ndarray") + b".", "which is no tensor"),
    "another name": (glob("posix", "system") + b".", "it names posix.system, which is no tensor"),
    "a long name": (glob("a" * 10_000, "b" * 10_000) + b".", "it names aaa"),
    "a name with a line end": (b"\x8c\x02\n\r\x8c\x01b\x93.", "it names"),
    "a name that is a number": (b"K\x01K\x02\x93.", "no name"),
    "a call of a number": (b"K\x01)R.", "cannot be called"),
    "a call of ndarray": (glob("numpy", "ndarray") + b")R.", "cannot be called"),
    "an argument that is no tuple": (glob("numpy", "dtype") + b"]R.", "cannot be called"),
    "an object array": (pickle.dumps(np.array([{}], object)), "dtype 'O8'"),
    "a complex array": (pickle.dumps(np.ones(2, complex)), "dtype 'c16'"),
    "uint32": (pickle.dumps(np.ones(2, np.uint32)), "dtype 'u4'"),
    "a structured array": (pickle.dumps(np.zeros(2, [("a", "f4")])), "dtype 'V4'"),
    "dates": (pickle.dumps(np.zeros(2, "M8[s]")), "dtype 'M8'"),
    "a set": (pickle.dumps({1, 2}), "EMPTY_SET"),
    "a complex number": (pickle.dumps(1j), "it names builtins.complex"),
    "bytes": (pickle.dumps(b"abc"), "it holds bytes"),
    "a dtype": (pickle.dumps(np.dtype("f4")), "it holds Dtype"),
    "an array never filled": (ARRAY.split(b"(")[0] + b".", "it holds Array"),
    "a key that is a number": (pickle.dumps({1: 2}), "a key is a int, wanted str"),
    "a key that is a list": (b"}]Ns.", "a key is a list, wanted str"),
    "half an item": (b"}(\x8c\x01au.", "broken"),
    "an item of a list": (b"]\x8c\x01aNs.", "no dict"),
    "an item appended to a dict": (b"}Na.", "no list"),
    "an empty stack": (b"0.", "not there"),
    "a tuple of what is not there": (b"N\x87.", "not there"),
    "a mark that is not there": (b"Nt.", "broken"),
    "a memo that is not there": (b"h\x07.", "broken"),
    "a huge memo index": (b"Nr\xff\xff\xff\xff0j\xfe\xff\xff\xff.", "broken"),
    "itself": (b"]q\x00h\x00a.", "nested more than"),
    "itself in a dict": (b"}q\x00\x8c\x01ah\x00s.", "nested more than"),
    "deep lists": (b"(" * 50_000 + b"l" * 50_000 + b".", "more parts|nested more than"),
    "deep tuples": (b"N" + b"\x85" * 5_000 + b".", "nested more than"),
    "a thousand million laughs": (
        b"N" + b"".join(b"q%c0](h%ch%ce" % (i, i, i) for i in range(60)) + b".",
        "more parts",
    ),
    "shared without end": (
        b"N" + b"".join(b"q%ch%c\x86" % (i, i) for i in range(60)) + b".",
        "more parts",
    ),
    "65 bits": (pickle.dumps(2**64), "more than 64 bits"),
    "a long number": (b"\x8b\x10\x27\x00\x00" + b"\x7f" * 10_000 + b".", "more than 64 bits"),
    "a long number's length": (b"\x8b\xff\xff\xff\x7f\x01.", "broken"),
    "a negative length": (b"\x8b\xff\xff\xff\xff\x01.", "broken"),
    "a long decimal": (b"I" + b"9" * 1_000_000 + b"\n.", "more than 64 bits"),
    "a long decimal L": (b"L" + b"9" * 1_000_000 + b"L\n.", "more than 64 bits"),
    "a decimal index": (b"Np" + b"9" * 1_000_000 + b"\n.", "more than 64 bits"),
    "a length of 2^62": (b"\x8e" + (2**62).to_bytes(8, "little") + b"a.", "broken"),
    "a bytearray of 2^40": (b"\x96" + (2**40).to_bytes(8, "little") + b"a.", "broken"),
    "a text of 2^31": (b"X\xff\xff\xff\x7fa.", "broken"),
    "broken UTF-8": (b"\x8c\x02\xff\xff.", "broken"),
    "escapes of Python 2": (b"S'\\q'\n.", "instruction STRING"),
    "an extension": (b"\x82\x01.", "instruction EXT1"),
    "INST": (b"(i" + b"posix\nsystem\n.", "instruction INST"),
    "OBJ": (b"(" + glob("collections", "OrderedDict") + b"o.", "instruction OBJ"),
    "NEWOBJ": (glob("collections", "OrderedDict") + b")\x81.", "instruction NEWOBJ"),
    "an object": (pickle.dumps(Plain()), "it names"),
    "a persistent id in text": (b"Pposix\n.", "instruction PERSID"),
    "a buffer outside": (b"\x80\x05\x97.", "instruction NEXT_BUFFER"),
    "a storage": (b"NQ.", "no torch archive|torch writes"),
    "codecs": (pickle.dumps(Calls(codecs.encode, ("a", "rot13"))), "latin1"),
    "eval": (pickle.dumps(Calls(eval, ("1",))), "it names builtins.eval"),
    "getattr": (pickle.dumps(Calls(getattr, ("", "x"))), "it names builtins.getattr"),
    "pickle in a pickle": (pickle.dumps(Calls(pickle.loads, (b"N.",))), r"it names _pickle.loads"),
    "attributes of a name": (
        glob("numpy", "dtype") + b"}\x8c\x08__call__\x8c\x01xsb.",
        "filled with what is not its own",
    ),
    "a dotted name": (b"\x8c\x05numpy\x8c\x0ddtype.__init_\x93.", "it names numpy.dtype.__init_"),
    "attributes of an OrderedDict": (
        glob("collections", "OrderedDict") + b")R}\x8c\x01xNsb.",
        "filled with what is not its own",
    ),
    "an array filled twice": (
        pickle.dumps(np.ones(2), 2)[:-1] + b"(K\x01)Nb.",
        "filled with what is not its own",
    ),
}


@pytest.mark.parametrize(("data", "said"), WRONG.values(), ids=WRONG.keys())
def test_all_else_is_one_line_of_error(data, said):
    start = time.perf_counter()
    refused(data, said)
    assert time.perf_counter() - start < 3


def array_bytes(shape, raw, code="f4", fortran=False):
    """The pickle of an array that says `shape` and gives `raw`."""
    make = np._core.multiarray._reconstruct
    array = Calls(make, (np.ndarray, (0,), b"b"), (1, shape, np.dtype(code), fortran, raw))
    return pickle.dumps(array)


@pytest.mark.parametrize(
    "shape",
    [(2, 4), (2, 6), (-2, -5), (10**6, 10**6), (2**62, 4), (2.0, 5), (True, 10), [2, 5], (1,) * 70],
    ids=str,
)
def test_a_shape_that_is_not_that_of_the_bytes(shape):
    refused(array_bytes(shape, b"\x00" * 40))


def test_truth_values_are_0_or_1():
    assert unpickled(array_bytes((2,), b"\x00\x01", "b1"), "x").tolist() == [False, True]
    refused(array_bytes((2,), b"\x00\x02", "b1"), "truth values")


# --- storages of torch


def view_bytes(offset=0, size=(2, 5), stride=(5, 1), numel=10, kind="FloatStorage", hooks=None):
    stored = ("storage", getattr(torch, kind), "0", "cpu", numel)
    stream = io.BytesIO()
    pickler = pickle.Pickler(stream, 2)
    hooks = OrderedDict() if hooks is None else hooks
    pickler.persistent_id = lambda thing: stored if thing == "here" else None
    rebuild = torch._utils._rebuild_tensor_v2
    pickler.dump(Calls(rebuild, ("here", offset, size, stride, False, hooks)))
    return stream.getvalue()


def floats(key):
    return np.arange(10, dtype=np.float32).tobytes() if key == "0" else b""


def test_a_view_of_a_storage():
    tensor = unpickled(view_bytes(1, (3, 2), (1, 4)), "x", floats)
    assert tensor.tolist() == [[1, 5], [2, 6], [3, 7]]


BAD_VIEWS = {
    "offset out": {"offset": 1},
    "offset < 0": {"offset": -1},
    "size < 0": {"size": (-2, 5)},
    "stride < 0": {"stride": (-5, 1)},
    "strides too far": {"stride": (6, 1)},
    "stride 0": {"size": (10**6, 10**6), "stride": (0, 0)},
    "stride 0, a little": {"size": (11,), "stride": (0,)},
    "fewer strides": {"stride": (1,)},
    "an empty one outside": {"size": (0,), "stride": (1,), "offset": 99},
    "a size of floats": {"size": (2.0, 5)},
    "numel too small": {"numel": 9},
    "numel too large": {"numel": 2**60},
    "numel < 0": {"numel": -10},
    "another kind": {"kind": "DoubleStorage"},
    "complex": {"kind": "ComplexFloatStorage"},
    "hooks": {"hooks": OrderedDict(a=1)},
    "hooks in a dict": {"hooks": {}},
}


@pytest.mark.parametrize("row", BAD_VIEWS.values(), ids=BAD_VIEWS.keys())
def test_a_view_out_of_its_storage_is_refused(row):
    refused(view_bytes(**row), storages=floats)
    refused(view_bytes(), "no torch archive")


# --- any bytes


def survives(data):
    """Read, or a CheckpointError of one line: nothing else may come out."""
    said = "x: "
    try:
        unpickled(data, "x", floats)
    except CheckpointError as error:
        said = str(error)
    assert said.startswith("x: ")
    assert "\n" not in said


@settings(max_examples=500)
@given(st.binary(max_size=300))
def test_arbitrary_bytes(data):
    survives(data)


parts = [
    b"N",
    b"K\x01",
    b"J\xff\xff\xff\xff",
    b"\x8c\x01a",
    b"C\x01b",
    b"(",
    b"t",
    b"l",
    b"d",
    b"]",
]
parts += [b"}", b")", b"\x85", b"\x86", b"\x87", b"a", b"e", b"s", b"u", b"0", b"1", b"\x94"]
parts += [b"h\x00", b"h\x01", b"q\x00", b"R", b"b", b"Q", b"\x93", b"\x96" + b"\x00" * 8]
parts += [glob(*name.split()) for name in ("numpy ndarray", "numpy dtype", "_codecs encode")]
parts += [glob("numpy._core.multiarray", name) for name in ("_reconstruct", "scalar")]
parts += [glob("torch._utils", "_rebuild_tensor_v2"), glob("torch", "FloatStorage")]
parts += [glob("collections", "OrderedDict"), glob("builtins", "tuple"), b"\x8c\x02f4"]


@settings(max_examples=500)
@given(st.lists(st.sampled_from(parts), max_size=40))
def test_instructions_in_any_order(instructions):
    survives(b"".join(instructions) + b".")


@settings(max_examples=500)
@given(st.sampled_from([*REAL, view_bytes()]), st.data())
def test_real_files_with_other_bytes(data, draw):
    data = bytearray(data)
    for _ in range(draw.draw(st.integers(1, 4))):
        data[draw.draw(st.integers(0, len(data) - 1))] = draw.draw(st.integers(0, 255))
    survives(bytes(data))


def test_every_truncation_of_real_files_is_refused():
    for data in REAL:
        for length in range(len(data)):
            refused(data[:length])


# --- nothing runs, memory is bounded


def test_nothing_is_run_imported_or_opened(tmp_path):
    """In a process of its own, for an audit hook stays: the events while hostile files are read."""
    canary = tmp_path / "was run"
    payloads = [pickle.dumps(Calls(os.mkdir, (str(canary),)), p) for p in range(6)]
    payloads += [data for data, _ in WRONG.values() if len(data) < 5_000]
    (tmp_path / "payloads").write_bytes(pickle.dumps(payloads))
    code = f"""
import pickle, sys, opnet, torch
from opnet.pickles import unpickled
payloads = pickle.load(open({str(tmp_path / "payloads")!r}, "rb"))
try: unpickled(b"N", "warm")
except ValueError: pass
seen, on = [], False
sys.addaudithook(lambda event, args: on and seen.append(event))
on = True
for data in payloads:
    try: unpickled(data, "x")
    except opnet.CheckpointError: pass
    else: raise SystemExit("read")
on = False
print(sorted(set(seen)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    seen = ast.literal_eval(done.stdout)
    assert not [
        e for e in seen if e.startswith(("import", "exec", "compile", "os.", "open", "sub"))
    ]
    assert not canary.exists()


BOMBS = {
    "lists": b"]" * 4_000_000,
    "dicts": b"}" * 4_000_000,
    "marks": b"(" * 4_000_000,
    "memo": b"N" + b"\x94" * 4_000_000,
    "tuples": b"N" + b"\x85" * 4_000_000,
    "texts": b"\x8c\x02ab" * 1_000_000,
    "ordered": glob("collections", "OrderedDict") + b"q\x00" + b"h\x00)R" * 1_000_000,
    "encoded again and again": (
        b"X" + (10**6).to_bytes(4, "little") + b"a" * 10**6 + b"\x8c\x06latin1\x86q\x01"
        + glob("_codecs", "encode") + b"q\x02" + b"h\x02h\x01R" * 100_000 + b"."
    ),
    "an array, honest": pickle.dumps(np.ones(1_000_000, np.float32), 4),
    "an array, honest, in latin1": pickle.dumps(np.full(500_000, -1.3), 2),
    "numbers": pickle.dumps(list(range(10**9, 10**9 + 300_000))),
}  # fmt: skip


@pytest.mark.parametrize("data", BOMBS.values(), ids=BOMBS.keys())
def test_memory_is_a_small_multiple_of_the_file(data):
    tracemalloc.start()
    try:
        survives(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 10 * len(data)
