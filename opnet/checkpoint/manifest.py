"""manifest.json: what a set of files holds, and the sums by which it is known again."""

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from torch import Tensor

from ..errors import CheckpointError
from ..tensors import described

FORMAT, VERSION = "opnet checkpoint", 1
MOST_BYTES = 2**24
MOST = 2**53  # saves, and bytes of a file
RESUME = "resume"  # the directory of a run, below that of its model: the two change at other times
SUFFIX, OPTIMIZER, STATE = ".pdparams", "optimizer.pdopt", "run.pdstate"
MOST_OF_NAME = 200  # bytes of a layer's name: file systems take 255, with what comes behind it
WANTED = (
    f"<layer>{SUFFIX} of letters, digits, _ - . and no leading dot, {MOST_OF_NAME} bytes at most"
)
_LAYER = re.compile(r"[\w-][\w.-]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")


class Entry(NamedTuple):
    """A file: the sum and number of its bytes, and {key: "float32 [2, 5]"} of its tensors."""

    sha256: str
    size: int
    tensors: dict[str, str]


class Manifest(NamedTuple):
    """The files of one save by name, the number of the save, and what the writer says of it."""

    generation: int
    files: dict[str, Entry]
    about: dict[str, Any]


def entry(data: bytes, tensors: Mapping[str, Tensor]) -> Entry:
    kinds = {key: described(tensor) for key, tensor in tensors.items()}
    return Entry(hashlib.sha256(data).hexdigest(), len(data), kinds)


def is_file_name(name: str) -> bool:
    """Whether a save may write a file of that name.

    A layer's may be of any script, but only as NFKC spells it: some disks take two spellings of
    one text for one file.
    """
    layer = name.removesuffix(SUFFIX)
    if layer == name or not _LAYER.fullmatch(layer):
        return name in (OPTIMIZER, STATE)
    return unicodedata.is_normalized("NFKC", layer) and len(layer.encode()) <= MOST_OF_NAME


def check_names(names: Iterable[str], who: str, way_out: str = "") -> None:
    """CheckpointError unless these can be the files of one directory, on any disk."""
    names, end = list(names), f"; {way_out}" if way_out else ""
    for name in names:
        if not is_file_name(name):
            raise CheckpointError(f"{who}: names {name!r:.120}, wanted {WANTED}{end}")
    if len({name.casefold() for name in names}) < len(names):
        raise CheckpointError(f"{who}: two files differ by upper and lower case only{end}")


def packed(manifest: Manifest) -> bytes:
    """The JSON text, with the sum over all the rest of it."""
    files = {name: entry._asdict() for name, entry in manifest.files.items()}
    head = {"format": FORMAT, "version": VERSION, "generation": manifest.generation}
    content = head | {"about": manifest.about, "files": files}
    return (json.dumps(content | {"sha256": _sum(content)}, indent=1) + "\n").encode()


def parsed(data: bytes, who: str) -> Manifest:
    """The manifest that `packed` made these bytes of. CheckpointError for all others."""
    try:
        return _parsed(data, who)
    except RecursionError:  # of json, in whatever lies a thousand deep
        raise CheckpointError(f"{who}: is damaged, wanted JSON that is not so deep") from None


def _parsed(data: bytes, who: str) -> Manifest:
    try:
        content = json.loads(data)
    except ValueError:
        raise CheckpointError(f"{who}: is damaged, wanted JSON") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CheckpointError(f"{who}: is damaged or not of opnet, wanted format {FORMAT!r}")
    if (version := content.get("version")) != VERSION:
        raise CheckpointError(f"{who}: version {version!r:.20}, this opnet reads {VERSION}")
    if content.pop("sha256", None) != _sum(content):
        raise CheckpointError(f"{who}: is damaged or changed by hand: its own sha256 differs")
    try:
        entries = {name: Entry(**fields) for name, fields in content["files"].items()}
        manifest = Manifest(content["generation"], entries, content["about"])
    except (KeyError, TypeError, AttributeError):
        raise CheckpointError(f"{who}: lacks generation, files or about") from None
    _check(manifest, who)
    return manifest


def _check(manifest: Manifest, who: str) -> None:
    """CheckpointError unless all has its type, and every file is one of this directory."""
    count = type(manifest.generation) is int and 0 <= manifest.generation < MOST
    if not count or not isinstance(manifest.about, dict):
        raise CheckpointError(f"{who}: generation is no count, or about is no dict")
    check_names(manifest.files, who)
    for name, entry in manifest.files.items():
        sizes = type(entry.size) is int and 0 <= entry.size < MOST
        if not (sizes and isinstance(entry.sha256, str) and _SHA256.fullmatch(entry.sha256)):
            raise CheckpointError(f"{who}: {name} has no size or no sha256")
        kinds = entry.tensors.items() if isinstance(entry.tensors, dict) else [(0, 0)]
        if not all(isinstance(text, str) for kind in kinds for text in kind):
            raise CheckpointError(f"{who}: {name} has no list of tensors")


def _sum(content: Mapping[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
