"""What the bytes of a file hold: plain tensors by key, or an error that names the file."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from .. import foreign
from ..archive import unpacked
from ..errors import CheckpointError, joined
from ..errors import plain as plain_text
from ..files import MANIFEST
from ..paddle import plain
from ..tensors import described, kinds_of, unlike
from .contents import PLAIN, is_plain
from .manifest import Manifest


class Part(NamedTuple):
    """The tensors of a layer as the file has them, and by whom: "torch" or "paddle"."""

    tensors: dict[str, Tensor]
    by: foreign.Program


def parts_of(
    directory: Path, data: Mapping[str, bytes], manifest: Manifest | None = None
) -> dict[str, Part]:
    """{file: its tensors}; where a manifest is given, they are of the keys and kinds it names."""
    parts, faults = {}, []
    for name, content in data.items():
        path = directory / name
        try:
            part = parts[name] = part_of(path, content)
        except CheckpointError as error:
            faults.append(str(error))
            continue
        named = manifest.files[name].tensors if manifest else kinds_of(part.tensors)
        faults += [f"{path}: {fault}" for fault in unlike(kinds_of(part.tensors), named, MANIFEST)]
    if faults:
        raise CheckpointError(joined(faults))
    return parts


def part_of(path: Path, data: bytes) -> Part:
    """The dict of plain tensors that `data`, of the file `path`, hold. CheckpointError if not."""
    tensors, by = unpacked(data, str(path))
    if by == "paddle":
        tensors = plain(tensors)
    if not isinstance(tensors, dict):
        raise CheckpointError(f"{path}: holds a {type(tensors).__name__}, wanted a dict of tensors")
    for key, tensor in tensors.items():
        if not (isinstance(key, str) and isinstance(tensor, Tensor)):
            raise CheckpointError(
                f"{path}: {key!r:.80} is a {type(tensor).__name__}, wanted a Tensor"
            )
        if not is_plain(tensor):
            raise CheckpointError(
                f"{path}: {plain_text(key)} is {described(tensor)}, wanted {PLAIN}"
            )
    return Part(tensors, by)
