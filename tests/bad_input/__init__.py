"""The table of bad input: a row is a call, the error that it ends in and what that says."""

from .data import DATA
from .losses import LOSSES
from .ops import OPS
from .optimizers import OPTIMIZERS
from .plots import PLOTS
from .row import Bad, X, Y
from .runner import RUNNER

BAD = [*OPS, *LOSSES, *OPTIMIZERS, *RUNNER, *DATA, *PLOTS]
__all__ = ["BAD", "Bad", "X", "Y"]
