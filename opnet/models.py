"""Which ops in which order; no formula."""

import torch

from .activations import Logistic
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
        self.input_size, self.hidden_size = self.fc1.input_size, self.fc1.output_size
        self.output_size = self.fc2.output_size
        super().__init__(self.fc1, self.act_fn1, self.fc2, self.act_fn2)
