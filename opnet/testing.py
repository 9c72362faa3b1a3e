"""For readers' own pytest suites."""

from typing import Any

from .gradcheck import check


def assert_op(op: Any, inputs: Any = None, *, reference: Any = None, seed: int = 0) -> None:
    """AssertionError with the whole report unless `opnet.check` passes `op`."""
    report = check(op, inputs, reference=reference, seed=seed)
    if not report.passed:
        raise AssertionError(f"\n{report}")
