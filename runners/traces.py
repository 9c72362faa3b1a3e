"""A callback that looks into the model while it is trained."""

from typing import Any

from opnet.errors import check_count
from opnet.tracing import Trace, trace


class Traces:
    """Keep what `opnet.trace` says of the rows [X, y] after each `every`-th epoch and the last.

    `traces` is {epoch: Trace}, `flow` {epoch: {layer: |dL/d params|}}, which
    `opnet.plots.gradient_flow` draws; both begin anew with each `train`. The step of a trace is one
    on these rows, which may be few: each trace costs a walk over them and a copy of the model.
    ValueError or TypeError for rows that the model does not take, before the first epoch.
    """

    def __init__(self, rows: Any, every: int = 1) -> None:
        if not isinstance(rows, (list, tuple)) or len(rows) != 2:
            raise TypeError(f"Traces: rows is a {type(rows).__name__}, wanted [X, y]")
        self.rows = rows
        self.called_every = check_count("Traces: every", every)
        self.traces: dict[int, Trace] = {}
        self.flow: dict[int, dict[str, float]] = {}

    def on_train_begin(self, runner: Any) -> None:
        self.traces, self.flow = {}, {}
        self._traced(runner)

    def on_epoch_end(self, runner: Any, epoch: int) -> None:
        self.traces[epoch] = found = self._traced(runner)
        self.flow[epoch] = found.gradient_norms

    def _traced(self, runner: Any) -> Trace:
        X, y = self.rows
        return trace(runner.model, runner.loss_fn, X, y, optimizer=runner.optimizer)
