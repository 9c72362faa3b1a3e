"""Which ops in which order; no formula. `load` rebuilds a model from the files of its layers."""

from pathlib import Path

import torch

from . import checkpoint
from .activations import Logistic
from .errors import CheckpointError
from .linear import Linear
from .op import Sequential


class Model_MLP_L2(Sequential):
    """p = s(s(x W1 + b1) W2 + b2), s the Logistic.

    x [..., N, I], W1 [I, H], b1 [1, H], W2 [H, O], b2 [1, O], p [..., N, O].
    `generator`, `device` and `dtype` are passed on to both Linear ops: fc1 draws first.
    Source: NNDL 4.2, the two-layer feed-forward network.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        output_size: int,
        *,
        generator: torch.Generator | None = None,
        device: str | torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        self.fc1 = Linear(
            input_size, hidden_size, "fc1", generator=generator, device=device, dtype=dtype
        )
        self.act_fn1 = Logistic()
        self.fc2 = Linear(
            hidden_size, output_size, "fc2", generator=generator, device=device, dtype=dtype
        )
        self.act_fn2 = Logistic()
        super().__init__(self.fc1, self.act_fn1, self.fc2, self.act_fn2)


def load(directory: str | Path) -> Model_MLP_L2:
    """The Model_MLP_L2 whose fc1.pdparams and fc2.pdparams lie in `directory`, of their sizes.

    CheckpointError when a file is missing, cannot be read, or holds no Linear that fits.
    """
    layers = checkpoint.read(directory, ["fc1", "fc2"])
    W1, W2 = (layers[name].get("W", torch.empty(0)) for name in ("fc1", "fc2"))
    if W1.ndim != 2 or W2.ndim != 2:
        raise CheckpointError(f"{directory}: fc1, fc2 hold no two matrices W [I, H] and W [H, O]")
    sizes = (*W1.shape, W2.shape[1])
    try:
        model = Model_MLP_L2(*sizes, generator=torch.Generator(), dtype=W1.dtype)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{directory}: {error}") from error
    checkpoint.load(directory, model)
    return model
