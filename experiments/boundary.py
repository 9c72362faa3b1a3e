"""The decision boundary of a saved checkpoint, with moons around it."""

import argparse

from experiments import cli, flags
from experiments.rows import Outcome

ROWS = 1000


def arguments() -> argparse.ArgumentParser:
    parser = flags.parser("boundary", __doc__)
    parser.set_defaults(seed=1)  # 0 has drawn what the shipped weights were trained on
    parser.add_argument("checkpoint", type=flags.path, help="directory of <layer>.pdparams files")
    parser.add_argument("--noise", type=flags.amount, default=0.2, help="of the moons drawn")
    return parser


def main(settings: argparse.Namespace) -> Outcome:
    from opnet import accuracy, load, make_moons, plots
    from opnet.walk import state

    model = load(settings.checkpoint).to(settings.device)
    inputs, outputs = getattr(model, "input_size", 2), getattr(model, "output_size", 1)
    if (inputs, outputs) != (2, 1):  # of other models their first Linear and the score tell
        sizes = f"{inputs} inputs and {outputs} outputs"
        raise ValueError(f"{settings.checkpoint}: the model has {sizes}, wanted 2 and 1")
    like = state(model)[0]
    X, y = (t.to(like) for t in make_moons(ROWS, noise=settings.noise, seed=settings.seed))
    score = float(accuracy(model(X), y))
    print(f"[Test] score: {score:.4f}")
    title = f"{settings.checkpoint.name}, noise {settings.noise}"
    drawn = plots.DecisionBoundary.from_predict(model, {"new moons": (X, y)}, title=title)
    return Outcome(figures={"boundary": drawn.figure_})


if __name__ == "__main__":
    cli.run(arguments(), main)
