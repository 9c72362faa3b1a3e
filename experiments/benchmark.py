"""How fast opnet trains, beside all that a user would pick instead: the same problem, in turn.

(a) to (g) are tables, (h) is a figure, (i) trains on more rows than memory holds. Each competitor
has a process of its own on the same core; all start from the same weights, keep the same four
histories, and must end at the same loss.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments import cli, flags
from experiments.rows import Outcome

if TYPE_CHECKING:
    from experiments.contest.report import Measured

SLOW_TO_START = ("compiled",)  # left out by --quick: 20 s for each case
ON_DISK = {False: 20_000_000, True: 400_000}  # rows, by --quick


def arguments() -> argparse.ArgumentParser:
    parser = flags.parser("benchmark", __doc__, fast={"quick": True, "cases": ["a"]})
    parser.add_argument("--quick", action="store_true", help="smaller sizes, a minute")
    parser.add_argument("--cases", nargs="+", choices=tuple("abcdefghi"), default=[*"abcdefghi"])
    parser.add_argument("--cores", type=flags.whole_number(1), default=1, help="and threads")
    parser.add_argument("--json", type=Path, metavar="FILE", help="the raw figures")
    return parser


def main(settings: argparse.Namespace) -> Outcome:
    from experiments.contest import machine, report, scaling
    from experiments.contest.cases import cases, gpu_cases
    from experiments.contest.process import COMPETITORS, ON_A_GPU
    from experiments.contest.referee import ring

    device, on_gpu = settings.device, settings.device.startswith("cuda")
    competitors = ON_A_GPU if on_gpu else COMPETITORS
    names = [name for name in competitors if not (settings.quick and name in SLOW_TO_START)]
    every = (gpu_cases if on_gpu else cases)(quick=settings.quick)
    chosen = [case for case in every if case.key in settings.cases]
    about = machine.described() | {"cores used": settings.cores, "load before": machine.load()}
    sweeps: dict[str, Measured] = {}
    with ring(names, settings.cores) as players:
        bar = cli.progress(chosen, settings, "cases")
        found = [(case, players.contest(case, settings.seed, device=device)) for case in bar]
        if "h" in settings.cases and not on_gpu:
            sweeps = scaling.measured(players, settings.seed, quick=settings.quick)
    larger = on_disk(settings) if "i" in settings.cases and not on_gpu else {}
    about["load after"] = machine.load()

    print("\n".join(f"{name}: {value}" for name, value in about.items()))
    if found:
        print(f"\n{report.tables(found)}")
    if on_gpu:
        print(f"\n{report.reached(found, device)}")
    for what, sweep in sweeps.items():
        print(
            f"\n{report.table(f'us an epoch, by {what}', sweep, list(sweep[0][1]), report.micros)}"
        )
        print(*report.remarks(sweep), sep="\n", end="")
    if larger:
        print("\n(i) " + ", ".join(f"{name}: {value}" for name, value in larger.items()))
    written = []
    if settings.json:
        raw = [entry for part in (found, *sweeps.values()) for entry in entries(part)]
        text = json.dumps({"machine": about, "results": raw, "on disk": larger}, indent=1)
        settings.json.write_text(text)
        written.append(settings.json)
    figures = {"cost": scaling.drawn(sweeps)} if sweeps and not settings.no_figures else {}
    return Outcome(figures=figures, written=written)


def entries(measured: "Measured") -> list[dict[str, Any]]:
    """Cases and what came of them, as JSON has it."""
    return [
        {"case": vars(case), "results": {name: result.summary() for name, result in by.items()}}
        for case, by in measured
    ]


def on_disk(settings: argparse.Namespace) -> dict[str, Any]:
    """What a process of its own says of a training on rows that stay on the disk."""
    from experiments.contest.process import environment

    rows = ON_DISK[settings.quick]
    with tempfile.TemporaryDirectory() as place:
        command = [sys.executable, "-m", "experiments.contest.disk", str(rows), place]
        env = environment(settings.cores)
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        return {"rows": rows, "no": done.stderr.splitlines()[-1]}
    return {"rows": rows} | json.loads(done.stdout)


if __name__ == "__main__":
    cli.run(arguments(), main)
