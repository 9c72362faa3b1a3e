"""The tools of an examination: fresh copies, walks forward and backward, comparisons."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..walk import named_ops
from .numeric import Slopes, alike, slopes
from .report import Report
from .subject import Subject
from .witness import Compared, autograd_of, compare

Batch = tuple[Tensor, Tensor | None]  # inputs and, for a loss, labels


class Walk(NamedTuple):
    """One forward and backward: what came out, and the copies of what went in."""

    outputs: Tensor
    upstream: Tensor
    grads: dict[str, Any]  # "inputs" and each param


class Examination:
    """Runs an op through every situation and writes what it finds into `report`."""

    def __init__(
        self,
        op: Any,
        x: Tensor,
        labels: Tensor | None,
        seed: int,
        report: Report,
        alone: Callable[[Any, Tensor, int], Report],
    ) -> None:
        self.op, self.x, self.labels, self.report = op, x, labels, report
        self.examine_alone = alone
        self.seed = seed
        self.evaluating = self.turned = False
        self.rows_are_fixed = False
        self.trusted: set[str] = set()  # gradients of autograd that the differences have confirmed

    @contextmanager
    def otherwise(self, **situation: Any) -> Iterator[None]:
        """In another situation for a while; what is found there brings its rows into the table."""
        before, rows = {key: getattr(self, key) for key in situation}, self.report.rows
        vars(self).update(situation)
        try:
            yield
        finally:
            vars(self).update(before)
            self.report.rows = self.report.rows if self.report.findings else rows

    # --- the pieces

    def random(self, *shape: int, salt: int = 0) -> Tensor:
        generator = torch.Generator().manual_seed(self.seed * 1000 + salt)
        return torch.randn(shape, dtype=torch.float64, generator=generator)

    def subject(
        self,
        *,
        moved: bool = True,
        rebound: bool = False,
        warm: bool = True,
        contiguous: bool = False,
    ) -> Subject:
        """A fresh copy with two other batches behind it; then its params leave their start."""
        subject = Subject(self.op, self.labels)
        if self.evaluating:
            subject.set_training(False)
        if warm:
            own = subject.labels
            for batch, subject.labels in self.other_batches():
                self.walk(subject, batch, salt=77, contiguous=contiguous)
            subject.labels = own
        if moved:
            for salt, (label, param) in enumerate(subject.params.items()):
                if param.is_floating_point():
                    by = 0.25 * self.random(*param.shape, salt=salt + 1).tanh()
                    by = torch.where(param == 0, by, by * param)  # what is positive stays so
                    if self.turned:  # but here, where about half of them change sign
                        by -= 2 * param * (self.random(*param.shape, salt=salt + 50) < 0)
                    if rebound:
                        subject.rebind(label, param + by)
                    else:
                        param.add_(by)
        return subject

    def other_batches(self) -> list[Batch]:
        """Rows between those of x, one fewer where there are more; then those of x in turn."""
        x, labels = self.x, self.labels
        if not x.is_floating_point():
            return [(x.flip(0), None if labels is None else labels.flip(0))]
        if x.ndim < 2 or x.shape[-2] < 2:
            return [(x * 0.5, labels)]
        turned = self.rows(torch.arange(x.shape[-2]).flip(0))
        if self.rows_are_fixed:
            return [turned]
        fewer, fewer_labels = self.rows(torch.arange(1, x.shape[-2]))
        between = 0.7 * fewer + 0.3 * turned[0][..., :-1, :]  # inside of any convex domain
        return [(between, fewer_labels), turned]

    def rows(self, which: Tensor) -> Batch:
        """Some rows of x with their labels."""
        axis, labels = self.x.ndim - 2, self.labels
        if labels is not None and labels.ndim > axis:
            labels = labels.index_select(axis, which)
        return self.x.index_select(axis, which), labels

    def upstream_for(self, outputs: Tensor, salt: int = 0) -> Tensor:
        """Signed, random, and not contiguous."""
        if outputs.ndim == 0:
            return torch.ones_like(outputs)
        *batch, last = outputs.shape
        wide = self.random(*reversed(batch), 2 * last + 1, salt=500 + salt)
        turned = wide.permute(*reversed(range(len(batch))), len(batch))
        return turned[..., : 2 * last : 2]

    def walk(
        self,
        subject: Subject,
        x: Tensor,
        *,
        salt: int = 0,
        contiguous: bool = False,
        size: float = 1.0,
    ) -> Walk:
        x = x.clone()
        outputs = subject.forward(x)
        upstream = self.upstream_for(outputs, salt).mul_(size)
        if contiguous:
            upstream = upstream.contiguous()
        kept = upstream.clone()
        dx = subject.backward(upstream)
        grads = {"inputs": dx, **subject.grads}
        copies = {k: g.clone() if isinstance(g, Tensor) else g for k, g in grads.items()}
        return Walk(outputs, kept, copies)

    def slopes_of(self, subject: Subject, where: str, x: Tensor) -> Slopes:
        """The numeric slopes of every output by the inputs or by one param."""
        if where == "inputs":
            return slopes(subject.forward, x)
        param = subject.params[where]
        before = param.clone()

        def forward(moved: Tensor) -> Tensor:
            param.copy_(moved)
            return subject.forward(x.clone())

        try:
            return slopes(forward, before)
        finally:
            param.copy_(before)

    def with_points(self, points: tuple[float, ...], salt: int = 0) -> Tensor:
        """x with the points strewn over it; in a small x not all of them have room."""
        x = self.x.clone()
        generator = torch.Generator().manual_seed(self.seed + 1000 * salt)
        order = torch.randperm(x.numel(), generator=generator)
        for place, point in zip(order.tolist(), points, strict=False):
            x.view(-1)[place] = point
        return x

    def leaves(self, root: Any) -> Iterator[tuple[str, Any, Tensor]]:
        """Every op of a container with a copy of the inputs that it gets there."""
        subject = Subject(root)
        inputs: dict[str, Tensor] = {}

        def watched(name: str, forward: Any) -> Any:
            def watch(*given: Any) -> Any:
                if len(given) == 1 and isinstance(given[0], Tensor):
                    inputs.setdefault(name, given[0].clone())
                return forward(*given)

            return watch

        ops = named_ops(subject.op)
        originals = named_ops(root)
        for name, op in ops.items():
            if hasattr(op, "forward"):
                op.forward = watched(name, op.forward)
        subject.forward(self.x.clone())
        yield from ((name, originals[name], x) for name, x in inputs.items())

    def alone(self, op: Any, x: Tensor) -> Report:
        return self.examine_alone(op, x, self.seed)

    # --- comparing

    def compared(self, subject: Subject, walk: Walk, x: Tensor) -> dict[str, Compared]:
        """The gradients of `walk` that can be compared, beside their witnesses."""
        by_autograd = autograd_of(subject, x, walk.upstream)
        found = {}
        for where, hand in walk.grads.items():
            if isinstance(hand, Tensor) and self.fits(subject, where, hand, x):
                numeric = self.slopes_of(subject, where, x)
                found[where] = compare(hand, numeric, walk.upstream, by_autograd.get(where))
        return found

    def is_right(self, subject: Subject, walk: Walk, x: Tensor) -> bool:
        """Whether every gradient is; by autograd alone where the differences have confirmed it."""
        by_autograd = autograd_of(subject, x, walk.upstream)
        for where, hand in walk.grads.items():
            if where == "inputs" and not x.is_floating_point():
                continue
            if not (isinstance(hand, Tensor) and self.fits(subject, where, hand, x)):
                return False
            witness = by_autograd.get(where)
            if where in self.trusted and alike(witness, hand):
                continue
            numeric = self.slopes_of(subject, where, x)
            if compare(hand, numeric, walk.upstream, witness).bad.any():
                return False
        return True

    def fits(self, subject: Subject, where: str, hand: Tensor, x: Tensor) -> bool:
        if where == "inputs" and not x.is_floating_point():
            return False
        wanted = x if where == "inputs" else subject.params[where]
        return hand.shape == wanted.shape and hand.dtype == wanted.dtype

    def agrees(self, x: Tensor | None = None, *, contiguous: bool = False, **how: bool) -> bool:
        """Whether every gradient is right in another situation; an error counts as wrong."""
        x = self.x if x is None else x
        try:
            subject = self.subject(contiguous=contiguous, **how)
            walk = self.walk(subject, x, contiguous=contiguous)
            return self.is_right(subject, walk, x)
        except Exception:
            return False


def equal(a: Tensor, b: Tensor) -> bool:
    """The same bits; nan is equal to nan."""
    if a.shape != b.shape:
        return False
    return bool(((a == b) | (a.isnan() & b.isnan())).all())
