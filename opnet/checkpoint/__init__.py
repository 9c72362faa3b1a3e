"""The only place that writes or reads parameters: `<layer>.pdparams`, a dict of tensors.

Beside them `optimizer.pdopt`, where the optimizer keeps something between steps, and manifest.json
with the sums by which they are known to belong together (`atomic`). Gives and takes tensors by
name; knows no class. Every error is a CheckpointError that names the file.
"""

from .atomic import read_manifest
from .contents import Layers, Memory, layers_of, memory_of
from .load import Found, assign, faults_of, load, read, translated
from .lock import locked
from .manifest import OPTIMIZER, SUFFIX
from .run_state import RESUME, RunState, read_state, save_state
from .save import ELSEWHERE, prepare, save

__all__ = [
    "ELSEWHERE",
    "OPTIMIZER",
    "RESUME",
    "SUFFIX",
    "Found",
    "Layers",
    "Memory",
    "RunState",
    "assign",
    "faults_of",
    "layers_of",
    "load",
    "locked",
    "memory_of",
    "prepare",
    "read",
    "read_manifest",
    "read_state",
    "save",
    "save_state",
    "translated",
]
