"""States that tell themselves apart: every number of epoch n is n, so that torn is two numbers."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from opnet import (
    BinaryCrossEntropyLoss,
    Linear,
    Logistic,
    Momentum,
    Sequential,
    accuracy,
    checkpoint,
)
from runners import RunnerV2_1

NOBODY = -1  # what a model holds before it is loaded
HIDDEN = 500  # files of several kB: a write can end in the middle
Files = dict[str, dict[str, Tensor]]


def runner(hidden: int = HIDDEN) -> RunnerV2_1:
    """A model of one layer, so that every call can go wrong, and an optimizer; full of NOBODY."""
    layer = Linear(2, hidden, generator=torch.Generator().manual_seed(0))
    model = Sequential(layer, Logistic())
    made = RunnerV2_1(model, Momentum(0.1, model), accuracy, BinaryCrossEntropyLoss(model))
    fill(made, NOBODY)
    return made


def files(runner: Any) -> Files:
    """{file name: its tensors}, the runner's own: what a checkpoint of it holds."""
    layers = checkpoint.layers_of(runner.model)
    found = {f"{name}.pdparams": tensors for name, tensors in layers.items()}
    return found | {"optimizer.pdopt": checkpoint.memory_of(runner.optimizer)}


def tensors(runner: Any) -> list[Tensor]:
    return [tensor for held in files(runner).values() for tensor in held.values()]


def fill(runner: Any, epoch: int) -> None:
    for tensor in tensors(runner):
        tensor.fill_(epoch)


def scatter(runner: Any, seed: int) -> None:
    """Other numbers everywhere, as a real training leaves them."""
    generator = torch.Generator().manual_seed(seed)
    for tensor in tensors(runner):
        tensor.copy_(torch.randn(tensor.shape, generator=generator))


def copies(runner: Any) -> list[Tensor]:
    return [tensor.clone() for tensor in tensors(runner)]


def same_bits(ours: list[Tensor], theirs: list[Tensor]) -> bool:
    """Equal to the last bit: -0 is not 0, and nan is itself."""
    pairs = zip(ours, theirs, strict=True)
    return all(torch.equal(a.view(torch.uint8), b.view(torch.uint8)) for a, b in pairs)


def numbers(held: list[Tensor]) -> list[float]:
    """The different numbers in the tensors, sorted; [n] for a whole epoch n."""
    return torch.cat([tensor.flatten() for tensor in held]).unique().tolist()


def on_disk(path: Path) -> list[float]:
    """The numbers of one file, read without the loader under test; [] when there are none."""
    try:
        return numbers(list(torch.load(path, weights_only=True).values()))
    except Exception:
        return []
