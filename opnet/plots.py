"""Figures from tensors and callables: every function returns a Figure, none opens a window."""

import contextlib
import functools
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import torch
from torch import Tensor

from .data import Rows
from .drawable import (
    check_callable,
    check_points,
    check_predicts,
    check_window,
    given_by,
    histories_of,
    paths_of,
    sets_of,
)
from .errors import check_count, check_path, check_positive

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

    rows, columns = check_count("figure: rows", rows), check_count("figure: columns", columns)
    width, height = check_positive("figure: width", width), check_positive("figure: height", height)
    empty = Figure(figsize=(width, height))
    return empty, empty.subplots(rows, columns)


@styled
def curves(histories: Mapping[str, Sequence[float]], ylabel: str) -> "Figure":
    """Two histories over the epochs, {label: values}.

    ValueError for empty or unequal ones, and for values that are not finite.
    """
    found = histories_of("curves", histories)
    drawing, axes = figure()
    for label, values in found.items():
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
    `sets` is {"train": [X, y], ...}, up to three, each with its own star; NumPy arrays and lists
    are drawn as float32. ValueError for a set, or a model, that does not have two features and one
    output, and for values that are not finite.
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
    check_predicts("decision_boundary", predicts)
    stars, ticks = _plane(sets, limits, resolution)
    drawing, panels = figure(1, len(predicts), width=2.4 + 4 * len(predicts), height=5.4)
    first, *_ = every = list(getattr(panels, "flat", [panels]))
    for axes, (title, predict) in zip(every, predicts.items(), strict=True):
        filled, *_ = _region(axes, ticks, predict)
        _stars(axes, stars, limits, legend=axes is first)
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

    check_predicts("decision_boundary", predicts)
    titles, models = list(predicts), list(predicts.values())
    stars, ticks = _plane(sets, limits, resolution)
    drawing, axes = figure(height=5.4)
    shown = _region(axes, ticks, models[0])
    _stars(axes, stars, limits)
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


def _plane(sets: Any, limits: float, resolution: int) -> tuple[dict[str, Rows], Tensor]:
    """The sets, and the coordinates of a grid of their dtype, on their device."""
    check_count("decision_boundary: resolution", resolution, lowest=2)
    limits = check_positive("decision_boundary: limits", limits)
    stars = sets_of("decision_boundary", sets, len(STARS))
    like = next((X for X, _ in stars.values()), torch.empty(0))
    return stars, torch.linspace(-limits, limits, resolution, dtype=like.dtype, device=like.device)


def _region(axes: Any, ticks: Tensor, predict: Predict) -> list[Any]:
    """p(class 1) in tenths, and its 0.5 line where there is one."""
    grid = torch.cartesian_prod(ticks, ticks)
    p = given_by("decision_boundary: predict", predict, grid, shape=(len(grid), 1))
    p, ticks = p.reshape(len(ticks), -1).T.cpu(), ticks.cpu()
    tenths = torch.linspace(0, 1, 11)
    drawn = [axes.contourf(ticks, ticks, p, levels=tenths, cmap="Spectral", alpha=0.6)]
    if p.min() < 0.5 < p.max():
        drawn.append(axes.contour(ticks, ticks, p, levels=[0.5], colors="black", linewidths=1.4))
    return drawn


def _stars(axes: Any, sets: Mapping[str, Rows], limits: float, *, legend: bool = True) -> None:
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
    from matplotlib.axes import Axes

    if not isinstance(axes, Axes):
        raise TypeError(f"descents: axes is {axes!r}, wanted Axes")
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


def save(drawing: "Figure", path: str | Path) -> Path:
    """Write a Figure to `path` (.png, .pdf, .svg). ValueError for another ending, or no way in."""
    path = _destination("save", path, FORMATS)
    with _writing("save", drawing, "savefig", path) as write:
        write(path)
    return path


def save_animation(animation: "FuncAnimation", path: str | Path, *, fps: float = 12) -> Path:
    """Write an animation to `path`, a .gif that repeats, `fps` frames a second."""
    path = _destination("save_animation", path, (".gif",))
    fps = check_positive("save_animation: fps", fps)
    with _writing("save_animation", animation, "save", path) as write:
        write(path, writer="pillow", fps=fps, dpi=100)
    return path


def _destination(who: str, path: Any, formats: Sequence[str]) -> Path:
    path = check_path(f"{who}: path", path)
    if path.suffix not in formats:
        wanted = f"wanted one of {', '.join(formats)}"
        raise ValueError(f"{who}: {path} ends in {path.suffix!r}, {wanted}")
    return path


@contextlib.contextmanager
def _writing(who: str, drawing: Any, verb: str, path: Path) -> Iterator[Callable[..., None]]:
    """`drawing`'s method `verb`, to write into the directory of `path`, which is made."""
    if not hasattr(drawing, verb):
        raise TypeError(f"{who}: came a {type(drawing).__name__}, wanted a figure with {verb}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield getattr(drawing, verb)
    except OSError as error:
        raise ValueError(f"{who}: {path}: cannot be written: {error.strerror}") from error
