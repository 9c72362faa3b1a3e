"""Which class is taken for which."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .canvas import figure, styled
from .drawable import check_axes, finite, first_of, names_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHORT = 5  # letters of a name that fits under its field
MANY = 12  # classes, beyond which the numbers no longer fit into their fields


@styled
def confusion(
    labels: Any, predictions: Any, ax: Any = None, *, classes: Sequence[Any] | None = None
) -> "Figure":
    """How many rows of each class were taken for which; the colour is the share of the class.

    Both are whole numbers [N] or [N, 1], the class, or columns [N, C], of which the largest counts;
    one column of probabilities is class 1 from 1/2 on. `classes` are their names. ValueError or
    TypeError for what is neither, and for other numbers of rows.
    """
    true, said = (
        _classes(f"confusion: {who}", values)
        for who, values in (("labels", labels), ("predictions", predictions))
    )
    if len(true) != len(said):
        raise ValueError(f"confusion: {len(true)} labels, {len(said)} predictions")
    count = 1 + int(torch.cat([true, said]).max())
    names = names_of("confusion", range(max(count, 2)) if classes is None else classes)
    if len(names) < count:
        raise ValueError(f"confusion: {len(names)} names in classes, {count} classes")
    counts = torch.zeros(len(names), len(names), dtype=torch.long)
    counts.index_put_((true, said), torch.ones_like(true), accumulate=True)
    if ax is None:
        side = 1.2 + 0.6 * min(len(names), MANY)
        beside = 0.1 * max(len(str(name)) for name in names)
        _, ax = figure(width=side + beside + 2.0, height=side + beside + 0.8)
    check_axes("confusion: ax", ax)
    _fields(ax, counts, [str(name) for name in names])
    return ax.figure


def _fields(axes: Any, counts: Tensor, names: Sequence[str]) -> None:
    shares = counts / counts.sum(dim=1, keepdim=True).clamp_min(1)
    image = axes.imshow(shares.numpy(), cmap="Blues", vmin=0, vmax=1)
    places = range(len(names))
    some = slice(None, None, math.ceil(len(names) / MANY))
    if len(names) <= MANY:
        for row in places:
            for column in places:
                dark = shares[row, column] > 0.5
                look = {"ha": "center", "va": "center", "color": "white" if dark else "black"}
                axes.text(column, row, f"{int(counts[row, column])}", **look)
    right = float(counts.diagonal().sum() / counts.sum())
    axes.set(xlabel="predicted class", ylabel="class", title=f"accuracy {right:.3f}")
    slanted = {"rotation": 45, "ha": "right"} if max(map(len, names)) > SHORT else {}
    axes.set_xticks(places[some], names[some], **slanted)
    axes.set_yticks(places[some], names[some])
    axes.spines[:].set_visible(False)
    place = axes.inset_axes((1.04, 0, 0.05, 1))
    axes.figure.colorbar(image, cax=place, label="share of the class")


def _classes(who: str, values: Any) -> Tensor:
    """The class of each row [N]."""
    found = finite(who, values).cpu()
    if found.ndim not in (1, 2) or found.numel() == 0:
        raise ValueError(
            f"{who} have shape {list(found.shape)}, wanted [N], [N, 1] or [N, classes]"
        )
    if found.ndim == 2 and found.shape[1] > 1:
        return found.argmax(dim=1)
    found = found.flatten()
    if ((found >= 0) & (found <= 1)).all():
        return (found >= 0.5).long()
    unfit = (found != found.long()) | (found < 0)
    if unfit.any():
        first, _ = first_of(unfit, found)
        raise ValueError(f"{who}: row {first}, wanted a class or a probability")
    return found.long()
