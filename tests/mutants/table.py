"""What a row of the bank of wrong ops says."""

from collections.abc import Callable
from typing import Any, NamedTuple

from torch import Tensor

KINDS = (
    "missing-gradient",
    "wrong-shape",
    "wrong-dtype",
    "not-summed-over-batch",
    "mean-instead-of-sum",
    "transposed",
    "sign",
    "scaled",
    "ignores-upstream",
    "missing-term",
    "zero",
    "wrong-elements",
    "accumulates",
    "stale-state",
    "mutates-inputs",
    "mutates-upstream",
    "not-deterministic",
    "needs-contiguous",
    "fails-batch-of-one",
    "fails-extra-axes",
    "low-precision",
    "not-finite",
    "illegal-subgradient",
    "wrong-forward",
    "halves-disagree",
    "raises",
    "wrong-value",
)


class Mutant(NamedTuple):
    """A wrong op and what is to be said of it.

    `where` is the gradient that is wrong: "inputs", "W", "fc1.W" (a layer of a model), "outputs"
    where forward itself is at fault, "" where no one place is. `also`: other kinds that a fair
    judge accepts. `inputs` as in Sound. `reference(inputs)` gives the outputs that were wanted.
    """

    name: str
    make: Callable[[], Any]
    kind: str
    where: str
    inputs: Callable[[], Tensor] | None = None
    also: tuple[str, ...] = ()
    reference: Callable[[Tensor], Tensor] | None = None
