"""Wrong ops, each with the kind of its defect: a sound op but for the one rule that is wrong."""

from .edges import EDGES
from .state import STATE
from .table import KINDS, Mutant
from .values import VALUES
from .weights import WEIGHTS

MUTANTS = [*WEIGHTS, *VALUES, *STATE, *EDGES]

__all__ = ["KINDS", "MUTANTS", "Mutant"]
