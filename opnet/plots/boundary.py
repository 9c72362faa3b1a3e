"""Where a classifier sees which class, over two of its features."""

import contextlib
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from torch import Tensor

from ..data import Rows
from ..errors import check_count
from ..restore import load
from ..walk import state, untouched
from .canvas import LOWERED, figure, styled
from .colours import areas, between_two, class_colours
from .drawable import (
    check_axes,
    check_callable,
    check_predicts,
    features_of,
    indexed,
    labels_of,
    named,
    names_of,
    predict_of,
    probabilities,
    range_of,
    sets_of,
    thinned,
    winners,
)

if TYPE_CHECKING:
    from matplotlib.animation import FuncAnimation

WHO = "DecisionBoundary"
MARKERS = (("o", 15), ("s", 26), ("^", 38))  # of the first set, the second, the third: and size
WIDTH, AROUND = 5.0, 1.3  # inches: of the plane, and what stands above and below it
LOWEST, HIGHEST = 3.4, 7.2  # inches: of a figure
BELOW = 0.46  # inches: of the legend, so that the label of the axis stands above it
MANY = 1200  # marks, beyond which an .svg holds a picture of them and not each
MARGIN = 0.12  # of the range of the sets, on each side of them
LIKE_LENGTHS = 4  # two features whose ranges differ by less are drawn to one scale

Sets = Mapping[str, Sequence[Any]]


class DecisionBoundary:
    """p(class) as filled contours over two features, the line p = 1/2, and sets of rows.

    In the manner of scikit-learn's displays: `from_predict`, `from_runner`, `from_checkpoint` and
    `from_estimator` compute and draw, `plot` draws once more. Of one output, or two classes, the
    contours are those of p(class 1) in tenths; of C > 2 classes each place has the colour of the
    most probable one, the paler the less sure, and lines part the classes. `sets` is
    {"train": [X, y], ...}, up to three, each with its marker: X [N, I], and y [N] or [N, 1], the
    class, or a column for each class. Rows that are misclassified are ringed, the legend tells the
    accuracy of each set. Of more than a thousand rows a thousand are drawn, and the legend says so.

    `xlim` and `ylim` are pairs, by default the range of the sets with a margin, without sets
    (-pi, pi). Of I > 2 features `features` are the columns to draw and `fixed`, {column: value},
    holds the others; the rows of the sets are judged by all that they have. `resolution` is the
    number of places along each side, `classes` are names for the legend. Attributes: `scores`
    {set: accuracy}; `x1`, `x2` [resolution]; `p` [resolution, resolution, C >= 2], x2 before x1;
    once drawn `ax_` and `figure_`. ValueError or TypeError for what does not fit, and for
    predictions that are no probabilities.
    """

    ax_: Any
    figure_: Any

    def __init__(
        self,
        predict: Callable[[Tensor], Any],
        sets: Sets | None = None,
        *,
        xlim: Sequence[float] | None = None,
        ylim: Sequence[float] | None = None,
        features: Sequence[int] = (0, 1),
        fixed: Mapping[int, float] | None = None,
        resolution: int = 200,
        classes: Sequence[Any] | None = None,
    ) -> None:
        check_callable(f"{WHO}: predict", predict)
        resolution = check_count(f"{WHO}: resolution", resolution, lowest=2)
        self.features, held = features_of(WHO, features, {} if fixed is None else fixed)
        like = next((t for t in state(predict) if t.is_floating_point()), None)
        rows = sets_of(WHO, {} if sets is None else sets, len(MARKERS), 2 + len(held), like)
        across, down = (_around(rows, column) for column in self.features)
        self.xlim = range_of(f"{WHO}: xlim", across if xlim is None else xlim)
        self.ylim = range_of(f"{WHO}: ylim", down if ylim is None else ylim)
        if like is None:
            like = next((X for X, _ in rows.values()), torch.empty(0))
        self.x1, self.x2 = (torch.linspace(*ends, resolution) for ends in (self.xlim, self.ylim))
        grid = _grid(self.x1, self.x2, self.features, held).to(like)
        with untouched(predict) if hasattr(predict, "backward") else contextlib.nullcontext():
            p = probabilities(f"{WHO}: predict", predict, grid)
            judged = {n: probabilities(f"{WHO}: predict", predict, X) for n, (X, _) in rows.items()}
        self.p = p.reshape(resolution, resolution, -1).float()
        self.classes = names_of(WHO, range(p.shape[1]) if classes is None else classes)
        if len(self.classes) != p.shape[1]:
            raise ValueError(f"{WHO}: {len(self.classes)} names for {p.shape[1]} classes")
        self.rows: dict[str, tuple[Tensor, Tensor, Tensor]] = {}  # x1 and x2, class, whether right
        for name, (X, y) in rows.items():
            labels = labels_of(f"{WHO}: {name}", y, len(X), p.shape[1]).cpu()
            right = winners(judged[name]) == labels
            self.rows[name] = X[:, self.features].cpu(), labels, right
        self.scores = {n: float(right.float().mean()) for n, (_, _, right) in self.rows.items()}

    @classmethod
    def from_predict(
        cls,
        predict: Callable[[Tensor], Any],
        sets: Sets | None = None,
        *,
        ax: Any = None,
        title: str = "",
        **plane: Any,
    ) -> Self:
        """Of a model, or of any callable that takes X [N, I] to p [N, 1] or [N, C].

        X has the dtype and device of the model, without one those of the sets; NumPy sets are
        float32. A model runs in eval mode and keeps no trace. `plane` are keywords of the class.
        """
        return cls(predict, sets, **plane).plot(ax, title=title)

    @classmethod
    def from_runner(cls, runner: Any, sets: Sets | None = None, **how: Any) -> Self:
        """Of the model of a runner, as it is now; `how` are keywords of `from_predict`."""
        if not hasattr(runner, "model"):
            raise TypeError(f"{WHO}: runner is a {type(runner).__name__}, wanted one with a model")
        return cls.from_predict(runner.model, sets, **how)

    @classmethod
    def from_checkpoint(cls, directory: str | Path, sets: Sets | None = None, **how: Any) -> Self:
        """Of what `opnet.load` makes of a directory; `how` are keywords of `from_predict`."""
        return cls.from_predict(load(directory), sets, **how)

    @classmethod
    def from_estimator(cls, estimator: Any, sets: Sets | None = None, **how: Any) -> Self:
        """Of a fitted scikit-learn classifier, by its `predict_proba`, else by its `predict`.

        Classes may be of any kind that it takes: the legend names them. `how` are keywords of
        `from_predict`.
        """
        predict, classes = predict_of(WHO, estimator)
        found = {name: indexed(f"{WHO}: {name}", rows, classes) for name, rows in named(WHO, sets)}
        return cls.from_predict(predict, found, **{"classes": classes} | how)

    @styled
    def plot(self, ax: Any = None, *, title: str = "") -> Self:
        """Draw on the Axes `ax`, or on a figure of its own, which gets a colour bar too."""
        across, down = (high - low for low, high in (self.xlim, self.ylim))
        alike = max(across, down) < LIKE_LENGTHS * min(across, down)
        if ax is None:
            height = WIDTH * (down / across if alike else 0.75) + AROUND
            self.figure_, self.ax_ = figure(height=min(max(height, LOWEST), HIGHEST))
        else:
            check_axes(f"{WHO}: ax", ax)
            self.figure_, self.ax_ = ax.figure, ax
        two = len(self.classes) == 2
        (self._contours if two else self._areas)()
        self._rows()
        x, y = ("x" + str(i + 1).translate(LOWERED) for i in self.features)
        self.ax_.set(xlabel=x, ylabel=y, title=title, aspect="equal" if alike else "auto")
        self.ax_.set(xlim=self.xlim, ylim=self.ylim)
        self.ax_.locator_params(nbins=5)
        if ax is None:
            self.colorbar()
        return self

    @styled
    def colorbar(self) -> Any:
        """What the colours mean, in a bar beside the Axes and as high."""
        from matplotlib.cm import ScalarMappable
        from matplotlib.colors import BoundaryNorm, ListedColormap

        place = self.ax_.inset_axes((1.03, 0, 0.045, 1))
        if len(self.classes) == 2:
            name = f"p(class {self.classes[1]})"
            return self.figure_.colorbar(self.surface_, cax=place, label=name)
        count = len(self.classes)
        edges = [k - 0.5 for k in range(count + 1)]
        colours = ScalarMappable(BoundaryNorm(edges, count), ListedColormap(class_colours(count)))
        bar = self.figure_.colorbar(colours, cax=place, label="class", ticks=range(count))
        bar.ax.set_yticklabels([str(name) for name in self.classes])
        bar.ax.tick_params(which="both", length=0)
        return bar

    def _contours(self) -> None:
        """p(class 1) in tenths, and its line at 1/2 where there is one."""
        p = 0.5 + (self.p[..., 1] - self.p[..., 0]) / 2
        look = {"levels": np.linspace(0, 1, 11), "cmap": between_two(), "zorder": 0}
        self.surface_ = self.ax_.contourf(*map(np.asarray, (self.x1, self.x2, p)), **look)
        self.surface_.set_rasterized(True)  # else a steep network makes megabytes of an .svg
        self._line(p, 0.5)

    def _areas(self) -> None:
        """The most probable class, and a line where two are as probable."""
        p, winner = self.p.max(dim=-1)
        image = areas(class_colours(len(self.classes)), winner.numpy(), p.numpy())
        look = {"origin": "lower", "interpolation": "none", "zorder": 0}
        self.surface_ = self.ax_.imshow(image, extent=(*self.xlim, *self.ylim), **look)
        for k in range(len(self.classes)):
            others = self.p.index_fill(-1, torch.tensor(k), -1).amax(dim=-1)
            self._line(self.p[..., k] - others, 0)

    def _line(self, values: Tensor, level: float) -> None:
        if values.min() < level < values.max():
            look = {"colors": "black", "linewidths": 1.4, "linestyles": "-", "zorder": 1}
            self.ax_.contour(*map(np.asarray, (self.x1, self.x2, values)), levels=[level], **look)

    def _rows(self) -> None:
        """Each set with its marker, coloured by class, and rings around what is wrong."""
        from matplotlib.transforms import ScaledTranslation

        drawn = {name: thinned(*rows) for name, rows in self.rows.items()}
        marks = sum(len(right) + int((~right).sum()) for _, _, right in drawn.values())
        edge = "white" if len(self.classes) == 2 else "0.2"
        colours = class_colours(len(self.classes))
        wrong: list[Tensor] = [torch.empty(0, 2)]
        for (name, (X, labels, right)), (marker, size) in zip(drawn.items(), MARKERS, strict=False):
            one_in = len(self.rows[name][0]) / max(len(X), 1)
            shown = f"{name}, 1 in {one_in:.3g}" if one_in > 1 else name
            label = f"{shown}: accuracy {self.scores[name]:.3f}"
            look = {"marker": marker, "s": size, "edgecolors": edge, "linewidths": 0.4}
            look |= {"rasterized": marks > MANY}
            self.ax_.scatter(
                *X.T.numpy(), c=[colours[k] for k in labels.tolist()], label=label, zorder=2, **look
            )
            wrong.append(X[~right])
        rings = torch.cat(wrong)
        if len(rings):
            look = {"s": 62, "facecolors": "none", "edgecolors": "black", "linewidths": 1.0}
            look |= {"rasterized": marks > MANY}
            self.ax_.scatter(*rings.T.numpy(), label="misclassified", zorder=2, **look)
        if self.rows:
            below = ScaledTranslation(0, -BELOW, self.ax_.get_figure().dpi_scale_trans)
            legend = self.ax_.legend(
                loc="upper center",
                bbox_to_anchor=(0.5, 0),
                bbox_transform=self.ax_.transAxes + below,
                ncols=2,
                fontsize=9,
            )
            for handle in legend.legend_handles[: len(self.rows)]:
                handle.set(facecolor="0.45")  # a marker tells the set, its colour the class


@styled
def moving_boundary(
    predicts: Mapping[str, Callable[[Tensor], Any]],
    sets: Sets | None = None,
    *,
    resolution: int = 100,
    **plane: Any,
) -> "FuncAnimation":
    """A `DecisionBoundary` that moves: one frame for each of {title: predict}."""
    from matplotlib.animation import FuncAnimation

    check_predicts(WHO, predicts)
    displays = [
        (title, DecisionBoundary(predict, sets, resolution=resolution, **plane))
        for title, predict in predicts.items()
    ]
    title, first = displays[0]
    drawing = first.plot(title=title).figure_
    drawing.draw_without_rendering()
    drawing.set_layout_engine("none")  # the layout is found: no frame needs to find it again

    def draw(frame: int) -> None:
        title, display = displays[frame]
        first.ax_.clear()
        display.plot(first.ax_, title=title).colorbar()

    return FuncAnimation(drawing, draw, frames=len(displays), init_func=lambda: None)


def _around(rows: Mapping[str, Rows], column: int) -> tuple[float, float]:
    """The range of a column of the sets with a margin."""
    if not rows:
        return -math.pi, math.pi
    ends = torch.stack([torch.stack(X[:, column].aminmax()) for X, _ in rows.values()]).double()
    low, high = float(ends.min()), float(ends.max())
    margin = MARGIN * (high - low) or 1.0
    return low - margin, high + margin


def _grid(x1: Tensor, x2: Tensor, features: Sequence[int], fixed: Mapping[int, float]) -> Tensor:
    """Every place of the plane as a row, x2 before x1, with the columns that are held."""
    down, across = torch.meshgrid(x2, x1, indexing="ij")
    columns = {features[0]: across, features[1]: down}
    columns |= {column: torch.full_like(down, value) for column, value in fixed.items()}
    return torch.stack([columns[i].flatten() for i in range(len(columns))], dim=1)
