"""The state of a run that can go on: one more set of files that changes as a whole."""

from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from ..archive import packed
from ..errors import CheckpointError
from .atomic import Content, commit, read_set
from .manifest import RESUME, STATE
from .parts import parts_of
from .save import made


class RunState(NamedTuple):
    """All that a run is made of: tensors by name, and in `about` what can be read in plain text."""

    tensors: dict[str, Tensor]
    about: dict[str, Any]


def save_state(directory: Path, state: RunState) -> None:
    """Put the state in the place of the last one. CheckpointError, and the last one stays, if not.

    Values may be nan or infinite here: a run that has gone bad is kept as it is.
    """
    commit(
        made(directory / RESUME),
        {STATE: Content(packed(state.tensors), state.tensors)},
        state.about,
    )


def read_state(directory: Path) -> RunState | None:
    """The last state that was saved; None where there is none. CheckpointError if damaged."""
    where = directory / RESUME
    manifest, data = read_set(where, f"to begin anew, delete {where}")
    if manifest is None:
        return None
    if STATE not in data:
        raise CheckpointError(f"{where}: holds no {STATE}")
    return RunState(parts_of(where, data, manifest)[STATE].tensors, manifest.about)
