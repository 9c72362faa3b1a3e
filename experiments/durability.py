"""What a safe save costs, and what kills, full disks and flipped bits leave of a checkpoint."""

import argparse
import logging
import statistics
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments import cli, flags
from experiments.rows import Outcome

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FAULTS = Path(__file__).parents[1] / "tests" / "faults"  # the trials are those of the tests
SHOWN = (  # what a clock has no part in: the figure is the same each time
    "kill -9 at each system call of a save",
    "each file cut off after each byte",
    "a bit flips",
)
ENDS = {  # how a trial ends, and in which color
    "a whole state": (("new", "old"), "#1f4e79"),
    "an error that names the file": (("refused",), "#9db8d2"),
    "no model, or a false one": (("torn", "lost", "silent", "stuck", "crash", "other"), "#e4007f"),
}


def arguments() -> argparse.ArgumentParser:
    parser = flags.parser("durability", __doc__, fast={"trials": 1, "repeats": 1})
    count = flags.whole_number(1)
    parser.add_argument("--trials", type=count, default=24, help="of each fault, at most")
    parser.add_argument("--repeats", type=count, default=30, help="saves to time")
    return parser


def main(settings: argparse.Namespace) -> Outcome:
    if not FAULTS.is_dir():
        raise FileNotFoundError(f"{FAULTS}: no such directory; run this in a clone")
    sys.path.insert(0, str(FAULTS.parent))

    import torch

    logging.getLogger("opnet").setLevel(logging.ERROR)  # of files without a manifest, many
    torch.set_num_threads(1)  # trials fork, and only what has one thread may
    import faults
    from faults.table import MEMORY

    from experiments.saving import moons_run, timed

    with tempfile.TemporaryDirectory() as directory:
        for name, seconds in timed(Path(directory), settings.repeats).items():
            print(f"{name:<34} {1e3 * statistics.median(seconds):7.2f} ms a save, median")
        inside, whole, saves = moons_run(Path(directory), settings.seed)
    print(f"{'1000 epochs on the moons':<34} {saves} saves, {inside / whole:.2%} of {whole:.2f} s")

    def made(writer: str, names: Iterable[str]) -> list[Any]:
        trials = {"writer": writer, "seed": settings.seed, "names": list(names)}
        return list(faults.run(settings.trials, place=MEMORY, **trials))

    results = {"torch.save over the old files": made("plain", SHOWN)}
    results["opnet"] = made("opnet", faults.FAULTS)
    for writer, rows in results.items():
        print(f"\n{writer}", *faults.table(iter(rows)), sep="\n")
    bad = sum(result.bad for result in results["opnet"])
    print(f"\nopnet: {bad} trials left no model, or a false one")
    return Outcome(figures={} if settings.no_figures else {"durability": drawn(results)})


def drawn(results: dict[str, list[Any]]) -> "Figure":
    """How the trials of the SHOWN faults end: a bar for each writer, in shares."""
    from opnet import plots

    drawing, panels = plots.figure(len(SHOWN), 1, width=7.2, height=4.2)
    for axes, fault in zip(panels.flat, SHOWN, strict=True):
        for writer, rows in results.items():
            outcomes = next(row.outcomes for row in rows if row.name == fault)
            left = 0.0
            for label, (kinds, color) in ENDS.items():
                share = sum(outcomes[kind] for kind in kinds) / outcomes.total()
                axes.barh(writer, share, left=left, color=color, label=label)
                left += share
        axes.set(title=f"{fault}, {outcomes.total()} trials", xlim=(0, 1), xticks=[])
    handles, labels = axes.get_legend_handles_labels()
    drawing.legend(handles[:3], labels[:3], loc="outside lower center", ncols=3)
    return drawing


if __name__ == "__main__":
    cli.run(arguments(), main)
