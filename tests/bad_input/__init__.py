"""The table of bad input: a row is a call, the error that it ends in and what that says."""

from .command_line import COMMAND_LINE
from .data import DATA
from .loads import LOADS
from .losses import LOSSES
from .ops import OPS
from .optimizers import OPTIMIZERS
from .plots import PLOTS
from .row import Bad, X, Y
from .rows import ROWS
from .runner import RUNNER
from .saves import SAVES

BAD = [*OPS, *LOSSES, *OPTIMIZERS, *RUNNER, *DATA, *ROWS, *PLOTS, *LOADS, *SAVES, *COMMAND_LINE]
__all__ = ["BAD", "Bad", "X", "Y"]
