"""What drives a training: epochs, the best model, logs. No formula."""

from .callbacks import EarlyStopping
from .runner_v2_1 import RunnerV2_1

__all__ = ["EarlyStopping", "RunnerV2_1"]
