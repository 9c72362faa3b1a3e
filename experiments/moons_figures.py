"""The pictures of `moons`: curves, data, both boundaries, and the network's while it moves."""

from typing import TYPE_CHECKING, Any

from opnet import make_moons, plots
from opnet.plots.drawable import MOST_DRAWN

if TYPE_CHECKING:
    from matplotlib.animation import FuncAnimation
    from matplotlib.figure import Figure

    from runners import RunnerV2_1, Snapshots

NOISES = (0.0, 0.2, 0.5)
MARKS = (("#e4007f", "o"), ("#1f4e79", "x"))  # of class 0 and class 1
FRAMES, SNAPSHOTS = 60, 1000  # of the film, at most, and those that it chooses from


def curves(runner: "RunnerV2_1") -> "dict[str, Figure]":
    losses = {"train": runner.train_loss, "dev": runner.dev_loss}
    scores = {"train": runner.train_scores, "dev": runner.dev_scores}
    drawn = {}
    for name, histories, unit in (("loss", losses, "cross-entropy"), ("score", scores, "accuracy")):
        drawn[name] = plots.curves(histories)
        drawn[name].axes[0].set_ylabel(unit)
    return drawn


def data(rows: int, seed: int) -> "Figure":
    """The moons at several amounts of noise, side by side and on one scale."""
    drawing, panels = plots.figure(1, len(NOISES), width=9.6, height=3.0)
    limits = {"xlim": (-2.8, 3.8), "ylim": (-2.3, 2.8)}
    for axes, noise in zip(panels, NOISES, strict=True):
        X, y = make_moons(min(rows, MOST_DRAWN), noise=noise, seed=seed)
        for label, (color, marker) in enumerate(MARKS):
            points = X[y.flatten() == label].T
            axes.scatter(*points, s=8, c=color, marker=marker, lw=0.6, label=f"y = {label}")
        axes.set(
            title=f"noise {noise:g}", xlabel=plots.X1, ylabel=plots.X2, aspect="equal", **limits
        )
        axes.locator_params(nbins=4)
        axes.label_outer()
    panels[0].legend(loc="upper right")
    return drawing


def boundaries(runners: "dict[str, RunnerV2_1]", sets: dict[str, Any]) -> "Figure":
    """Where each of {name: runner} sees the one class and where the other, and how well."""
    drawing, panels = plots.figure(1, len(runners), width=5.2 * len(runners), height=4.2)
    for axes, (name, runner) in zip(panels, runners.items(), strict=True):
        drawn = plots.DecisionBoundary.from_runner(runner, sets, ax=axes, title=name)
    drawn.colorbar()
    return drawing


def every(epochs: int) -> int:
    """How often a film of so many epochs wants a snapshot."""
    return max(1, epochs // SNAPSHOTS)


def film(snapshots: "Snapshots", sets: dict[str, Any]) -> "FuncAnimation":
    """The moving boundary. Most frames are of early epochs, which move it most.

    The n-th of N snapshots is shown where n is a power of N^(1 / (FRAMES - 1)), rounded.
    """
    kept = [*snapshots.weights]
    shown = sorted({round(len(kept) ** (i / (FRAMES - 1))) for i in range(FRAMES)})
    models = {f"epoch {kept[n - 1] + 1}": snapshots.at(kept[n - 1]) for n in shown}
    return plots.moving_boundary(models, {"train": sets["train"]})
