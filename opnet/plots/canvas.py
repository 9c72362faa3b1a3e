"""Figures and the files they go to: one look, no window, written whole."""

import functools
import io
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from ..errors import check_count, check_path, check_positive
from ..files import write_whole

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
    """Write a Figure to `path` (.png, .pdf, .svg), as a whole or not at all.

    ValueError for another ending, or no way in.
    """
    path = _destination("save", path, FORMATS)
    _check_drawn("save", drawing, "savefig")
    data = io.BytesIO()
    drawing.savefig(data, format=path.suffix[1:])
    return _written("save", path, data.getvalue())


def save_animation(animation: "FuncAnimation", path: str | Path, *, fps: float = 12) -> Path:
    """Write an animation to `path`, a .gif that repeats, `fps` frames a second."""
    path = _destination("save_animation", path, (".gif",))
    fps = check_positive("save_animation: fps", fps)
    _check_drawn("save_animation", animation, "save")
    with tempfile.TemporaryDirectory() as elsewhere:
        film = Path(elsewhere) / "film.gif"
        animation.save(film, writer="pillow", fps=fps, dpi=100)  # type: ignore[arg-type]
        return _written("save_animation", path, film.read_bytes())


def _destination(who: str, path: Any, formats: Sequence[str]) -> Path:
    path = check_path(f"{who}: path", path)
    if path.suffix not in formats:
        wanted = f"wanted one of {', '.join(formats)}"
        raise ValueError(f"{who}: {path} ends in {path.suffix!r}, {wanted}")
    return path


def _check_drawn(who: str, drawing: Any, verb: str) -> None:
    if not hasattr(drawing, verb):
        raise TypeError(f"{who}: came a {type(drawing).__name__}, wanted a figure with {verb}")


def _written(who: str, path: Path, data: bytes) -> Path:
    try:
        write_whole(path, data)
    except ValueError as error:
        raise ValueError(f"{who}: {error}") from error
    return path
