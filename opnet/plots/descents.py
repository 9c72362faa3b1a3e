"""Paths of optimizers over the function that they descend."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..errors import check_count
from .canvas import X1, X2, styled
from .drawable import (
    check_axes,
    check_callable,
    check_points,
    check_window,
    given_by,
    paths_of,
)

ENDS = "osD^v"  # of the first path, the second, ...


@styled
def descents(
    axes: Any,
    f: Callable[[Tensor, Tensor], Tensor],
    paths: Mapping[str, Tensor],
    window: Sequence[tuple[float, float]],
    lowest: Sequence[tuple[float, float]] = (),
    *,
    resolution: int = 200,
) -> list[Any]:
    """Contours of f(x1, x2) on `axes`, and `paths` [steps, 2] as lines with a mark at their ends.

    `window` is the range of x1 and that of x2, `lowest` are points to mark with a star. The levels
    are closer together the lower they are. Returns the lines, in the order of `paths`.
    """
    check_axes("descents: axes", axes)
    check_callable("descents: f", f)
    check_window("descents: window", window)
    check_points("descents: lowest", lowest)
    check_count("descents: resolution", resolution, lowest=2)
    found = paths_of("descents", paths)
    x1, x2 = (torch.linspace(*ends, resolution, dtype=torch.float64) for ends in window)
    grid = torch.meshgrid(x1, x2, indexing="xy")
    y = given_by("descents: f", f, *grid, shape=(resolution, resolution))
    levels = y.min() + (y.max() - y.min()) * torch.linspace(0.1, 1, 24).double() ** 4
    axes.contour(x1, x2, y, levels=levels, colors="0.8", linestyles="-", linewidths=0.7, zorder=0)
    for point in lowest:
        axes.plot(*point, marker="*", color="black", markersize=11, linestyle="none", zorder=1)
    lines = []
    for (name, path), marker in zip(found.items(), itertools.cycle(ENDS)):
        end: dict[str, Any] = {"marker": marker, "markevery": [-1], "markeredgecolor": "black"}
        lines += axes.plot(*path.T.numpy(), label=name, **end)
    axes.set(xlabel=X1, ylabel=X2, xlim=window[0], ylim=window[1])
    return lines
