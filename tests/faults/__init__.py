"""Faults that a checkpoint has to survive: `python -m tests.faults --trials 5000`."""

from .table import FAULTS, rows, run, table

__all__ = ["FAULTS", "rows", "run", "table"]
