"""Figures from tensors and callables: every function returns a Figure, none opens a window."""

from .boundary import DecisionBoundary, moving_boundary
from .canvas import X1, X2, figure, save, save_animation, style
from .confusion import confusion
from .curves import curves, gradient_flow, gradient_norms
from .descents import descents

__all__ = [
    "X1",
    "X2",
    "DecisionBoundary",
    "confusion",
    "curves",
    "descents",
    "figure",
    "gradient_flow",
    "gradient_norms",
    "moving_boundary",
    "save",
    "save_animation",
    "style",
]
