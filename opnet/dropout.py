"""The op that draws."""

import torch
from torch import Tensor

from .errors import check_number
from .op import Op


class Dropout(Op):
    """y = x m / (1 - p),  dy/dx = m / (1 - p);  m is 0 with probability p, else 1.

    x, y, m, g [..., N, F]; 0 <= p < 1. In eval mode y = x. m is drawn anew by each forward in
    training, from `generator`, else from torch's global one; backward uses that of the last
    forward, and `mask` holds it.
    Source: Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov 2014, scaled in training.
    """

    rowwise = True
    mask: Tensor

    def __init__(
        self, p: float, name: str | None = None, *, generator: torch.Generator | None = None
    ) -> None:
        super().__init__(name)
        self.p = check_number(f"{self}: p", p, "0 <= p < 1", lambda number: 0 <= number < 1)
        if not isinstance(generator, torch.Generator | None):
            raise TypeError(f"{self}: generator is {generator!r}, wanted a torch.Generator")
        self.generator = generator

    def forward(self, inputs: Tensor) -> Tensor:
        self.inputs = self.outputs = inputs
        if self.training and self.p:
            self.mask = self._drawn(inputs)
            self.outputs = self._masked(inputs)
        return self.outputs

    def backward_inputs(self, grads: Tensor) -> Tensor:
        return grads.detach() if self.outputs is self.inputs else self._masked(grads)

    def _drawn(self, inputs: Tensor) -> Tensor:
        """The mask for `inputs`; a generator draws on its own device only."""
        drawn_on = inputs.device if self.generator is None else self.generator.device
        draws = torch.rand(inputs.shape, generator=self.generator, device=drawn_on)
        return (draws >= self.p).to(inputs.device)

    def _masked(self, x: Tensor) -> Tensor:
        return (x / (1 - self.p)).masked_fill_(~self.mask, 0)  # 0 for a dropped inf too
