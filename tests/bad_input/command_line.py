"""Command lines: how they end is told by an exit code and the last line on stderr."""

import io
import shutil
import signal
from contextlib import chdir, redirect_stderr, redirect_stdout
from functools import partial
from unittest import mock

from experiments import boundary, cli, gradient_check, moons
from opnet import NonFiniteError

from .row import Bad


class Exit(Exception):
    """ "code: what stderr says in its last line"."""


def ended(script, words, w, main=None):
    """Runs a script as its command line does, in the world's directory."""
    told = io.StringIO()
    words_given = mock.patch("sys.argv", [script.__name__, *words.split()])
    nowhere = redirect_stdout(io.StringIO())
    with chdir(w.directory), words_given, nowhere, redirect_stderr(told):
        try:
            cli.run(script.arguments(), main or script.main)
        except SystemExit as end:
            code = end.code
    lines = told.getvalue().splitlines()
    if code != 2:  # argparse prints the usage too
        assert len(lines) == 1
    raise Exit(f"{code}: {lines[-1]}")


def to_flags():
    whole, real = "invalid whole number value", "not a finite number >= 0"
    for script, words, said in (
        (moons, "--nowhere", "unrecognized arguments: --nowhere"),
        (moons, "--epoch 5", "unrecognized arguments: --epoch 5"),
        (moons, "stray", "unrecognized arguments: stray"),
        (moons, "--epochs -5", "argument --epochs: -5 is not from 1 to"),
        (moons, "--epochs 2.5", f"argument --epochs: {whole}: '2.5'"),
        (moons, "--epochs", "argument --epochs: expected one argument"),
        (moons, "--lr nan", f"argument --lr: nan is {real}"),
        (moons, "--noise -0.1", f"argument --noise: -0.1 is {real}"),
        (moons, "--seed x", f"argument --seed: {whole}: 'x'"),
        (moons, "--keep all", "argument --keep: invalid choice: 'all'"),
        (moons, "--device gpu", "argument --device: 'gpu' is not auto, cpu, cuda"),
        (boundary, "", "the following arguments are required: checkpoint"),
        (boundary, "run --format jpeg", "argument --format: invalid choice: 'jpeg'"),
        (moons, "--save-dir=", "argument --save-dir: '' is no path"),
        (moons, "--out=", "argument --out: '' is no path"),
        (gradient_check, "--out=", "argument --out: '' is no path"),
        (gradient_check, "--nowhere", "unrecognized arguments: --nowhere"),
    ):
        name = f"{script.__name__} {words}"
        yield Bad(name, partial(ended, script, words), Exit, f"^2: .*error: {said}")


def damaged(w):
    bad = shutil.copytree(w.directory / "run", w.directory / "bad")
    (bad / "fc1.pdparams").write_bytes(b"no checkpoint")


def raising(error, settings):
    raise error


def signalled(number, settings):
    signal.raise_signal(number)


def to_runs():
    for script, words, said in (
        (boundary, "nowhere", "nowhere: no such directory"),
        (boundary, "file", "file: no checkpoint that can be read safely"),
        (boundary, "bad", "bad/fc1.pdparams: damaged or changed"),
        (moons, "--no-figures --save-dir file", "file: cannot be made: File exists"),
        (moons, "--no-figures --save-dir file/below", "below: cannot be made: Not a directory"),
        (moons, "--no-figures --hidden 6 --save-dir run", "run: holds another model"),
        (moons, "--no-figures --save-dir bad", "bad/fc1.pdparams: damaged or changed"),
    ):
        name = f"{script.__name__} {words}"
        yield Bad(name, partial(ended, script, words), Exit, f"^1: error: .*{said}", damaged)


def to_ends():
    diverged = NonFiniteError("train: loss is nan in epoch 3")
    for name, main, said in (
        ("it diverges", partial(raising, diverged), "1: error: train: loss is nan in epoch 3"),
        ("a full disk", partial(raising, OSError("No space left")), "1: error: No space left"),
        ("Ctrl-C", partial(signalled, signal.SIGINT), "130: interrupted"),
        ("SIGTERM", partial(signalled, signal.SIGTERM), "143: terminated"),
    ):
        call = partial(ended, moons, "--no-figures", main=main)
        yield Bad(f"a script: {name}", call, Exit, f"^{said}$")


COMMAND_LINE = [*to_flags(), *to_runs(), *to_ends()]
