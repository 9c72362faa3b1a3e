"""Across the border: ops in torch.nn and torch.optim, modules of torch.nn as ops."""

from .export import export_onnx, export_training_step
from .from_torch import from_module
from .modules import as_function, as_module

__all__ = ["as_function", "as_module", "export_onnx", "export_training_step", "from_module"]
