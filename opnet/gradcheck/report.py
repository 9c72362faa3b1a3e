"""What a check found: a finding for each defect, a row for each gradient, and how to mend it."""

from typing import Any, NamedTuple

MENDS = {
    "missing-gradient": "write self.grads[key] for each param, and return dL/d inputs",
    "wrong-shape": "a gradient has the shape of what it belongs to",
    "wrong-dtype": "compute in the dtype of the inputs; no .float(), no default dtype",
    "not-summed-over-batch": "sum over all rows: every row contributes to dL/d param",
    "mean-instead-of-sum": "sum over the rows; the mean belongs to the loss",
    "transposed": "exchange the two axes: dL/dW = x^T g, dL/dx = g W^T",
    "sign": "turn the sign",
    "scaled": "take the factor out",
    "ignores-upstream": "multiply by the gradient that comes in (chain rule)",
    "missing-term": "write the chain rule again, factor by factor",
    "zero": "the gradient is not zero: was it computed and kept?",
    "wrong-elements": "look at what distinguishes these elements (a mask, an index, an edge)",
    "accumulates": "overwrite grads in each backward; adding up is the trainer's business",
    "stale-state": "read self.params and the latest inputs at each use; keep no copies",
    "mutates-inputs": "work on a copy: inputs and labels are the caller's, params the optimizer's",
    "mutates-upstream": "work on a copy: the upstream gradient belongs to the caller",
    "not-deterministic": "draw random numbers once, in forward, and keep them for backward",
    "needs-contiguous": "use reshape, not view; never read memory in storage order",
    "fails-batch-of-one": "keep the axis of the rows: no squeeze(), no division by N - 1",
    "fails-extra-axes": "use the last axis as features: flatten(0, -2), transpose(-1, -2)",
    "low-precision": "compute in the dtype of the inputs; no .float() or .half() in between",
    "not-finite": "rewrite the formula so that nothing overflows where the result is finite",
    "illegal-subgradient": "at a kink choose a value between the slopes on both sides",
    "wrong-forward": "the derivative may be right: the forward is not the reference's",
    "halves-disagree": "backward is backward_params and backward_inputs, nothing else",
    "raises": "see the error",
    "wrong-value": "derive it again; compare element by element",
}


class Finding(NamedTuple):
    """One defect: its kind, where it shows (`inputs`, `W`, `fc1.W`, `outputs`), what was seen."""

    kind: str
    where: str
    message: str

    def __str__(self) -> str:
        return f"{self.kind} in {self.where}: {self.message}\n    to mend: {MENDS[self.kind]}"


class Row(NamedTuple):
    """One gradient that was compared: how many elements, and the one with the largest error."""

    where: str
    elements: int
    error: float
    at: list[int]
    hand: float
    numeric: float
    right: bool

    def cells(self) -> tuple[str, ...]:
        place = ", ".join(map(str, self.at))
        values = (f"{self.error:.1e}", f"[{place}]", f"{self.hand:.6g}", f"{self.numeric:.6g}")
        verdict = "right" if self.right else "WRONG"
        return (f"dL/d {self.where}", str(self.elements), *values, verdict)


COLUMNS = ("gradient", "elements", "largest error", "at", "by hand", "numeric", "verdict")


class Report:
    """The outcome of `opnet.check`: `passed`, `findings`, and a table when printed."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.rows: list[Row] = []
        self.findings: list[Finding] = []
        self.notes: list[str] = []

    @property
    def passed(self) -> bool:
        return not self.findings

    def add(self, kind: str, where: str, message: str) -> None:
        """Once for each kind and place."""
        if (kind, where) not in {(f.kind, f.where) for f in self.findings}:
            self.findings.append(Finding(kind, where, " ".join(message.split())))

    def blames(self, *kinds: str) -> bool:
        return any(finding.kind in kinds for finding in self.findings)

    def as_dict(self) -> dict[str, Any]:
        """For machines: name, passed, gradients, findings with their mend, notes."""
        return {
            "name": self.name,
            "passed": self.passed,
            "gradients": [row._asdict() for row in self.rows],
            "findings": [f._asdict() | {"mend": MENDS[f.kind]} for f in self.findings],
            "notes": self.notes,
        }

    def __str__(self) -> str:
        lines = [f"{self.name}: {'passed' if self.passed else 'FAILED'}"]
        if self.rows:
            cells = [COLUMNS, *(row.cells() for row in self.rows)]
            widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
            for first, *others in cells:
                aligned = [first.ljust(widths[0]), *map(str.rjust, others, widths[1:])]
                lines.append("  " + "   ".join(aligned))
        lines += [f"  note: {note}" for note in self.notes]
        lines += [f"  {finding}" for finding in self.findings]
        return "\n".join(lines)
