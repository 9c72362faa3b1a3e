"""What a save costs: against torch.save alone, and as a share of a training."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def timed(directory: Path, repeats: int) -> dict[str, list[float]]:
    """Seconds of each way to save the moons' layers, in turn."""
    import torch

    from opnet import Model_MLP_L2, checkpoint

    layers = checkpoint.layers_of(Model_MLP_L2(2, 5, 1, generator=torch.Generator()))
    place = checkpoint.prepare(directory / "timed", Model_MLP_L2(2, 5, 1))

    def plain() -> None:
        for name, tensors in layers.items():
            torch.save(tensors, directory / name)

    ways: dict[str, Callable[[], Any]] = {
        "torch.save of each layer": plain,
        "opnet, down to the disk": lambda: checkpoint.save(place, layers),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, save in ways.items():
            start = time.perf_counter()
            save()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def moons_run(directory: Path, seed: int) -> tuple[float, float, int]:
    """Seconds inside saves, seconds of the whole training, and how many saves it made."""
    from experiments import moons
    from opnet import Model_MLP_L2, checkpoint

    flags_of_moons = ["--seed", str(seed), "--noise", "0.2", "--device", "cpu"]
    sets = moons.rows(moons.arguments().parse_args(flags_of_moons))
    inside: list[float] = []
    plain = checkpoint.save

    def watched(*arguments: Any) -> list[Path]:
        start = time.perf_counter()
        paths = plain(*arguments)
        inside.append(time.perf_counter() - start)
        return paths

    checkpoint.save = watched  # type: ignore[assignment]
    start = time.perf_counter()
    try:
        how = {"num_epochs": 1000, "log_epochs": 0, "save_dir": directory / "moons"}
        moons.trained(Model_MLP_L2(2, 5, 1), 8.0, sets, **how)
    finally:
        checkpoint.save = plain
    return sum(inside), time.perf_counter() - start, len(inside)
