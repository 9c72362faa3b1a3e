"""Archives: equal bytes for equal tensors, and no broken record, no bomb, no flipped bit passes."""

import io
import pickle
import struct
import zipfile

import pytest
import torch

from opnet import CheckpointError
from opnet.archive import packed, unpacked

LAYER = {"W": torch.arange(10.0).reshape(2, 5), "b": torch.zeros(1, 5)}


def torch_bytes(value, **options):
    stream = io.BytesIO()
    torch.save(value, stream, **options)
    return stream.getvalue()


def equal(found, wanted):
    return list(found) == list(wanted) and all(
        found[key].dtype == wanted[key].dtype and torch.equal(found[key], wanted[key])
        for key in wanted
    )


def again(change=lambda name, content: content, **options):
    """The records of LAYER in a new archive, each as `change` gives it (None: left out)."""
    source, target = io.BytesIO(packed(LAYER)), io.BytesIO()
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", **options) as new:
        for name in old.namelist():
            content = change(name.partition("/")[2], old.read(name))
            if content is not None:
                new.writestr(name, content)
    return target.getvalue()


DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
DTYPES += [torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_what_is_packed_is_unpacked(dtype):
    values = torch.arange(24).reshape(2, 3, 4)
    base = (values % 2 if dtype == torch.bool else values).to(dtype)
    views = {"all": base, "turned": base.mT, "part": base[:, ::2], "one": base[0, 0, 1]}
    views |= {"none": base[:, :0], "twice": base}
    content, by = unpacked(packed(views), "x")
    assert by == "torch"
    assert equal(content, views)
    assert equal(torch.load(io.BytesIO(packed(views)), weights_only=True), views)


@pytest.mark.parametrize(
    "value",
    [
        torch.nn.Linear(3, 4).state_dict(),
        torch.nn.BatchNorm1d(3).state_dict(),
        {"W": torch.nn.Parameter(torch.ones(2, 5))},
        {"W": torch.arange(10.0)[2:8].reshape(2, 3).T, "all": torch.arange(10.0)},
    ],
    ids=["Linear", "BatchNorm", "a parameter", "views of one storage"],
)
def test_what_torch_saves_is_read(value):
    assert equal(unpacked(torch_bytes(value), "x").content, dict(value))


def test_a_plain_pickle_is_paddles():
    assert unpacked(pickle.dumps({"a": [1, "x"]}), "x") == ({"a": [1, "x"]}, "paddle")


def test_the_same_tensors_give_the_same_bytes_and_a_view_not_its_base():
    big = torch.zeros(100_000)
    parts = {"W": big[:10].reshape(2, 5), "b": big[10:15].reshape(1, 5)}
    copies = {key: tensor.clone().mT.contiguous().mT for key, tensor in parts.items()}
    assert packed(parts) == packed(copies)
    assert len(packed(parts)) < 3_000


def central(data, name, offset, form, value):
    """`data` with one field of the directory's entry for `name` replaced."""
    at = data.rindex(b"PK\x01\x02", 0, data.rindex(b"archive/" + name))
    changed = bytearray(data)
    struct.pack_into(form, changed, at + offset, value)
    return bytes(changed)


def twice():
    stream = io.BytesIO(again())
    with zipfile.ZipFile(stream, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("archive/data/0", b"\x00" * 40)
    return stream.getvalue()


def beside():
    stream = io.BytesIO(again())
    with zipfile.ZipFile(stream, "a") as archive:
        archive.writestr("other/data/0", b"")
    return stream.getvalue()


def without(name):
    return again(lambda found, content: None if found == name else content)


def instead(name, there):
    return again(lambda found, content: there if found == name else content)


PLAIN = again()
WRONG = {
    "nothing but a signature": (lambda: b"PK\x03\x04", "no whole archive"),
    "compressed": (lambda: again(compression=zipfile.ZIP_DEFLATED), "not stored as it is"),
    "a bomb": (lambda: central(PLAIN, b"data/0", 24, "<I", 10**9), "not stored as it is"),
    "longer than the file": (
        lambda: central(central(PLAIN, b"data/0", 20, "<I", 10**9), b"data/0", 24, "<I", 10**9),
        "lies over another",
    ),
    "encrypted": (lambda: central(PLAIN, b"data/0", 8, "<H", 1), "not stored as it is"),
    "another sum": (lambda: central(PLAIN, b"data/0", 16, "<I", 7), "is damaged"),
    "another place": (lambda: central(PLAIN, b"data/0", 42, "<I", 0), "lies over|another name"),
    "a name twice": (twice, "no place of its own"),
    "two directories": (beside, "no place of its own"),
    "big-endian": (lambda: instead("byteorder", b"big"), "not little-endian"),
    "no pickle": (lambda: without("data.pkl"), "no record 'data.pkl'"),
    "no storage": (lambda: without("data/0"), "no record 'data/0'"),
    "a short storage": (lambda: instead("data/0", b"\x00" * 36), "storage of 10 numbers has 36"),
    "a long storage": (lambda: instead("data/0", b"\x00" * 44), "storage of 10 numbers has 44"),
    "junk for a pickle": (lambda: instead("data.pkl", b"junk"), "read safely"),
    "a legacy file": (
        lambda: torch_bytes(LAYER, _use_new_zipfile_serialization=False),
        "read safely",
    ),
    "complex": (lambda: torch_bytes({"W": torch.ones(2, dtype=torch.complex64)}), "names torch.C"),
    "float8": (lambda: torch_bytes({"W": torch.ones(2).to(torch.float8_e4m3fn)}), "it names"),
    "meta": (lambda: torch_bytes({"W": torch.ones(2, device="meta")}), "it names"),
    "sparse": (lambda: torch_bytes({"W": torch.ones(2, 2).to_sparse()}), "it names"),
    "expanded": (
        lambda: torch_bytes({"W": torch.zeros(2).expand(10**6, 2)}),
        "reaches out of its storage of 2",
    ),
}


@pytest.mark.parametrize(("make", "said"), WRONG.values(), ids=WRONG.keys())
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_all_else_is_one_line_of_error(make, said):
    data = make()
    with pytest.raises(CheckpointError, match=said) as error:
        unpacked(data, "a/file")
    assert str(error.value).startswith("a/file: ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("data", [packed(LAYER), PLAIN], ids=["torch's", "zipfile's"])
def test_no_flipped_bit_passes_as_other_tensors(data):
    """Refused, or of no account: the tensors are the same to the bit."""
    for place in range(len(data) * 8):
        flipped = bytearray(data)
        flipped[place // 8] ^= 1 << place % 8
        try:
            content, by = unpacked(bytes(flipped), "x")
        except CheckpointError:
            continue
        assert (by, equal(content, LAYER)) == ("torch", True), place


def test_every_truncation_is_refused():
    data = packed(LAYER)
    for length in range(len(data)):
        with pytest.raises(CheckpointError, match=r"^x: "):
            unpacked(data[:length], "x")
