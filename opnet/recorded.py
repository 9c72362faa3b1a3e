"""Rules that are recorded: their kernels, in order, with the memory that they read and write.

On a GPU that is a CUDA graph, on a CPU a `Tape`.
Source: torch's notes on CUDA graphs: static memory, a warm-up on the stream of the recording, no
read-back; generators are registered with the graph, which then moves them on at each replay.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from .tape import Tape

Left = list[Tensor]  # what a rule leaves for others to read: in the same memory at each replay
Rule = Callable[[], Left]  # reads and writes the same memory at each call, reads nothing back


class Graph:
    """Records rules on a CUDA device; the `generators` that they draw from go on as usual."""

    warm_up_epochs = 3  # torch's libraries set themselves up in them

    def __init__(self, device: torch.device, generators: Iterable[torch.Generator]) -> None:
        self.device, self.generators = device, list(generators)
        self.stream = torch.cuda.Stream(device)

    def warm_up(self, rule: Rule) -> Left:
        """Run `rule` as usual, but on the stream on which it will be recorded."""
        here = torch.cuda.current_stream(self.device)
        self.stream.wait_stream(here)
        with torch.cuda.stream(self.stream):
            left = rule()
        here.wait_stream(self.stream)
        return left

    def record(self, rule: Rule) -> tuple[Rule, Left]:
        """What does the work of `rule` from now on, as one call, and what its first call left."""
        graph = torch.cuda.CUDAGraph()
        for generator in self.generators:
            graph.register_generator_state(generator)
        with torch.cuda.graph(graph, stream=self.stream):
            left = rule()

        def replay() -> Left:
            graph.replay()
            return left

        return replay, replay()  # recording a graph does not do its work


RECORDERS: dict[str, Any] = {"cuda": Graph, "cpu": Tape}  # by type of device


class Recorded:
    """A rule whose first calls are as usual; the next one is recorded, all others replay it."""

    def __init__(self, recorder: Any, rule: Rule) -> None:
        self.recorder, self.rule = recorder, rule
        self.calls, self.done = 0, False

    def __call__(self) -> Left:
        return self.rule() if self.done else self._by_the_rule()

    @torch.no_grad()
    def _by_the_rule(self) -> Left:
        self.calls += 1
        if self.calls > self.recorder.warm_up_epochs + 1:
            return self.rule()
        if self.calls <= self.recorder.warm_up_epochs:
            left: Left = self.recorder.warm_up(self.rule)
        else:
            usual = self.rule
            self.rule, left = self.recorder.record(usual)
            self.done = self.rule is not usual
        return left


class OnRows:
    """A rule on rows X, y, recorded for each shape of X: rows are copied to where it reads them."""

    def __init__(self, recorder: Any, rule: Callable[[Tensor, Tensor], Left]) -> None:
        self.recorder, self.rule = recorder, rule
        self.found: dict[torch.Size, tuple[Tensor, Tensor, Recorded]] = {}

    def on(self, X: Tensor, y: Tensor) -> Recorded:
        """The rule on these rows, to be called before the next ones come."""
        if X.shape not in self.found:
            own = torch.empty_like(X), torch.empty_like(y)
            self.found[X.shape] = *own, Recorded(self.recorder, partial(self.rule, *own))
        own_X, own_y, recorded = self.found[X.shape]
        own_X.copy_(X)
        own_y.copy_(y)
        return recorded
