"""Every byte truncation, bit flips, and other manifests: the saved bits come back, or an error."""

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from opnet import CheckpointError

from . import states
from .fork import Say, in_batches, in_child
from .judge import Bench, Trial
from .writers import Writer

HIDDEN = 5
SEED = 1  # of the numbers that were saved


class Damage(NamedTuple):
    """What a file holds instead of what was written."""

    path: Path
    content: bytes
    what: str


def truncations(bench: Bench, trials: int) -> Iterator[Trial]:
    """Each file of a set cut off after each of its bytes."""
    damages = [
        Damage(path, whole[:length], f"{path.name} cut to {length} of {len(whole)} bytes")
        for path, whole in _contents(_real(bench))
        for length in range(len(whole))
    ]
    return _all(bench.writer, bench.thinned(damages, trials))


def flips(bench: Bench, trials: int) -> Iterator[Trial]:
    """One bit anywhere in the set is another."""
    return _all(bench.writer, _flips(bench, _real(bench), trials))


def flips_alone(bench: Bench, trials: int) -> Iterator[Trial]:
    """One bit is another, and the manifest is gone that would tell."""
    directory = _real(bench)
    (directory / "manifest.json").unlink(missing_ok=True)
    return _all(bench.writer, _flips(bench, directory, trials))


def _flips(bench: Bench, directory: Path, trials: int) -> list[Damage]:
    contents = _contents(directory)
    sizes = [len(whole) for _, whole in contents]
    damages = []
    for path, whole in bench.random.choices(contents, sizes, k=trials):
        bit = bench.random.randrange(8 * len(whole))
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        damages.append(Damage(path, bytes(flipped), f"bit {bit} of {path.name} flipped"))
    return damages


def _all(writer: Writer, damages: list[Damage]) -> Iterator[Trial]:
    crashed = ("crash", "load died")
    said = in_batches(damages, partial(_read_damaged, writer), crashed)
    for damage, (outcome, story) in zip(damages, said, strict=True):
        yield Trial(outcome, f"{damage.what}: {story}")


def _read_damaged(writer: Writer, damage: Damage) -> Trial:
    """A load of the damaged file; afterwards it is whole again."""
    whole = damage.path.read_bytes()
    damage.path.write_bytes(damage.content)
    try:
        return read(writer, damage.path.parent)
    finally:
        damage.path.write_bytes(whole)


def read(writer: Writer, directory: Path) -> Trial:
    """ "old" for the saved bits, "refused" for an error that has changed nothing."""
    runner = states.runner(HIDDEN)
    before = states.copies(runner)
    try:
        writer.load(directory, runner)
    except CheckpointError as error:
        unchanged = states.same_bits(states.copies(runner), before)
        return Trial("refused" if unchanged else "torn", str(error))
    except Exception as error:
        return Trial("other", f"load: {type(error).__name__}: {error}")
    saved = states.runner(HIDDEN)
    states.scatter(saved, SEED)
    same = states.same_bits(states.copies(runner), states.copies(saved))
    return Trial("old" if same else "silent", "loads as other numbers")


def _real(bench: Bench) -> Path:
    """A directory in which numbers were saved as a training leaves them."""
    directory = bench.empty()

    def save(say: Say) -> None:
        runner = states.runner(HIDDEN)
        states.scatter(runner, SEED)
        bench.writer.save(directory, runner)

    in_child(save)
    return directory


def _contents(directory: Path) -> list[tuple[Path, bytes]]:
    paths = [directory / name for name in sorted(os.listdir(directory))]
    return [(path, path.read_bytes()) for path in paths if path.suffix]
