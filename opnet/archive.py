"""The bytes of a file of tensors: written as torch.save writes them, read as torch or Paddle wrote.

A torch file is a zip archive of plain records: every one must be whole, stored as it is and of the
sum (CRC-32) that the archive gives for it, before anything is made of it. torch.load checks no sum,
and makes a bytearray of whatever length a file names.
"""

import io
import struct
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from .errors import CheckpointError
from .pickles import unpickled

_HEADER = struct.Struct("<4s22xHH")  # of a record: signature, lengths of its name and extra field
_FLAGS = 0x808  # names in UTF-8, sums behind the record: all that torch sets


class Unpacked(NamedTuple):
    """What a file holds, and which program wrote it."""

    content: Any
    by: Literal["torch", "paddle"]


def packed(tensors: Mapping[str, Tensor]) -> bytes:
    """What torch.save writes of `tensors`; the same tensors give the same bytes.

    They are copied: a view would take all that it is a view of to disk. Saved into a path instead
    of a stream, the bytes would depend on its name.
    """
    copies = {
        key: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for key, tensor in tensors.items()
    }
    stream = io.BytesIO()
    torch.save(copies, stream)
    return stream.getvalue()


def unpacked(data: bytes, who: str) -> Unpacked:
    """What `data` hold: a torch archive or a plain pickle, as Paddle writes. Runs no code.

    CheckpointError, one line that starts with `who`, for all else and for every broken record.
    """
    if not data.startswith(b"PK\x03\x04"):
        return Unpacked(unpickled(data, who), "paddle")
    try:
        records = _records(data)
        pickle = bytes(_named(records, "data.pkl"))
        if bytes(records.get("byteorder", b"little")) != b"little":
            raise CheckpointError("its numbers are not little-endian")
    except CheckpointError as error:
        raise CheckpointError(f"{who}: {error}") from None
    except Exception as error:  # zipfile raises whatever the bytes lead it to
        why = type(error).__name__
        raise CheckpointError(
            f"{who}: no whole archive, as torch.save writes them: {why}"
        ) from error
    return Unpacked(unpickled(pickle, who, lambda key: _named(records, f"data/{key}")), "torch")


def _named(records: dict[str, memoryview], name: str) -> memoryview:
    if name not in records:
        raise CheckpointError(f"it has no record {name[:100]!r}")
    return records[name]


def _records(data: bytes) -> dict[str, memoryview]:
    """{name below the one top directory: bytes}, without a copy."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        infos = sorted(archive.infolist(), key=lambda info: info.header_offset)
    records, end, tops = {}, 0, set()
    for info in infos:
        start, stop = _span(data, info)
        if info.header_offset < end or stop > len(data):
            raise CheckpointError(f"record {info.filename[:100]!r} lies over another")
        end, content = stop, memoryview(data)[start:stop]
        if zlib.crc32(content) != info.CRC:
            raise CheckpointError(f"record {info.filename[:100]!r} is damaged: its sum is another")
        top, _, name = info.filename.partition("/")
        tops.add(top)
        if name in records or len(tops) > 1:
            raise CheckpointError(f"record {info.filename[:100]!r} has no place of its own")
        records[name] = content
    return records


def _span(data: bytes, info: zipfile.ZipInfo) -> tuple[int, int]:
    """Where the bytes of a record start and stop."""
    signature, name, extra = _HEADER.unpack_from(data, info.header_offset)
    stored = info.compress_type == zipfile.ZIP_STORED and info.compress_size == info.file_size
    if not stored or info.flag_bits & ~_FLAGS or signature != b"PK\x03\x04":
        raise CheckpointError(f"record {info.filename[:100]!r} is not stored as it is")
    start = info.header_offset + _HEADER.size
    if data[start : start + name] != info.orig_filename.encode():
        raise CheckpointError(f"record {info.filename[:100]!r} has another name at its place")
    return start + name + extra, start + name + extra + info.file_size
