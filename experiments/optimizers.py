"""Optimizers, gradient descent to Adam (NNDL 7): step for step torch.optim's, and a race downhill.

Each rule of opnet walks down the surfaces of experiments.surfaces by their hand-written slopes,
torch.optim's rule beside it by autograd's. The rules' formulas stand in opnet.optimizers.
"""

import argparse
import math
from typing import TYPE_CHECKING, Any

from experiments import cli, flags
from experiments.rows import Outcome, Row
from experiments.sources import Source

if TYPE_CHECKING:
    from matplotlib.animation import FuncAnimation
    from matplotlib.figure import Figure
    from torch import Tensor

RULES: dict[str, tuple[dict[str, Any], str, dict[str, Any]]] = {  # our options; torch's rule, its
    "BatchGD": ({}, "SGD", {}),
    "Momentum": ({"rho": 0.9}, "SGD", {"momentum": 0.9}),
    "Adagrad": ({}, "Adagrad", {}),
    "RMSprop": ({}, "RMSprop", {}),
    "Adam": ({}, "Adam", {}),
}
NESTEROV = ({"nesterov": True}, "SGD", {"momentum": 0.9, "nesterov": True})  # of Momentum
RATES = {  # on each surface, of the rules in their order
    "Valley": (0.42, 0.03, 1.0, 0.07, 0.4),
    "Saddle": (0.2, 0.05, 0.25, 0.04, 0.2),
    "Beale": (0.01, 0.002, 0.5, 0.02, 0.1),
    "Rosenbrock": (0.001, 0.0005, 0.5, 0.01, 0.1),
}
STEPS = {"Valley": 60, "Saddle": 100, "Beale": 600, "Rosenbrock": 1500}
COMPARED, RTOL, NEAR, FRAMES = 200, 1e-12, 0.01, 48  # steps beside torch.optim's, how close
Paths = dict[str, dict[str, "Tensor"]]  # points [steps + 1, 2] by surface and rule


def arguments() -> argparse.ArgumentParser:
    return flags.parser("optimizers", __doc__, animated=True, fast={"COMPARED": 2, "FRAMES": 2})


def main(settings: argparse.Namespace) -> Outcome:
    from experiments import descent, surfaces

    cli.print_settings(settings)
    paths: Paths = {name: {} for name in STEPS}
    for name, rates in cli.progress(RATES.items(), settings, "surfaces"):
        for (rule, (options, *_)), lr in zip(RULES.items(), rates, strict=True):
            walk = getattr(surfaces, name), lr, STEPS[name]
            paths[name][rule] = descent.by_opnet(rule, *walk, **options)
    equal = [equal_to_torch(rule, *RULES[rule]) for rule in RULES]
    found = [*equal, equal_to_torch("Momentum", *NESTEROV), *published(paths)]
    figures = {} if settings.no_figures else {"surfaces": drawn(paths)[0]}
    animations = {"race": race(paths)} if settings.animate and figures else {}
    return Outcome(rows=found, figures=figures, animations=animations)


def equal_to_torch(rule: str, ours: dict[str, Any], kind: str, theirs: dict[str, Any]) -> Row:
    from experiments import descent, surfaces

    furthest, place = 0.0, list(RULES).index(rule)
    for name, rates in RATES.items():
        walk = getattr(surfaces, name), rates[place], COMPARED
        pair = descent.by_opnet(rule, *walk, **ours), descent.by_torch(kind, *walk, **theirs)
        furthest = max(furthest, descent.apart(*pair))
    what = f"{rule} as {kind}(lr{''.join(f', {key}={value}' for key, value in theirs.items())})"
    said, why = f"{furthest:.1e} apart", f"{COMPARED} steps on each surface, in parts of |p|"
    return Source("torch.optim").states(what, f"equal, rtol {RTOL:g}", said, furthest <= RTOL, why)


def published(paths: Paths) -> list[Row]:
    from experiments.surfaces import Beale, Saddle, Valley

    source = Source("NNDL 7, optimizers")
    minimum = [Beale.f(3.0, 0.5), math.hypot(*Beale.slope(3.0, 0.5))]
    far = math.dist(paths["Beale"]["Adam"][-1], (3.0, 0.5))
    left = [Saddle.f(*path[-1]) for path in paths["Saddle"].values()]
    return [
        source.printed("0.2 x1^2 + 2 x2^2 at (3, 4)", "33.8", Valley.f(*Valley.start)),
        source.states("Beale: y, |slope| at (3, 0.5)", "minimum", minimum, not any(minimum)),
        source.states("Beale: Adam comes to", "(3, 0.5)", f"{far:.4f} from it", far < NEAR),
        source.states("all leave the saddle", "y < 0", left, max(left) < 0, "the lowest is -1/4"),
    ]


def drawn(paths: Paths, width: float = 9.0) -> "tuple[Figure, dict[str, list[Any]]]":
    """The paths on the contours of their surfaces, and the lines that show them."""
    from experiments import surfaces
    from opnet import plots

    figure, panels = plots.figure(2, 2, width=width, height=0.9 * width)
    lines = {}
    for axes, (name, on_it) in zip(panels.flat, paths.items(), strict=True):
        surface = getattr(surfaces, name)
        lines[name] = plots.descents(axes, surface.f, on_it, surface.window, surface.lowest)
        axes.set_title(f"{name}, {STEPS[name]} steps")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=5)
    return figure, lines


def race(paths: Paths) -> "FuncAnimation":
    """The same figure, its lines growing with the frames."""
    from matplotlib.animation import FuncAnimation

    figure, lines = drawn(paths, width=7)
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # it has found its place, and would look for it in each frame

    def show(frame: int) -> None:
        for name, on_it in paths.items():
            for line, path in zip(lines[name], on_it.values(), strict=True):
                seen = path[: 1 + STEPS[name] * frame // (FRAMES - 1)]
                line.set_data(*seen.T.numpy())

    return FuncAnimation(figure, show, frames=FRAMES)


if __name__ == "__main__":
    cli.run(arguments(), main)
