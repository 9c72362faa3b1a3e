"""A training that is stopped at random moments and taken up again ends as if it never had been.

It is stopped by kill -9, by Ctrl-C or by a loss that is nan: each of MIXTURES in turn, with another
`save_every` in each round. What a run ends with is compared by sums over its bits: weights, what
the optimizer keeps, histories, the kept epoch, the files of the model.
"""

import hashlib
import itertools
import json
import signal
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import torch
from torch import Tensor

from opnet import (
    Adagrad,
    Adam,
    BatchGD,
    BinaryCrossEntropyLoss,
    Constant,
    Cosine,
    Dropout,
    Exponential,
    Linear,
    Logistic,
    Momentum,
    NonFiniteError,
    ReduceOnPlateau,
    RMSprop,
    Sequential,
    StepDecay,
    Tanh,
    WarmUp,
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
BATCHES = 4  # forwards in an epoch: three of the rows to train on, one of the others
ENDLESS = 200  # lives after which a run will not end any more
MIXTURES: dict[str, tuple[Callable[[Any], Any], Callable[[], Any]]] = {
    "BatchGD, Constant": (lambda m: BatchGD(0.5, m), lambda: Constant(0.5)),
    "BatchGD with decay, no schedule": (lambda m: BatchGD(0.5, m, weight_decay=0.01), lambda: None),
    "Momentum, StepDecay": (lambda m: Momentum(0.1, m), lambda: StepDecay(0.1, 7)),
    "Nesterov, Exponential": (
        lambda m: Momentum(0.1, m, nesterov=True),
        lambda: Exponential(0.1, 0.95),
    ),
    "clipped Momentum, WarmUp of ReduceOnPlateau": (
        lambda m: Momentum(0.1, m, clip_norm=0.1),
        lambda: WarmUp(ReduceOnPlateau(0.1, 0.5, 1, threshold=0.1), 5),
    ),
    "Adagrad, Cosine": (lambda m: Adagrad(0.1, m), lambda: Cosine(0.1, EPOCHS)),
    "RMSprop, WarmUp of Cosine": (
        lambda m: RMSprop(0.01, m),
        lambda: WarmUp(Cosine(0.01, EPOCHS), 5),
    ),
    "Adam, ReduceOnPlateau": (lambda m: Adam(0.05, m), lambda: ReduceOnPlateau(0.05, 0.5, 3)),
    "Adam, a function": (lambda m: Adam(0.05, m), lambda: lambda epoch: 0.05 / (1 + epoch)),
}


class Course(NamedTuple):
    """How an undisturbed run ends, and how long it takes."""

    end: dict[str, str]
    seconds: float


COURSES: dict[str, Course] = {}  # by mixture, for all faults


class Run(NamedTuple):
    """One of the MIXTURES in a directory, saved every so many epochs."""

    mixture: str
    directory: Path
    every: int

    def __str__(self) -> str:
        return f"{self.mixture}, save_every={self.every}"


class Brittle(Tanh):
    """Tanh until the forward that a life is to end with; that gives nan."""

    left = -1  # forwards until then, for all of the class: no part of a run's state

    def forward(self, inputs: Tensor) -> Tensor:
        Brittle.left -= 1
        outputs = super().forward(inputs)
        return outputs.fill_(torch.nan) if Brittle.left == 0 else outputs


def while_training(stop: str, bench: Bench, trials: int) -> Iterator[Trial]:
    """One trial a stop, "kill -9", "Ctrl-C" or "nan"; those of a run share the verdict on its end.

    Every mixture is run at least once, if there are trials enough.
    """
    if not isinstance(bench.writer, Ours):
        raise Skipped("a training writes through opnet only")
    made = 0
    for number in itertools.count():
        if made >= trials and number >= min(trials, len(MIXTURES)):
            return
        every = 1 + number // len(MIXTURES) % 3
        run = Run(list(MIXTURES)[number % len(MIXTURES)], bench.empty(), every)
        if run.mixture not in COURSES:
            COURSES[run.mixture] = _undisturbed(Run(run.mixture, bench.empty(), every=2))
        with bench.writer.going_on():
            stops, trial = _stopped_run(bench.random, run, COURSES[run.mixture], stop)
        yield from [trial] * stops
        made += stops


def _stopped_run(random: Random, run: Run, course: Course, stop: str) -> tuple[int, Trial]:
    longest, batches = 2 * course.seconds / LIVES, 2 * EPOCHS * BATCHES / LIVES
    for stops in range(ENDLESS):
        forwards = random.randrange(1, int(batches)) if stop == "nan" else -1
        life = partial(_train, run, forwards=forwards)
        if stop == "nan":
            said, ended_by = in_child(life)
        else:
            number = signal.SIGINT if stop == "Ctrl-C" else signal.SIGKILL
            after = random.uniform(0, longest)
            said, ended_by = in_child(life, kill_after=after, begun=True, by=number)
        if "begun" in said:
            said.remove("begun")
        if said and "error" in said[-1]:
            return stops or 1, Trial("other", f"{run}, life {stops}: {said[-1]['error']}")
        if said and "stopped" not in said[-1]:  # stopped or not, it had ended
            other = sorted(key for key in course.end if said[-1].get(key) != course.end[key])
            differ = f"{run}, after {stops} stops: {', '.join(other)} differ"
            return stops, Trial("silent", differ) if other else Trial("new")
        if ended_by not in (0, signal.SIGKILL):
            return stops or 1, Trial("crash", f"{run} ended with signal {ended_by}")
    return ENDLESS, Trial("stuck", f"{run}: {ENDLESS} lives, and no end")


def warm_up(place: Path) -> None:
    """Import, in this process, what a training imports late: its children have it then."""
    _train(Run("Adam, ReduceOnPlateau", place / "warm", EPOCHS), lambda end: None, num_epochs=1)


def _undisturbed(run: Run) -> Course:
    start = time.perf_counter()
    _, end = in_child(partial(_train, run)).said
    if "error" in end:
        raise RuntimeError(f"training without a fault: {end['error']}")
    return Course(end, time.perf_counter() - start)


def _train(run: Run, say: Say, *, num_epochs: int = EPOCHS, forwards: int = -1) -> None:
    """Goes on with the run, or begins it; says what it ends with."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores Ctrl-C
    try:
        say("begun")
        say(_end(_trained(run, num_epochs, forwards), run.directory))
    except (KeyboardInterrupt, NonFiniteError) as stop:
        say({"stopped": type(stop).__name__})
    except Exception as error:
        say({"error": f"{type(error).__name__}: {error}"})


def _trained(run: Run, num_epochs: int, forwards: int) -> RunnerV2_1:
    best.SECONDS_BETWEEN_WRITES = 0.0  # the best model goes to disk as often as there is a new one
    torch.manual_seed(0)
    X, y = make_moons(64, noise=0.3, seed=0)
    train_set, dev_set = split(X, y, (40, 24), seed=0)
    make_optimizer, make_schedule = MIXTURES[run.mixture]
    model = _model()
    runner = RunnerV2_1(model, make_optimizer(model), accuracy, BinaryCrossEntropyLoss(model))
    how: dict[str, Any] = {"keep": "best_score", "batch_size": 16, "log_epochs": 0}
    how |= {"schedule": make_schedule(), "generator": _generator(1)}
    how |= {"save_dir": run.directory, "save_every": run.every, "resume": True}
    Brittle.left = forwards
    runner.train(train_set, dev_set, num_epochs=num_epochs, **how)
    return runner


def _model() -> Sequential:
    generator = _generator(2)
    first, last = (Linear(*sizes, generator=generator) for sizes in ((2, 8), (8, 1)))
    return Sequential(first, Brittle(), Dropout(0.2, generator=_generator(3)), last, Logistic())


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
