"""Two moons (NNDL 4.2): a two-layer network, every gradient by hand, by gradient descent."""

import argparse
import csv
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments import cli, flags
from experiments.rows import Outcome

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from runners import RunnerV2_1

BENT = {"noise": 0.2, "hidden": 5, "lr": 8.0, "epochs": 1000}  # enough for the boundary to bend
BOOK = {"noise": 0.5, "hidden": 5, "lr": 0.2, "epochs": 1000}  # NNDL 4.2.6
HISTORIES = ("train_loss", "train_scores", "dev_loss", "dev_scores")


def arguments() -> argparse.ArgumentParser:
    parser = flags.parser("moons", __doc__)
    count = flags.whole_number(1)
    parser.add_argument("--train", type=count, default=640, help="training rows")
    parser.add_argument("--dev", type=count, default=160, help="rows to choose the weights by")
    parser.add_argument("--test", type=count, default=200, help="rows for the final score")
    parser.add_argument("--noise", type=flags.amount, help="standard deviation (0.2)")
    parser.add_argument("--hidden", type=count, help="hidden units (5)")
    parser.add_argument("--lr", type=flags.amount, help="learning rate (8)")
    parser.add_argument("--epochs", type=count, help="full-batch steps (1000)")
    parser.add_argument("--keep", choices=("best_score", "best_loss", "last"), default="best_score")
    parser.add_argument("--save-dir", type=Path, default=Path("checkpoints/runs/moons"))
    parser.add_argument("--book", action="store_true", help=f"the book's settings: {BOOK}")
    parser.set_defaults(out=None)
    return parser


def main(settings: argparse.Namespace) -> Outcome:
    for key, value in (BOOK if settings.book else BENT).items():
        if getattr(settings, key) is None:
            setattr(settings, key, value)
    settings.out = settings.out or settings.save_dir
    cli.print_settings(settings)

    import torch

    from opnet import BatchGD, BinaryCrossEntropyLoss, Model_MLP_L2, accuracy, make_moons, split
    from runners import RunnerV2_1

    sizes, device = (settings.train, settings.dev, settings.test), settings.device
    X, y = make_moons(sum(sizes), noise=settings.noise, seed=settings.seed)
    train_set, dev_set, test_set = split(X.to(device), y.to(device), sizes, seed=settings.seed)

    generator = torch.Generator().manual_seed(settings.seed)
    model = Model_MLP_L2(2, settings.hidden, 1, generator=generator, device=device)
    optimizer = BatchGD(settings.lr, model)
    runner = RunnerV2_1(model, optimizer, accuracy, BinaryCrossEntropyLoss(model))
    runner.train(
        train_set,
        dev_set,
        num_epochs=settings.epochs,
        keep=settings.keep,
        save_dir=settings.save_dir,
    )

    score, loss = runner.evaluate(test_set)
    print(f"[Test] score/loss: {score:.4f}/{loss:.4f}")
    written = sorted(settings.save_dir.glob("*.pdparams"))
    written.append(write_history(runner, settings.save_dir / "history.csv"))
    sets = {"train": train_set, "dev": dev_set, "test": test_set}
    figures = {} if settings.no_figures else drawn(runner, sets)
    return Outcome(figures=figures, written=written)


def write_history(runner: "RunnerV2_1", path: Path) -> Path:
    columns = [getattr(runner, name) for name in HISTORIES]
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("epoch", *HISTORIES))
        writer.writerows((epoch, *row) for epoch, row in enumerate(zip(*columns, strict=True)))
    return path


def drawn(runner: "RunnerV2_1", sets: dict[str, Any]) -> "dict[str, Figure]":
    from opnet import plots

    losses = {"train": runner.train_loss, "dev": runner.dev_loss}
    scores = {"train": runner.train_scores, "dev": runner.dev_scores}
    accuracies = {name: runner.evaluate(rows)[0] for name, rows in sets.items()}
    title = "accuracy: " + ", ".join(f"{name} {score:.3f}" for name, score in accuracies.items())
    return {
        "loss": plots.curves(losses, "cross-entropy"),
        "score": plots.curves(scores, "accuracy"),
        "boundary": plots.decision_boundary(runner.predict, sets, title),
    }


if __name__ == "__main__":
    cli.run(arguments(), main)
