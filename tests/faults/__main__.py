"""Make every fault happen to a checkpoint, again and again; exit 1 when one does harm."""

import argparse
import gc
import itertools
import logging
import sys
from pathlib import Path

import torch

from .table import FAULTS, MEMORY, run, table
from .writers import WRITERS


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--trials", type=int, help="at most so many of each; as CI does, if left")
    parser.add_argument("--only", nargs="+", metavar="FAULT", help=f"some of: {', '.join(FAULTS)}")
    parser.add_argument(
        "--writer", choices=WRITERS, default="opnet", help="all others have to fail"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--place", type=Path, default=MEMORY, help="a directory on the disk to try")
    return parser


def main() -> int:
    settings = arguments().parse_args()
    torch.set_num_threads(1)  # a child inherits one thread only
    gc.freeze()  # a child that looks through all this for garbage copies it
    logging.disable()  # of thousands of loads without a manifest
    results = run(
        settings.trials,
        writer=settings.writer,
        seed=settings.seed,
        place=settings.place,
        names=settings.only,
    )
    seen, shown = itertools.tee(results)
    for line in table(shown):
        print(line, flush=True)
    bad = [result for result in seen if result.bad]
    for result in bad:
        for story in result.stories:
            print(f"{result.name}: {story}", file=sys.stderr)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
