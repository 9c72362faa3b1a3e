"""What drives a training: epochs, the best model, logs. No formula."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .callbacks import EarlyStopping, Snapshots, TensorBoard
    from .estimator import OpNetClassifier, OpNetRegressor
    from .runner_v2_1 import RunnerV2_1
    from .traces import Traces

_ROOMS = {
    "EarlyStopping": "callbacks",
    "OpNetClassifier": "estimator",
    "OpNetRegressor": "estimator",
    "RunnerV2_1": "runner_v2_1",
    "Snapshots": "callbacks",
    "TensorBoard": "callbacks",
    "Traces": "traces",
}
__all__ = list(_ROOMS)


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module 'runners' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_ROOMS[name]}", "runners"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
