"""What more ranks give: epochs on 1, 2 and 4 measured, a model of their cost, and its predictions.

Each way to train is started anew in each round, several ranks by torchrun; the time of an epoch is
the median over all rounds, once it has settled. The machine should have nothing else to do.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from typing import Any

from experiments import cli, flags
from experiments.rows import Outcome
from experiments.scaling_model import ASSUMED, DEV_ROWS, Model, Way, fitted, furthest, table

MORE = (2, 4, 8, 16, 64, 256)  # ranks to predict
USUAL = {"rows": 1_000_000, "hidden": 256, "rounds": 5}
QUICK = {"rows": 50_000, "hidden": 64, "rounds": 1}
SAME = 1e-4  # relative difference of the last losses, at most


def arguments() -> argparse.ArgumentParser:
    parser = flags.parser("scaling", __doc__, fast={"quick": True, "epochs": 2})
    count = flags.whole_number(1)
    parser.add_argument("--quick", action="store_true", help="fewer rows and units, one round")
    parser.add_argument("--rows", type=count, help="of the train set, instead of 1,000,000")
    parser.add_argument("--hidden", type=count, help="units, instead of 256")
    parser.add_argument("--rounds", type=count, help="instead of 5")
    parser.add_argument("--epochs", type=count, default=8, help="to time in each round")
    return parser


def main(settings: argparse.Namespace) -> Outcome:
    usual = QUICK if settings.quick else USUAL
    vars(settings).update({key: vars(settings)[key] or value for key, value in usual.items()})
    rows, cores = settings.rows, _cores()
    one, two, threads, _ = whole = [Way(*how, rows) for how in ((1, 1), (2, 1), (1, 2), (4, 1))]
    ways = [*whole, *(Way(ranks, 1, rows // 8) for ranks in (1, 2, 4))]
    rounds = cli.progress(range(settings.rounds), settings, "rounds")
    found = [{way: measured(way, settings) for way in ways} for _ in rounds]
    _check_same([each[way]["loss"] for each in found for way in whole])
    epochs = {way: _median(found, way, "epochs") for way in ways}
    talks = {key: _median(found, two, key) for key in ("few", "many")}
    model = fitted(epochs, talks, found[0][one]["numbers"], cores)

    load = f"load {os.getloadavg()[0]:.1f}, medians, rounds: {settings.rounds}, ms"
    print(f"{rows:,} + {DEV_ROWS:,} rows x 20, hidden {settings.hidden}, {cores} cores, {load}\n")
    print(table(("ranks", "threads", "rows", "epoch", "model"), _compared(epochs, model, cores)))
    print(f"\n2 ranks of one thread are {epochs[one] / epochs[two]:.2f} times as fast as 1 of one,")
    print(f"and {epochs[threads] / epochs[two]:.2f} times as fast as 1 of two threads.")
    print(f"\n{model}\nat most {furthest(epochs, model, cores):.0%} off here. {ASSUMED}\n")
    print(table(("ranks", "epoch", "times", "of ideal", "talking"), _predicted(rows, model)))
    return Outcome()


def measured(way: Way, settings: argparse.Namespace) -> dict[str, Any]:
    """What a process, or rank 0 of as many as torchrun starts, says of one training."""
    command = [sys.executable, "-m"]
    if way.ranks > 1:
        command += ["torch.distributed.run", "--standalone", f"--nproc-per-node={way.ranks}", "-m"]
    job = ("experiments.scaling_run", way.rows, settings.hidden, settings.epochs, way.threads)
    environment = os.environ | {"OMP_NUM_THREADS": str(way.threads)}
    done = subprocess.run(
        [*command, *map(str, job)], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{way}: {_error_in(done.stderr)}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _error_in(text: str) -> str:
    """Its last line that says an error, below which torchrun draws rulers, or its last one."""
    lines = [line.strip() for line in text.splitlines()] or ["no word"]
    return next((line for line in reversed(lines) if "Error: " in line), lines[-1])


def _check_same(losses: list[float]) -> None:
    if max(losses) - min(losses) > SAME * max(losses):
        raise RuntimeError(f"the ways end at losses from {min(losses)} to {max(losses)}")


def _median(found: list[dict[Way, Any]], way: Way, key: str) -> float:
    values: list[float] = []
    for each in found:
        value = each[way][key]
        values += value if isinstance(value, list) else [value]
    return statistics.median(values)


def _compared(epochs: dict[Way, float], model: Model, cores: int) -> list[tuple[Any, ...]]:
    lines = []
    for way, seconds in epochs.items():
        predicted = f"{1e3 * model.epoch(way.rows, way.ranks, cores):.1f}"
        modelled = predicted if way.threads == 1 else "-"
        lines.append((way.ranks, way.threads, f"{way.rows:,}", f"{1e3 * seconds:.1f}", modelled))
    return lines


def _predicted(rows: int, model: Model) -> list[tuple[Any, ...]]:
    lines = []
    for ranks in MORE:
        seconds = model.epoch(rows, ranks)
        times, talking = model.epoch(rows, 1) / seconds, model.talking(ranks) / seconds
        shown = f"{1e3 * seconds:.1f}", f"{times:.1f}", f"{times / ranks:.0%}", f"{talking:.0%}"
        lines.append((ranks, *shown))
    return lines


def _cores() -> int:
    there = hasattr(os, "sched_getaffinity")
    return len(os.sched_getaffinity(0)) if there else os.cpu_count() or 1


if __name__ == "__main__":
    cli.run(arguments(), main)
