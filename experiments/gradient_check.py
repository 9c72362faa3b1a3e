"""A table of wrong ops: what `opnet.check` finds in each of them, and that it spares right ones."""

import argparse
import sys
import warnings
from pathlib import Path
from typing import Any

from experiments import cli, flags
from experiments.rows import Outcome

BANK = Path(__file__).parents[1] / "tests"  # the ops are those that the tests judge the check by
EVERY = 1  # of them: all


def arguments() -> argparse.ArgumentParser:
    parser = flags.parser("gradient_check", __doc__, fast={"EVERY": 20})
    parser.add_argument("--seeds", type=flags.whole_number(1), default=1, help="for the right ops")
    return parser


def main(settings: argparse.Namespace) -> Outcome:
    if not (BANK / "mutants").is_dir():
        raise FileNotFoundError(f"{BANK / 'mutants'}: no such directory; run this in a clone")
    sys.path.insert(0, str(BANK))

    import torch

    torch.set_num_threads(1)  # the ops are tiny
    from mutants import MUTANTS
    from sound_ops import SOUND

    found = named = 0
    print(f"{'wrong op':<24} {'kind found':<22} message")
    for mutant in MUTANTS[::EVERY]:
        report = checked(mutant, settings.seed, reference=mutant.reference)
        kind, message = ("NOT FOUND", "") if report.passed else report.findings[0][::2]
        print(f"{mutant.name:<24} {kind:<22} {message[:100]}")
        found += not report.passed
        named += kind in (mutant.kind, *mutant.also)
    seeds = range(settings.seed, settings.seed + settings.seeds)
    alarms = sum(not checked(op, seed).passed for op in SOUND[::EVERY] for seed in seeds)

    total = len(MUTANTS[::EVERY])
    print(
        f"\nfound {found} of {total} wrong ops, {named} of them ({named / total:.1%}) by their kind"
    )
    print(f"false alarms: {alarms} in {len(SOUND[::EVERY])} right ops x {len(seeds)} seeds")
    return Outcome()


def checked(row: Any, seed: int, reference: Any = None) -> Any:
    from opnet import check

    inputs = row.inputs() if callable(row.inputs) else row.inputs
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what torch has to say of wrong ops is not the subject
        return check(row.make(), inputs, reference=reference, seed=seed)


if __name__ == "__main__":
    cli.run(arguments(), main)
