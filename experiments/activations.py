"""Activation functions and their derivatives (NNDL 4.1): the figures, and each op against autograd.

The formulas are those of `pairs`; dy/dz is what `backward` makes of ones, dL/dy = 1.
"""

import argparse
from typing import TYPE_CHECKING, Any

from experiments import cli, flags
from experiments.rows import Outcome, Row
from experiments.sources import Source

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import Tensor

POINTS, REACH = 10_000, 10.0  # on [-10, 10]; 0 and the kinks at 1 and 2 lie between two points
SLOPE = 0.1  # of Leaky ReLU left of 0
COLORS = ("#e4007f", "#f19ec2")
CLOSE = 2e-6  # float32, at values up to 10
BOOK = Source("NNDL 4.1")
Ticks = tuple[float, ...]
Curves = dict[str, "tuple[Tensor, Tensor]"]  # values and slopes by name


def arguments() -> argparse.ArgumentParser:
    parser = flags.parser("activations", __doc__)
    parser.set_defaults(format=["png", "pdf"])
    return parser


def main(settings: argparse.Namespace) -> Outcome:
    import torch

    z = torch.linspace(-REACH, REACH, POINTS, device=settings.device)
    rows: list[Row] = []
    curves: Curves = {}
    for name, (op, formula) in pairs().items():
        y = op(z)
        slope = op.backward(torch.ones_like(y))
        rows.append(compared(name, z, y, slope, formula))
        curves[name] = (y.cpu(), slope.cpu())
    if settings.no_figures:
        return Outcome(rows=rows)
    return Outcome(rows=rows, figures=figures(z.cpu(), curves))


def pairs() -> dict[str, tuple[Any, Any]]:
    """Each function as an op of opnet, and as its formula in raw tensors."""
    import torch

    import opnet

    return {
        "Logistic": (opnet.Logistic(), lambda z: 1 / (1 + torch.exp(-z))),
        "Tanh": (opnet.Tanh(), lambda z: 2 / (1 + torch.exp(-2 * z)) - 1),
        "ReLU": (opnet.ReLU(), lambda z: z.clamp(min=0)),
        "Leaky ReLU": (opnet.LeakyReLU(SLOPE), lambda z: z.clamp(min=0) + SLOPE * z.clamp(max=0)),
        "Hard-Logistic": (opnet.HardLogistic(), lambda z: (0.25 * z + 0.5).clamp(0, 1)),
        "Hard-Tanh": (opnet.HardTanh(), lambda z: z.clamp(-1, 1)),
        "ELU": (opnet.ELU(), lambda z: torch.where(z > 0, z, torch.exp(z) - 1)),
        "Softplus": (opnet.Softplus(), lambda z: torch.log(1 + torch.exp(z))),
        "Swish": (opnet.Swish(), lambda z: z / (1 + torch.exp(-z))),
    }


def compared(name: str, z: "Tensor", y: "Tensor", slope: "Tensor", formula: Any) -> Row:
    """The op beside its formula, differentiated by autograd."""
    import torch

    z = z.clone().requires_grad_()
    raw = formula(z)
    (raw_slope,) = torch.autograd.grad(raw.sum(), z)
    errors = [(y - raw.detach()).abs().max().item(), (slope - raw_slope).abs().max().item()]
    why = "largest error in value and in slope, on [-10, 10]"
    return BOOK.states(name, "op = formula, autograd", errors, max(errors) <= CLOSE, why)


def figures(z: "Tensor", curves: Curves) -> "dict[str, Figure]":
    """Logistic and Tanh, ReLU and Leaky ReLU, then the five others, each with its derivative."""
    from opnet import plots

    names = list(curves)
    looks = {
        "logistic_tanh": (names[:2], "lower right", (-1, -0.5, 0.5, 1)),
        "relu_leaky_relu": (names[2:4], "upper left", (5, 10)),
    }
    drawings = {}
    for figure, (pair, legend, yticks) in looks.items():
        drawings[figure], axes = plots.figure()
        two_lines(axes, z, {name: curves[name][0] for name in pair}, (-10, -5, 5, 10), yticks)
        axes.legend(loc=legend)
    drawings["activations"], panels = plots.figure(2, 3, width=9.6, height=5.0)
    *used, spare = panels.flat
    for axes, name in zip(used, names[4:], strict=True):
        y, slope = curves[name]
        two_lines(axes, z, {"y": y, "dy/dz": slope}, (-4, -2, 2, 4), (-1, 1, 2))
        axes.set(title=name, xlim=(-5, 5), ylim=(-1.3, 2.6))
    spare.axis("off")
    spare.legend(*axes.get_legend_handles_labels(), loc="center", fontsize="large")
    return drawings


def two_lines(
    axes: Any, z: "Tensor", lines: "dict[str, Tensor]", xticks: Ticks, yticks: Ticks
) -> None:
    """The one solid, the other dashed; axes through 0, their numbers on white over the lines."""
    for (label, y), color, style in zip(lines.items(), COLORS, ("-", "--"), strict=True):
        axes.plot(z, y, color=color, linestyle=style, label=label)
    axes.spines[["left", "bottom"]].set_position("zero")
    axes.set_axisbelow(False)
    axes.set(xticks=xticks, yticks=yticks)
    axes.set_xlabel("z", loc="right")
    for number in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        number.set(bbox={"facecolor": "white", "edgecolor": "none", "pad": 1, "alpha": 0.9})


if __name__ == "__main__":
    cli.run(arguments(), main)
