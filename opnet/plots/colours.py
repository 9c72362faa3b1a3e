"""Colours of classes that the colour-blind can tell apart, and what lies between them."""

from collections.abc import Sequence
from typing import Any

import numpy as np

TWO = ("#d98200", "#1f4e79")  # class 0 and class 1: far apart in brightness too
SEVERAL = (  # Okabe, Ito 2008
    *("#e69f00", "#0072b2", "#009e73", "#cc79a7"),
    *("#56b4e9", "#d55e00", "#f0e442", "#555555"),
)
PALE = 0.5  # of its colour in the area of a class: its rows stand out from it
MIDDLE = "#f7f7f7"  # where both classes are as probable


def class_colours(classes: int) -> list[Any]:
    """A colour for each class; from cividis, dark to light, where there are too many to name."""
    if classes <= 2:
        return list(TWO)
    if classes <= len(SEVERAL):
        return list(SEVERAL[:classes])
    from matplotlib import colormaps

    return list(colormaps["cividis"](np.linspace(0, 1, classes)))


def between_two() -> Any:
    """The colours of p(class 1) from 0 to 1."""
    from matplotlib.colors import LinearSegmentedColormap

    first, second = (tuple(_paled(colour, PALE)) for colour in TWO)
    return LinearSegmentedColormap.from_list("p(class 1)", [first, MIDDLE, second])


def areas(colours: Sequence[Any], winner: Any, p: Any) -> Any:
    """RGB [..., 3]: the colour of the class `winner` [...], by tenths of p [...] the less pale."""
    from matplotlib.colors import to_rgb

    sure = (np.ceil(np.clip(p, 0, 1) * 10) / 10 * PALE)[..., None]
    return 1 - sure * (1 - np.array([to_rgb(colour) for colour in colours])[winner])


def _paled(colour: Any, share: float) -> Any:
    from matplotlib.colors import to_rgb

    return 1 - share * (1 - np.array(to_rgb(colour)))
