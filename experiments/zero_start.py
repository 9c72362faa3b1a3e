"""All weights zero at the start (NNDL 4.4): the hidden units stay alike, however long they train.

With W = 0, b = 0 every p is 1/2: the loss is ln 2, dL/dz2 = (1/2 - y) / N. Every hidden unit puts
out 1/2: each dL/dW2 is (1/2 - mean y) / 2, dL/db2 is 1/2 - mean y; dL/dW1, dL/db1 pass through W2
and are 0. One step at rate lr makes W2 = lr/2 (mean y - 1/2), b2 = lr (mean y - 1/2). From then on
fc1 moves too, but units that are equal receive equal gradients: five of them are worth one.
"""

import argparse
from typing import TYPE_CHECKING

from experiments import cli, flags
from experiments.rows import Outcome, Row
from experiments.sources import Source

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import Tensor
NOISE, HIDDEN, SEEDS = 0.2, 5, 20
BOOKS_LR, BOOKS_EPOCHS = 0.2, 5
LR, EPOCHS = 4.0, 2000  # enough for a boundary to bend that can
TINY = 1e-8
BOOK = Source("NNDL 4.4.1")


class Run:
    """A 2-5-1 network from zeros or from N(0, 1); W1, b1, W2, b2 after every epoch in `weights`."""

    def __init__(self, seed: int, device: str, lr: float, epochs: int, *, zeros: bool) -> None:
        import torch

        from opnet import BatchGD, BinaryCrossEntropyLoss, Model_MLP_L2, accuracy, make_moons, split
        from runners import RunnerV2_1, Snapshots

        X, y = make_moons(1000, noise=NOISE, seed=seed)
        self.rows, dev_set, _ = split(X.to(device), y.to(device), seed=seed)
        generator = torch.Generator().manual_seed(seed)
        model = Model_MLP_L2(2, HIDDEN, 1, generator=generator, device=device)
        for op in (model.fc1, model.fc2) if zeros else ():
            op.params["W"].zero_()
        snapshots = Snapshots()
        runner = RunnerV2_1(model, BatchGD(lr, model), accuracy, BinaryCrossEntropyLoss(model))
        runner.train(self.rows, dev_set, num_epochs=epochs, log_epochs=0, callbacks=[snapshots])
        self.weights = [*snapshots.weights.values()]
        self.loss, self.dev_score = runner.train_loss, runner.dev_scores[-1]


def arguments() -> argparse.ArgumentParser:
    return flags.parser("zero_start", __doc__, fast={"SEEDS": 1, "EPOCHS": 1})


def main(settings: argparse.Namespace) -> Outcome:
    seed, device = settings.seed, settings.device
    seeds = cli.progress(range(seed, seed + SEEDS), settings, "seeds")
    books = [Run(number, device, BOOKS_LR, BOOKS_EPOCHS, zeros=True) for number in seeds]
    zero, normal = (Run(seed, device, LR, EPOCHS, zeros=zeros) for zeros in (True, False))
    figures = {} if settings.no_figures else {"zero_start": drawn(zero, normal)}
    return Outcome(rows=judged(books, zero), figures=figures)


def judged(books: list[Run], zero: Run) -> list[Row]:
    (X, y), (W1, b1, W2, b2) = books[0].rows, books[0].weights[0]
    fc1, step = largest(W1, b1), BOOKS_LR * (y.mean() - 0.5)
    pairs = zip(books[0].weights[-1], by_autograd(X, y), strict=True)
    error = largest(*(ours - theirs for ours, theirs in pairs))
    units = [tensor.reshape(-1, HIDDEN) for tensor in zero.weights[-1][:3]]
    accuracies = [run.dev_score for run in books]
    spread = largest(*(unit - unit[:, :1] for unit in units))
    return [
        BOOK.printed("first loss, ln 2", "0.693147", books[0].loss[0]),
        BOOK.states("fc1 after one step", "0", fc1, fc1 == 0),
        BOOK.states("fc2.W after it", "lr/2 (mean y - 1/2)", W2, largest(W2 - step / 2) < TINY),
        BOOK.states("fc2.b after it", "lr (mean y - 1/2)", b2, largest(b2 - step) < TINY),
        BOOK.states("5 epochs by torch.nn, largest error", "0", error, error < TINY),
        BOOK.by_seed("dev accuracy after 5", "about 50%", accuracies, (0.4, 0.6)),
        BOOK.states(f"hidden units after {EPOCHS} epochs, apart by", "0", spread, spread < 1e-4),
    ]


def largest(*tensors: "Tensor") -> float:
    return max(float(tensor.abs().max()) for tensor in tensors)


def by_autograd(X: "Tensor", y: "Tensor") -> "list[Tensor]":
    """The weights after the same epochs with torch.nn, which keeps W transposed."""
    from torch import nn, optim

    model = nn.Sequential(nn.Linear(2, HIDDEN), nn.Sigmoid(), nn.Linear(HIDDEN, 1), nn.Sigmoid())
    parameters = [nn.init.zeros_(parameter) for parameter in model.to(X).parameters()]
    optimizer = optim.SGD(parameters, lr=BOOKS_LR)
    for _ in range(BOOKS_EPOCHS):
        optimizer.zero_grad()
        nn.functional.binary_cross_entropy(model(X), y).backward()
        optimizer.step()
    return [parameter.detach().t() for parameter in parameters]


def drawn(zero: Run, normal: Run) -> "Figure":
    """The ten weights of fc1 from both starts, and what becomes of the loss."""
    import torch

    from opnet import plots

    drawing, panels = plots.figure(1, 3, width=10.4, height=3.4)
    for axes, (start, run) in zip(panels, (("0", zero), ("N(0, 1)", normal)), strict=False):
        W1 = torch.stack([weights[0] for weights in run.weights]).cpu()  # [epochs, 2, HIDDEN]
        axes.plot(W1[:, 0], color="#e4007f", linestyle="-")
        axes.plot(W1[:, 1], color="#1f4e79", linestyle="--")
        axes.set(title=f"the ten weights of fc1, from {start}", xlabel="epoch")
        panels[2].plot(run.loss, label=f"from {start}")
    panels[2].set(title="train loss", xlabel="epoch")
    panels[2].legend()
    return drawing


if __name__ == "__main__":
    cli.run(arguments(), main)
