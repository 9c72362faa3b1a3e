"""What history, callbacks and the bar cost, beside a loop of a dozen lines over the same ops."""

import argparse
import contextlib
import io
import random
import tempfile
import time
from functools import partial
from statistics import median
from typing import Any

from experiments import cli, flags
from experiments.rows import Outcome

CASES = ((640, 160, 5, 2000), (64_000, 16_000, 64, 60))  # rows, dev rows, hidden units, epochs
ROUNDS, EVERY, LR, NOISE = 9, 100, 1.0, 0.2
PLAIN = "a plain loop"


def arguments() -> argparse.ArgumentParser:
    return flags.parser("overhead", __doc__, fast={"ROUNDS": 1, "CASES": ((64, 16, 5, 9),)})


def main(settings: argparse.Namespace) -> Outcome:
    from experiments.contest import machine

    cli.print_settings(settings)
    print(f"{machine.cpu()}, load {machine.load()}")
    for case in CASES:
        rows, dev, hidden, epochs = case
        title = f"{rows} + {dev} rows, 2-{hidden}-1, {epochs} epochs"
        print(f"\n{title:<42} {'us an epoch':>11} {'over the loop':>14}")
        times = measured(case, settings)
        for name, seconds in times.items():
            over = [took / plain - 1 for took, plain in zip(seconds, times[PLAIN], strict=True)]
            print(f"{name:<42} {1e6 * median(seconds) / epochs:>11.1f} {median(over):>14.1%}")
    return Outcome()


def measured(case: tuple[int, ...], settings: argparse.Namespace) -> dict[str, list[float]]:
    """CPU seconds of each way to train by name, a round after the other, each in a new order."""
    from opnet import make_moons, split

    rows, dev, hidden, epochs = case
    X, y = (t.to(settings.device) for t in make_moons(rows + dev, noise=NOISE, seed=settings.seed))
    sets = split(X, y, (rows, dev), seed=settings.seed)
    order = random.Random(settings.seed)
    with tempfile.TemporaryDirectory() as place:
        ways = {PLAIN: plain_loop} | by_runner(place)
        times: dict[str, list[float]] = {name: [] for name in ways}
        for _ in cli.progress(range(ROUNDS), settings, "rounds"):
            for name in order.sample([*ways], len(ways)):
                runner = fresh(hidden, settings)
                began = time.process_time()
                ways[name](runner, sets, epochs)
                times[name].append(time.process_time() - began)
    return times


def fresh(hidden: int, settings: argparse.Namespace) -> Any:
    import torch

    from opnet import BatchGD, BinaryCrossEntropyLoss, Model_MLP_L2, accuracy
    from runners import RunnerV2_1

    generator = torch.Generator().manual_seed(settings.seed)
    model = Model_MLP_L2(2, hidden, 1, generator=generator, device=settings.device)
    return RunnerV2_1(model, BatchGD(LR, model), accuracy, BinaryCrossEntropyLoss(model))


def plain_loop(runner: Any, sets: Any, epochs: int) -> list[list[float]]:
    """Step, evaluation, two scores; the four numbers of all epochs are read at the end."""
    import torch

    from opnet.step import evaluation, training_step
    from runners.replays import block_size_of

    (X, y), (X_dev, y_dev) = sets
    model, loss_fn, optimizer, metric = (
        runner.model,
        runner.loss_fn,
        runner.optimizer,
        runner.metric,
    )
    size, numbers = block_size_of(runner, X), []
    with torch.no_grad():
        for _ in range(epochs):
            predicts, loss = training_step(model, loss_fn, optimizer, X, y, size)
            score = metric(predicts, y)
            predicts, dev_loss = evaluation(model, loss_fn, X_dev, y_dev, size)
            numbers.append(torch.stack([loss, score, dev_loss, metric(predicts, y_dev)]))
        return torch.stack(numbers).tolist()


def by_runner(place: str) -> dict[str, Any]:
    """The runner alone, with log lines and a bar, and with each callback; eager and recorded."""
    from runners import EarlyStopping, Snapshots, TensorBoard

    hows: dict[str, dict[str, Any]] = {
        "": {},
        ", log and bar": {"log_epochs": EVERY},
        ", EarlyStopping": {"made": lambda: [EarlyStopping(10**6)]},
        f", Snapshots({EVERY})": {"made": lambda: [Snapshots(EVERY)]},
        f", TensorBoard every {EVERY}": {"made": lambda: [TensorBoard(place, EVERY)]},
    }
    both = [(step, name) for step in ("eager", "auto") for name in hows]
    return {f"runner, {step}{name}": partial(train, step=step, **hows[name]) for step, name in both}


def train(runner: Any, sets: Any, epochs: int, made: Any = list, **how: Any) -> None:
    """As where a person watches, whose terminal costs nothing."""
    terminal, how = io.StringIO(), {"log_epochs": 0} | how
    terminal.isatty = lambda: True  # type: ignore[method-assign]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(terminal):
        runner.train(*sets, num_epochs=epochs, callbacks=made(), **how)


if __name__ == "__main__":
    cli.run(arguments(), main)
