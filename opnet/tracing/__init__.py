"""One forward and backward walk, looked at op by op."""

from .table import Line, Shown, Trace
from .walk import trace

__all__ = ["Line", "Shown", "Trace", "trace"]
