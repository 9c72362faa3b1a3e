"""How the state of a run lies in tensors: names, rows of numbers, a text of plain values."""

import json

import torch
from torch import Tensor

from opnet.checkpoint import RunState

from .held import Values, unpacked
from .snapshots import Snapshot

RANDOM, HELD = "random.", "held"
HISTORIES = ("train_scores", "train_loss", "dev_scores", "dev_loss")


def flat(name: str, taken: Snapshot) -> dict[str, Tensor]:
    weights = {f"{name}.weight.{i}": tensor for i, tensor in enumerate(taken.weights)}
    return weights | {f"{name}.memory.{key}": tensor for key, tensor in taken.memory.items()}


def below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): t for k, t in tensors.items() if k.startswith(prefix)}


def snapshot_of(name: str, tensors: dict[str, Tensor]) -> Snapshot:
    weights = list(below(f"{name}.weight.", tensors).values())
    memory = below(f"{name}.memory.", tensors)
    return Snapshot(lambda: (weights, memory))


def row(numbers: list[float]) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float64)


def text(values: Values) -> Tensor:
    """The JSON text, as bytes: floats as they are, to the last bit."""
    return torch.frombuffer(bytearray(json.dumps(values).encode()), dtype=torch.uint8)


def values_of(found: RunState) -> Values:
    """The values that were held. KeyError, TypeError and so on for what `text` never made."""
    values = json.loads(found.tensors[HELD].numpy().tobytes())
    for part in values.values():
        for value in part.values():
            unpacked(value)
    return values


def fixed(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Those that every state of a run has, in one shape."""
    grow = ("history.", "last.memory.", "kept.memory.")
    fixed = {name: tensor for name, tensor in tensors.items() if not name.startswith(grow)}
    return {name: tensor for name, tensor in fixed.items() if name != HELD}
