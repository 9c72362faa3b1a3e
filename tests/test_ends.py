"""How the command lines end: exit code, one line on stderr, and the last good files."""

import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from experiments import boundary, gradient_check, moons
from experiments.__main__ import arguments as all_arguments
from experiments.__main__ import main as list_or_all
from experiments.__main__ import scripts
from opnet import load
from runners import ends

ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}
CUT_SHORT = 60  # seconds that a script may take to start or to end


def started(*command, cwd):
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-m", *command],
        cwd=cwd,
        env=ENVIRONMENT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def endless(cwd):
    """A training that has put its first weights into `out` and goes on."""
    process = started("experiments.moons", "--epochs", "10000000", "--save-dir", "out", cwd=cwd)
    deadline = time.monotonic() + CUT_SHORT
    while not (cwd / "out" / "fc2.pdparams").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    return process


def test_sigterm_exits_143_with_the_best_weights_written(tmp_path):
    with endless(tmp_path) as process:
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=CUT_SHORT)
    assert (process.returncode, err) == (143, "terminated\n")
    assert out.splitlines()[-1].startswith("[Train] kept epoch: ")
    assert load(tmp_path / "out")(torch.zeros(1, 2)).shape == (1, 1)
    assert not list((tmp_path / "out").glob("*.new"))


def test_a_reader_who_leaves_ends_a_training_that_keeps_its_best_weights(tmp_path):
    with endless(tmp_path) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(timeout=CUT_SHORT) == 141
        assert process.stderr.read() == ""
    assert load(tmp_path / "out")(torch.zeros(1, 2)).shape == (1, 1)


@pytest.mark.parametrize(
    "command",
    [("experiments",), ("opnet", "check", "op.py:Square")],
    ids=lambda command: command[0],
)
def test_nobody_reads_a_short_output(tmp_path, command):
    (tmp_path / "op.py").write_text("from opnet import Tanh as Square\n")
    with started(*command, cwd=tmp_path) as process:
        process.stdout.close()
        assert process.wait(timeout=CUT_SHORT) == 141
        assert process.stderr.read() == ""


@pytest.mark.parametrize("error", [ValueError, TypeError, ArithmeticError, OSError, RuntimeError])
def test_an_error_is_one_line(capsys, error):
    def job():
        raise error("first\n  second")

    assert ends.guarded(job) == 1
    assert capsys.readouterr().err == "error: first second\n"


def test_sigterm_is_raised_once_and_the_handler_put_back():
    before, seen = signal.getsignal(signal.SIGTERM), []

    def job():
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            signal.raise_signal(signal.SIGTERM)
            seen.append("whole")

    assert ends.guarded(job) == ends.TERMINATED
    assert seen == ["whole"]
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("made_of_it", [ImportError, None])
def test_a_sigterm_that_a_library_takes_for_another_error_is_one(made_of_it):
    def job():
        try:
            signal.raise_signal(signal.SIGTERM)
        except KeyboardInterrupt:
            if made_of_it:
                raise made_of_it from None

    assert ends.guarded(job) == ends.TERMINATED


NUMBER, REAL = "invalid whole number value", "not a finite number >= 0"
WRONG = {
    "--seed": {"-1": "-1 is not from 0 to", "2.5": NUMBER, "x": NUMBER, "": NUMBER},
    "--device": {"gpu": "'gpu' is not auto", "cuda:x": "'cuda:x' is not auto", "": "'' is not"},
    "--format": {"jpeg": "invalid choice: 'jpeg'"},
    "--train": {"0": "0 is not from 1 to", "x": NUMBER},
    "--dev": {"0": "0 is not from 1 to", "1e3": NUMBER},
    "--test": {"-3": "-3 is not from 1 to", "nan": NUMBER},
    "--hidden": {"0": "0 is not from 1 to", "4294967296": "4294967296 is not from 1 to"},
    "--epochs": {"0": "0 is not from 1 to", "": NUMBER},
    "--noise": {"-1": REAL, "nan": REAL, "inf": REAL, "x": "invalid amount value: 'x'"},
    "--lr": {"-1": REAL, "inf": REAL, "True": "invalid amount value: 'True'"},
    "--keep": {"best": "invalid choice: 'best'"},
    "--seeds": {"0": "0 is not from 1 to"},
    "--quiet": {"yes": "unrecognized arguments: yes"},
    "--animated": {"": "unrecognized arguments: --animated"},
}
PARSERS = {"moons": moons, "boundary": boundary, "gradient_check": gradient_check}


def options(parser):
    return {text for action in parser._actions for text in action.option_strings}


@pytest.mark.parametrize(
    ("name", "flag", "value", "said"),
    [
        (name, flag, value, said)
        for name, script in PARSERS.items()
        for flag, values in WRONG.items()
        if flag in options(script.arguments()) or flag == "--animated"
        for value, said in values.items()
    ],
)
def test_a_wrong_value_of_each_flag_exits_2(capsys, name, flag, value, said):
    with pytest.raises(SystemExit, match="2"):
        PARSERS[name].arguments().parse_args(["checkpoint"] * (name == "boundary") + [flag, value])
    assert said in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("name", sorted(scripts()))
def test_every_script_refuses_an_unknown_option(capsys, name):
    from importlib import import_module

    with pytest.raises(SystemExit, match="2"):
        import_module(f"experiments.{name}").arguments().parse_args(["--nowhere"])
    assert len([x for x in capsys.readouterr().err.splitlines() if "error:" in x]) == 1


@pytest.mark.parametrize("words", ["nothing", "--all", "all --seed -1", "ledger x"])
def test_so_does_the_list_of_them(monkeypatch, capsys, words):
    monkeypatch.setattr(sys, "argv", ["experiments", *words.split()])
    for call in (all_arguments, list_or_all):
        with pytest.raises(SystemExit, match="2"):
            call()
        assert "error: " in capsys.readouterr().err.splitlines()[-1]
