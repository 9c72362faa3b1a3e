"""The decision boundary of a saved checkpoint, with moons around it."""

import argparse
from pathlib import Path

from experiments import cli

ROWS = 1000


def arguments() -> argparse.Namespace:
    parser = cli.parser("boundary", __doc__)
    parser.add_argument("checkpoint", type=Path, help="directory of <layer>.pdparams files")
    parser.add_argument("--noise", type=cli.amount, default=0.2, help="of the moons drawn")
    parser.add_argument("--seed", type=cli.whole_number(0), default=1, help="0 trained the default")
    parser.add_argument("--out", type=Path, default=Path("checkpoints/runs/boundary"))
    return parser.parse_args()


def main() -> None:
    settings = arguments()

    from opnet import accuracy, load, make_moons, plots

    model = load(settings.checkpoint)
    W1, W2 = model.fc1.params["W"], model.fc2.params["W"]
    if (len(W1), W2.shape[1]) != (2, 1):
        sizes = f"{len(W1)} inputs and {W2.shape[1]} outputs"
        raise ValueError(f"{settings.checkpoint}: the model has {sizes}, wanted 2 and 1")
    X, y = make_moons(ROWS, noise=settings.noise, seed=settings.seed)
    X = X.to(W1.dtype)
    score = float(accuracy(model(X), y))
    title = f"{settings.checkpoint.name}: accuracy {score:.3f} on moons of noise {settings.noise}"
    figure = plots.decision_boundary(model, {"moons": (X, y)}, title)
    print(f"[Test] score: {score:.4f}")
    print(f"[Written] {plots.save(figure, settings.out / 'boundary.png')}")


if __name__ == "__main__":
    cli.run(main)
