"""Figures and the files they go to: one look, no window, written whole."""

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from ..errors import check_count, check_path, check_positive

if TYPE_CHECKING:
    from matplotlib.animation import FuncAnimation
    from matplotlib.figure import Figure

P = ParamSpec("P")
R = TypeVar("R")

LOWERED = str.maketrans(
    "0123456789", "₀₁₂₃₄₅₆₇₈₉"
)  # TeX costs a quarter of a second, once a process
X1, X2 = "x₁", "x₂"
FORMATS = (".png", ".pdf", ".svg")


def style() -> Any:
    """A context in which figures have the look of opnet.mplstyle; opnet's own always do."""
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
