"""Two moons (NNDL 4.2): a two-layer network, every gradient by hand, by gradient descent."""

import argparse
import csv
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments import cli, flags
from experiments.rows import Outcome

if TYPE_CHECKING:
    from opnet import Op
    from runners import RunnerV2_1

BENT = {"noise": 0.2, "hidden": 5, "lr": 8.0, "epochs": 1000}  # enough for the boundary to bend
BOOK = {"noise": 0.5, "hidden": 5, "lr": 0.2, "epochs": 1000}  # NNDL 4.2.6
LINE = {"lr": 2.0, "epochs": 200}  # logistic regression, to compare: it has arrived by then
HISTORIES = ("train_loss", "train_scores", "dev_loss", "dev_scores")


def arguments() -> argparse.ArgumentParser:
    parser = flags.parser("moons", __doc__, fast={"epochs": 1, "LINE": LINE | {"epochs": 1}})
    count = flags.whole_number(1)
    parser.add_argument("--train", type=count, default=640, help="training rows")
    parser.add_argument("--dev", type=count, default=160, help="rows to choose the weights by")
    parser.add_argument("--test", type=count, default=200, help="rows for the final score")
    parser.add_argument("--noise", type=flags.amount, help="standard deviation (0.2)")
    parser.add_argument("--hidden", type=count, help="hidden units (5)")
    parser.add_argument("--lr", type=flags.amount, help="learning rate (8)")
    parser.add_argument("--epochs", type=count, help="full-batch steps (1000)")
    parser.add_argument("--keep", choices=("best_score", "best_loss", "last"), default="best_score")
    parser.add_argument("--save-dir", type=flags.path, default=Path("checkpoints/runs/moons"))
    parser.add_argument("--save-every", type=count, metavar="EPOCHS", help="for --resume")
    either = parser.add_mutually_exclusive_group()  # a film shows its run from the start
    either.add_argument("--resume", action="store_true", help="go on with a run that was stopped")
    either.add_argument("--animate", action="store_true", help=flags.ANIMATE)
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

    from experiments import moons_figures
    from experiments.two_moons import bayes_limit
    from opnet import Linear, Logistic, Model_MLP_L2, Sequential
    from opnet.parallel import rank
    from runners import Snapshots

    sets, device, epochs = rows(settings), settings.device, settings.epochs
    generator = torch.Generator().manual_seed(settings.seed)
    model = Model_MLP_L2(2, settings.hidden, 1, generator=generator, device=device)
    line = Sequential(Linear(2, 1, generator=generator, device=device), Logistic())
    filmed = Snapshots(moons_figures.every(epochs)) if settings.animate else None
    how = {key: getattr(settings, key) for key in ("keep", "save_dir", "save_every", "resume")}
    how |= {"num_epochs": epochs, "callbacks": [filmed] if filmed else []}
    network = trained(model, settings.lr, sets, **how)
    regression = trained(line, LINE["lr"], sets, num_epochs=LINE["epochs"], log_epochs=0)

    print("[Test] score/loss: {:.4f}/{:.4f}".format(*network.evaluate(sets["test"])))
    print("[Test] logistic regression: {:.4f}/{:.4f}".format(*regression.evaluate(sets["test"])))
    best = "{:.4f}/{:.4f}".format(*bayes_limit(settings.noise))
    print(f"[Bayes] nothing is better, on average, at noise {settings.noise:g} than {best}")
    if settings.fast_dev_run:
        network.load_model(settings.save_dir)
    if rank():
        return Outcome()
    written = [*sorted(settings.save_dir.glob("*.pdparams")), settings.save_dir / "manifest.json"]
    written.append(write_history(network, settings.save_dir / "history.csv"))
    if settings.no_figures:
        return Outcome(written=written)
    both = {f"2-{settings.hidden}-1 network": network, "logistic regression": regression}
    figures = moons_figures.curves(network) | {
        "data": moons_figures.data(sum(len(X) for X, _ in sets.values()), settings.seed),
        "boundary": moons_figures.boundaries(both, sets),
    }
    animations = {"moving_boundary": moons_figures.film(filmed, sets)} if filmed else {}
    return Outcome(figures=figures, animations=animations, written=written)


def rows(settings: argparse.Namespace) -> dict[str, Any]:
    """{"train": [X, y], "dev": ..., "test": ...}."""
    from opnet import make_moons, split

    sizes = (settings.train, settings.dev, settings.test)
    X, y = make_moons(sum(sizes), noise=settings.noise, seed=settings.seed)
    X, y = X.to(settings.device), y.to(settings.device)
    parts = split(X, y, sizes, seed=settings.seed)
    return dict(zip(("train", "dev", "test"), parts, strict=True))


def trained(model: "Op", lr: float, sets: dict[str, Any], **how: Any) -> "RunnerV2_1":
    from opnet import BatchGD, BinaryCrossEntropyLoss, accuracy
    from runners import RunnerV2_1

    runner = RunnerV2_1(model, BatchGD(lr, model), accuracy, BinaryCrossEntropyLoss(model))
    runner.train(sets["train"], sets["dev"], **how)
    return runner


def write_history(runner: "RunnerV2_1", path: Path) -> Path:
    columns = [getattr(runner, name) for name in HISTORIES]
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("epoch", *HISTORIES))
        writer.writerows((epoch, *row) for epoch, row in enumerate(zip(*columns, strict=True)))
    return path


if __name__ == "__main__":
    cli.run(arguments(), main)
