"""What other programs call the tensors of a layer, and which way round they lay a matrix.

torch's nn.Linear keeps weight [O, I], Paddle's [I, O] as opnet does; both keep vectors as [F],
where opnet has rows [1, F]. A file that already says W and b passes as it is, and so does one that
fits: an op of a learner's may call its own tensors as others do.
"""

from collections.abc import Mapping
from typing import Literal

from torch import Tensor

from .errors import CheckpointError, plain
from .tensors import misfits

Program = Literal["torch", "paddle"]
VECTORS = {
    "bias": "b",
    "running_mean": "running_mean",
    "running_var": "running_var",
    "_mean": "running_mean",
    "_variance": "running_var",
}
DROPPED = "num_batches_tracked"


def per_layer(flat: Mapping[str, Tensor], who: str) -> dict[str, dict[str, Tensor]]:
    """{"fc1.weight": tensor} as {"fc1": {"weight": tensor}}: the layer ends at the last dot."""
    layers: dict[str, dict[str, Tensor]] = {}
    for path, tensor in flat.items():
        layer, _, key = path.rpartition(".")
        if not (layer and key):
            raise CheckpointError(f"{who}: {path[:100]!r} names no layer, wanted '<layer>.<key>'")
        layers.setdefault(layer, {})[key] = tensor
    return layers


def translated(
    found: Mapping[str, Tensor],
    wanted: Mapping[str, Tensor] | None,
    by: Program,
    transpose: bool | None,
    who: str,
) -> dict[str, Tensor]:
    """The tensors of one layer under opnet's names; `wanted`, where given, tells what would fit.

    `transpose` says of `weight` what the file cannot: True, it is [O, I]; False, it is [I, O].
    CheckpointError where a square matrix of torch's leaves both open, or two keys become one.
    """
    if "W" in found or (wanted is not None and not misfits(found, wanted, who)):
        return dict(found)
    ours: dict[str, Tensor] = {}
    for key, tensor in found.items():
        if key == DROPPED:
            continue
        name, value = _ours(key, tensor, (wanted or {}).get("W"), by, transpose, who)
        if name in ours:
            raise CheckpointError(f"{who}: holds {name} twice, once as {plain(key)}")
        ours[name] = value
    return ours


def _ours(
    key: str, tensor: Tensor, W: Tensor | None, by: Program, transpose: bool | None, who: str
) -> tuple[str, Tensor]:
    if key in VECTORS:
        return VECTORS[key], tensor.reshape(1, -1) if tensor.ndim == 1 else tensor
    if key != "weight":
        return key, tensor
    if tensor.ndim != 2:
        return "W", tensor.reshape(1, -1) if tensor.ndim == 1 else tensor
    turned = by == "torch" and _torch_way(tensor, W, transpose, who)
    return "W", tensor.T.contiguous() if transpose or turned else tensor


def _torch_way(weight: Tensor, W: Tensor | None, transpose: bool | None, who: str) -> bool:
    """Whether a matrix of torch's is [O, I]: as told, else as fits, else as nn.Linear has it."""
    if transpose is not None:
        return transpose
    if weight.shape[0] == weight.shape[1]:
        raise CheckpointError(
            f"{who}: weight is square {list(weight.shape)}: pass transpose=True (it is [out, in], "
            "as in nn.Linear) or transpose=False (it is [in, out])"
        )
    return W is None or weight.shape != W.shape


def orientation(first: Tensor, second: Tensor) -> bool | None:
    """Which way round two matrices of layers in a row chain: True [O, I], False [I, O].

    None where both ways chain or neither: it must be told.
    """
    ours, torchs = first.shape[1] == second.shape[0], first.shape[0] == second.shape[1]
    return None if ours == torchs else torchs
