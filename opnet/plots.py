"""Figures from tensors and callables: every function returns a Figure, none opens a window."""

import functools
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import torch
from torch import Tensor

from .errors import check_count

if TYPE_CHECKING:
    from matplotlib.animation import FuncAnimation
    from matplotlib.figure import Figure

Predict = Callable[[Tensor], Tensor]
P = ParamSpec("P")
R = TypeVar("R")

STARS = (  # the first set, the second, the third: stars of 5, 4 and 8 points
    {"marker": (5, 1, 0), "s": 22},
    {"marker": (4, 1, 0), "s": 70},
    {"marker": (8, 1, 0), "s": 60},
)
ENDS = "osD^v"  # of the first path, the second, ...
X1, X2 = "x₁", "x₂"  # as plain text: TeX costs a quarter of a second, once a process
FORMATS = (".png", ".pdf", ".svg")


def style() -> Any:
    """A context in which figures have the look of opnet.mplstyle; those of this file always do."""
    import matplotlib

    return matplotlib.rc_context(fname=Path(__file__).with_name("opnet.mplstyle"))


def styled(draw: Callable[P, R]) -> Callable[P, R]:
    """A function that draws in the house's style."""

    @functools.wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> R:
        with style():
            return draw(*args, **kwargs)

    return drawn


@styled
def figure(rows: int = 1, columns: int = 1, *, width: float = 6.4, height: float = 4.0) -> Any:
    """(Figure, its Axes, an array of them if there are several), `width` and `height` in inches.

    Without pyplot: no window, no global state, quick to import.
    """
    from matplotlib.figure import Figure

    empty = Figure(figsize=(width, height))
    return empty, empty.subplots(rows, columns)


@styled
def curves(histories: Mapping[str, Sequence[float]], ylabel: str) -> "Figure":
    """Two histories over the epochs, {label: values}. ValueError for empty or unequal ones."""
    lengths = {label: len(values) for label, values in histories.items()}
    if len(lengths) != 2 or len(set(lengths.values())) != 1 or 0 in lengths.values():
        raise ValueError(f"curves: histories have lengths {lengths}, wanted two of one length >= 1")
    drawing, axes = figure()
    for label, values in histories.items():
        axes.plot(range(len(values)), values, label=label)
    axes.set(xlabel="epoch", ylabel=ylabel)
    axes.legend()
    return drawing


def decision_boundary(
    predict: Predict,
    sets: Mapping[str, Sequence[Tensor]],
    title: str = "",
    *,
    limits: float = math.pi,
    resolution: int = 200,
) -> "Figure":
    """p(class 1) as filled contours over [-limits, limits]^2, its 0.5 line, and the sets as stars.

    `predict` takes X [N, 2], of the dtype and on the device of the sets, and returns p [N, 1];
    `sets` is {"train": [X, y], ...}, up to three, each with its own star. ValueError for a set, or
    a model, that does not have two features and one output.
    """
    return decision_boundaries({title: predict}, sets, limits=limits, resolution=resolution)


@styled
def decision_boundaries(
    predicts: Mapping[str, Predict],
    sets: Mapping[str, Sequence[Tensor]],
    *,
    limits: float = math.pi,
    resolution: int = 200,
) -> "Figure":
    """A `decision_boundary` for each of {title: predict}, side by side."""
    ticks = _ticks(sets, limits, resolution)
    drawing, panels = figure(1, len(predicts), width=2.4 + 4 * len(predicts), height=5.4)
    first, *_ = every = list(getattr(panels, "flat", [panels]))
    for axes, (title, predict) in zip(every, predicts.items(), strict=True):
        filled, *_ = _region(axes, ticks, predict)
        _stars(axes, sets, limits, legend=axes is first)
        axes.set_title(title)
        axes.label_outer()
    drawing.colorbar(filled, ax=panels, label="p(class 1)")
    return drawing


@styled
def moving_boundary(
    predicts: Mapping[str, Predict],
    sets: Mapping[str, Sequence[Tensor]],
    *,
    limits: float = math.pi,
    resolution: int = 100,
) -> "FuncAnimation":
    """A `decision_boundary` that moves: one frame for each of {title: predict}."""
    from matplotlib.animation import FuncAnimation

    titles, models = list(predicts), list(predicts.values())
    ticks = _ticks(sets, limits, resolution)
    drawing, axes = figure(height=5.4)
    shown = _region(axes, ticks, models[0])
    _stars(axes, sets, limits)
    axes.set_title(titles[0])
    drawing.colorbar(shown[0], ax=axes, label="p(class 1)")
    drawing.draw_without_rendering()
    drawing.set_layout_engine("none")  # the layout is found: no frame needs to find it again

    def draw(frame: int) -> None:
        for contours in shown:
            contours.remove()
        shown[:] = _region(axes, ticks, models[frame])
        axes.set_title(titles[frame])

    return FuncAnimation(drawing, draw, frames=len(models), init_func=lambda: None)


def _ticks(sets: Mapping[str, Sequence[Tensor]], limits: float, resolution: int) -> Tensor:
    """The grid's coordinates, like the X of the sets, which are looked at here."""
    check_count("decision_boundary: resolution", resolution, lowest=2)
    if len(sets) > len(STARS):
        raise ValueError(f"decision_boundary: {len(sets)} sets, wanted at most {len(STARS)}")
    for name, (X, _) in sets.items():
        if X.ndim != 2 or X.shape[1] != 2:
            raise ValueError(f"decision_boundary: {name} has X {list(X.shape)}, wanted [N, 2]")
    like = next((X for X, _ in sets.values()), torch.empty(0))
    return torch.linspace(-limits, limits, resolution, dtype=like.dtype, device=like.device)


def _region(axes: Any, ticks: Tensor, predict: Predict) -> list[Any]:
    """p(class 1) in tenths, and its 0.5 line where there is one."""
    p = predict(torch.cartesian_prod(ticks, ticks))
    if p.shape != (len(ticks) ** 2, 1):
        raise ValueError(f"decision_boundary: predict gave {list(p.shape)}, wanted [N, 1]")
    p, ticks = p.reshape(len(ticks), -1).T.cpu(), ticks.cpu()
    tenths = torch.linspace(0, 1, 11)
    drawn = [axes.contourf(ticks, ticks, p, levels=tenths, cmap="Spectral", alpha=0.6)]
    if p.min() < 0.5 < p.max():
        drawn.append(axes.contour(ticks, ticks, p, levels=[0.5], colors="black", linewidths=1.4))
    return drawn


def _stars(
    axes: Any, sets: Mapping[str, Sequence[Tensor]], limits: float, *, legend: bool = True
) -> None:
    for (name, (X, y)), star in zip(sets.items(), STARS, strict=False):
        x1, x2 = X.T.cpu()
        look = {"vmin": 0, "vmax": 1, "cmap": "Spectral", "edgecolors": "black", "linewidths": 0.3}
        axes.scatter(x1, x2, c=y.flatten().cpu(), label=name, zorder=2, **star, **look)
    bounds = (-limits, limits)
    axes.set(xlabel=X1, ylabel=X2, aspect="equal", xlim=bounds, ylim=bounds)
    axes.locator_params(nbins=4)
    if sets and legend:
        for handle in axes.legend(loc="lower left").legend_handles:
            handle.set(array=None, facecolor="white")  # a star tells the set, its colour the class


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
    x1, x2 = (torch.linspace(*ends, resolution, dtype=torch.float64) for ends in window)
    y = f(*torch.meshgrid(x1, x2, indexing="xy"))
    levels = y.min() + (y.max() - y.min()) * torch.linspace(0.1, 1, 24).double() ** 4
    axes.contour(x1, x2, y, levels=levels, colors="0.8", linestyles="-", linewidths=0.7, zorder=0)
    for point in lowest:
        axes.plot(*point, marker="*", color="black", markersize=11, linestyle="none", zorder=1)
    lines = []
    for (name, path), marker in zip(paths.items(), itertools.cycle(ENDS)):
        end = {"marker": marker, "markevery": [-1], "markeredgecolor": "black"}
        lines += axes.plot(*path.T.cpu().numpy(), label=name, **end)
    axes.set(xlabel=X1, ylabel=X2, xlim=window[0], ylim=window[1])
    return lines


def save(drawing: "Figure", path: str | Path) -> Path:
    """Write a Figure to `path` (.png, .pdf, .svg). ValueError for another ending."""
    path = Path(path)
    if path.suffix not in FORMATS:
        raise ValueError(
            f"save: {path} ends in {path.suffix!r}, wanted one of {', '.join(FORMATS)}"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    drawing.savefig(path)
    return path


def save_animation(animation: "FuncAnimation", path: str | Path, *, fps: int = 12) -> Path:
    """Write an animation to `path` as a GIF that repeats, `fps` frames a second."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    animation.save(path, writer="pillow", fps=fps, dpi=100)
    return path
