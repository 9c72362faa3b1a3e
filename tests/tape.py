"""A recorder for the CPU: the kernels of a rule, run again on their memory, without its Python."""

from typing import ClassVar

from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

# what a CUDA graph cannot hold: read-backs, and constants that come from the host
READ_BACK = ("_local_scalar_dense", "is_nonzero", "equal", "nonzero", "lift_fresh", "masked_select")


class Tape(TorchDispatchMode):
    """Stands in for `captured.Recorder`. Recording runs the rule, so the first replay does not."""

    made: ClassVar[list["Tape"]] = []

    def __init__(self, device, generators):
        super().__init__()
        self.generators, self.warmed, self.replayed, self.calls = generators, 0, 0, []
        self.made.append(self)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kind = func._schema.name.removeprefix("aten::")
        if kind in READ_BACK:
            raise RuntimeError(f"{kind} while recording")
        outputs = func(*args, **(kwargs or {}))
        self.calls.append((func, args, kwargs or {}, outputs))
        return outputs

    def warm_up(self, rule):
        self.warmed += 1
        rule()

    def record(self, rule):
        self.calls, fresh = [], True
        with self:
            rule()
        calls = self.calls

        def replay():
            nonlocal fresh
            self.replayed += 1
            if not fresh:
                run_again(calls)
            fresh = False

        return replay


def run_again(calls):
    for func, args, kwargs, outputs in calls:
        if func.is_view:
            continue
        again = func(*args, **kwargs)
        if not func._schema.is_mutable:
            for static, value in zip(tree_leaves(outputs), tree_leaves(again), strict=True):
                static.copy_(value)
