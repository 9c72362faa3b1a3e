"""kill -9 at random moments of a training that is taken up again, until it ends as if undisturbed.

The runs differ from each other in `save_every`. What a run ends with is compared by sums over its
bits: weights, what the optimizer keeps, histories, the kept epoch, the files of the model.
"""

import hashlib
import json
import signal
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch

from opnet import (
    Adam,
    BinaryCrossEntropyLoss,
    Dropout,
    Linear,
    Logistic,
    ReduceOnPlateau,
    Sequential,
    Tanh,
    accuracy,
    checkpoint,
    make_moons,
    split,
)
from opnet.walk import state
from runners import RunnerV2_1, best

from .fork import Say, in_child
from .judge import Bench, Skipped, Trial
from .writers import Ours

EPOCHS = 30
LIVES = 4  # in the time of one undisturbed run, on average
ENDLESS = 200  # lives after which a run will not end any more


class Course(NamedTuple):
    """How an undisturbed run ends, and how long it takes."""

    end: dict[str, str]
    seconds: float


def while_training(bench: Bench, trials: int) -> Iterator[Trial]:
    """One trial a kill; those of a run share the verdict on its end."""
    if not isinstance(bench.writer, Ours):
        raise Skipped("a training writes through opnet only")
    course = cache(lambda every: _undisturbed(bench.empty(), every))
    made = run = 0
    while made < trials:
        every = 1 + run % 3
        kills, trial = _killed_run(bench, every, course(every))
        yield from [trial] * min(kills, trials - made)
        made, run = made + kills, run + 1


def _killed_run(bench: Bench, every: int, course: Course) -> tuple[int, Trial]:
    directory, longest = bench.empty(), 2 * course.seconds / LIVES
    for kills in range(ENDLESS):
        life = bench.random.uniform(0, longest)
        said, ended_by = in_child(lambda say: _train(directory, every, say), kill_after=life)
        if said and "error" in said[-1]:
            return kills or 1, Trial("other", f"life {kills}: {said[-1]['error']}")
        if said:  # killed or not, it had ended
            other = sorted(key for key in course.end if said[-1].get(key) != course.end[key])
            differ = f"after {kills} kills, save_every={every}: {', '.join(other)} differ"
            return kills, Trial("silent", differ) if other else Trial("new")
        if ended_by != signal.SIGKILL:
            return kills or 1, Trial("crash", f"training ended with signal {ended_by}")
    return ENDLESS, Trial("stuck", f"{ENDLESS} lives, and no end")


def warm_up(place: Path) -> None:
    """Import, in this process, what a training imports late: its children have it then."""
    _train(place / "warm", EPOCHS, lambda end: None, num_epochs=1)


def _undisturbed(directory: Path, every: int) -> Course:
    start = time.perf_counter()
    [end] = in_child(lambda say: _train(directory, every, say)).said
    if "error" in end:
        raise RuntimeError(f"training without a fault: {end['error']}")
    return Course(end, time.perf_counter() - start)


def _train(directory: Path, every: int, say: Say, num_epochs: int = EPOCHS) -> None:
    """Goes on with the run in `directory`, or begins it; says what it ends with."""
    best.SECONDS_BETWEEN_WRITES = 0.0  # the best model goes to disk as often as there is a new one
    torch.manual_seed(0)
    X, y = make_moons(64, noise=0.3, seed=0)
    train_set, dev_set = split(X, y, (40, 24), seed=0)
    runner = _runner()
    how: dict[str, Any] = {"keep": "best_score", "batch_size": 16, "log_epochs": 0}
    how |= {"schedule": ReduceOnPlateau(0.05, 0.5, 3), "generator": _generator(1)}
    how |= {"save_dir": directory, "save_every": every, "resume": True}
    try:
        runner.train(train_set, dev_set, num_epochs=num_epochs, **how)
    except Exception as error:
        say({"error": f"{type(error).__name__}: {error}"})
    else:
        say(_end(runner, directory))


def _runner() -> RunnerV2_1:
    generator = _generator(2)
    first, last = (Linear(*sizes, generator=generator) for sizes in ((2, 8), (8, 1)))
    model = Sequential(first, Tanh(), Dropout(0.2, generator=_generator(3)), last, Logistic())
    return RunnerV2_1(model, Adam(0.05, model), accuracy, BinaryCrossEntropyLoss(model))


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _end(runner: RunnerV2_1, directory: Path) -> dict[str, str]:
    """All that has to be as if the run had never stopped, each as a sum over its bits."""
    memory = checkpoint.memory_of(runner.optimizer)
    histories = [[number.hex() for number in history] for history in runner.histories]
    parts = {
        "weights": b"".join(tensor.numpy().tobytes() for tensor in state(runner.model)),
        "optimizer": b"".join(memory[name].numpy().tobytes() for name in sorted(memory)),
        "histories": json.dumps(histories).encode(),
        "kept epoch": str(runner.kept_epoch).encode(),
    }
    for path in sorted(directory.glob("[!.]*.*")):
        parts[path.name] = _content(path)
    return {name: hashlib.sha256(part).hexdigest() for name, part in parts.items()}


def _content(path: Path) -> bytes:
    """The bytes of a file; of a manifest all but how many saves there were."""
    if path.name != "manifest.json":
        return path.read_bytes()
    told = json.loads(path.read_bytes())
    return json.dumps([told["about"], told["files"]]).encode()
