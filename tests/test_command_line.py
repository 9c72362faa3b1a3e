"""`python -m opnet`: what it says where, how it ends, and that its page is true."""

import io
import json
import re
import runpy
import shlex
import signal
import sys
import time
from dataclasses import fields
from pathlib import Path
from types import ModuleType

import pytest
import torch
from command_lines import CUT_SHORT, FLOWERS, MOONS, child, record

import opnet
from runners.command_line import main, parser
from runners.command_line.out import Out, in_colour
from runners.command_line.parser import COMMANDS
from runners.command_line.settings import Settings

pytestmark = pytest.mark.usefixtures("elsewhere")


def test_results_go_to_stdout_and_progress_to_stderr(ran, tmp_path):
    code, out, err = ran("train", *MOONS, "--out", "run")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == [
        "[Train]",
        "[Dev]",
        "[Test]",
        "[Written]",
    ]
    assert err.startswith('[Settings] data: "moons", target: null, ')
    assert "[Data] moons: train 90, dev 30, test 30 rows" in err
    assert "[Train] epoch: 0/20, loss: " in err
    files = {path.name for path in (tmp_path / "run").iterdir()}
    assert {"run.json", "manifest.json", "Linear_1.pdparams", "Rescale_0.pdparams"} <= files


def test_the_echo_tells_every_setting(ran):
    _, _, err = ran("train", *MOONS, "--out", "run")
    echo = err.splitlines()[0]
    assert all(f"{known.name}: " in echo for known in fields(Settings))


def test_quiet_leaves_results_only_and_verbose_tells_every_epoch(ran):
    code, out, err = ran("train", *MOONS, "--out", "run", "-q")
    assert (code, err, out[:7]) == (0, "", "[Train]")
    _, _, err = ran("train", *MOONS, "--out", "run", "-v")
    assert err.count("[Train] epoch: ") == 20


def test_json_is_the_same_result_for_machines(ran, moons_run):
    code, out, err = ran("train", *MOONS, "--out", "run", "--json", "-q")
    assert (code, err) == (0, "")
    told = json.loads(out)
    assert told["scores"] == record(moons_run)["scores"]
    assert told["checkpoint"] == "run"


def test_info_is_what_a_bug_report_needs(ran):
    code, out, err = ran("info", "--json")
    assert (code, err) == (0, "")
    told = json.loads(out)
    assert told["torch"] == torch.__version__
    assert {"python", "numpy", "threads", "devices", "BLAS", "caches", "platform"} <= told.keys()
    assert ran("info")[1].splitlines()[0].startswith("opnet ")


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_tells_the_exit_codes(capsys, command):
    with pytest.raises(SystemExit, match="0"):
        main([*command.split(), "--help"])
    assert "130" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("number", "code", "said", "ended"),
    [
        (signal.SIGINT, 130, "interrupted", "KeyboardInterrupt"),
        (signal.SIGTERM, 143, "terminated", "Terminated"),
    ],
)
def test_a_signal_leaves_a_checkpoint_that_can_be_used(ran, tmp_path, number, code, said, ended):
    words = ("train", "--data", "moons", "--epochs", "10000000", "--out", "run", "-q")
    with child(*words) as process:
        deadline = time.monotonic() + CUT_SHORT
        while not (tmp_path / "run" / "Linear_3.pdparams").exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(number)
        out, err = process.communicate(timeout=CUT_SHORT)
    assert (process.returncode, out, err) == (code, "", f"{said}\n")
    assert record(tmp_path / "run")["ended"] == ended
    assert ran("eval", "--checkpoint", "run")[0] == 0


@pytest.mark.parametrize("when", ["imported", "called"])
def test_ctrl_c_before_anything_has_begun(monkeypatch, capsys, when):
    def stop(*_):
        raise KeyboardInterrupt

    module = ModuleType("command_line")
    setattr(module, {"imported": "__getattr__", "called": "main"}[when], stop)
    monkeypatch.setitem(sys.modules, "runners.command_line", module)
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(Path(opnet.__file__).with_name("__main__.py")), run_name="__main__")
    assert end.value.code == 130
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    "words", [("train", *MOONS, "--epochs", "1"), ("eval", "--checkpoint", "n")]
)
def test_where_stderr_is_closed_nothing_of_it_is_on_stdout(ran, monkeypatch, words):
    monkeypatch.setattr(sys, "stderr", None)
    assert "[Settings]" not in (out := ran(*words)[1])
    assert "error" not in out


def test_nobody_reads_the_predictions(moons_run):
    words = ("--checkpoint", str(moons_run), "--data", "moons", "--rows", "9")
    with child("predict", *words) as process:
        process.stdout.close()
        assert process.wait(timeout=CUT_SHORT) == 141
        assert process.stderr.read() == ""


def test_debug_shows_the_traceback(ran):
    words = ("train", "--data", "nowhere.csv", "--target", "y", "-q")
    assert ran(*words)[::2] == (1, "error: nowhere.csv: no such file or directory\n")
    code, _, err = ran(*words, "--debug")
    assert code == 1
    assert err.startswith("Traceback")
    assert err.endswith("error: nowhere.csv: no such file or directory\n")
    Path("op.py").write_text("1 / 0\n")
    code, _, err = ran("check", "op.py:Op", "--debug", "-q")
    assert code == 2
    assert err.startswith("Traceback")
    assert err.endswith("error: ZeroDivisionError: division by zero\n")


def test_json_holds_no_infinity():
    with pytest.raises(ValueError, match=r"^--json: a result is not finite, .*: \[inf\]$"):
        Out(as_json=True).result("", [float("inf")])


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("stream", "environment", "coloured"),
    [
        (Terminal(), {}, True),
        (io.StringIO(), {}, False),
        (Terminal(), {"NO_COLOR": "1"}, False),
        (Terminal(), {"NO_COLOR": ""}, True),
        (Terminal(), {"TERM": "dumb"}, False),
    ],
)
def test_colour_is_for_people_who_want_it(monkeypatch, stream, environment, coloured):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    assert ("\033[" in in_colour("error", stream)) == coloured


def test_every_setting_is_a_flag_of_train_and_comes_back_from_json():
    flags = [f"--{known.name.replace('_', '-')}" for known in fields(Settings)]
    named = parser()._subparsers._group_actions[0].choices["train"]._option_string_actions
    assert set(flags) <= set(named)
    settings = Settings(data="a.csv", hidden=(3, 4), test_size=20, lr=0.1, threads=2)
    assert Settings.of(json.loads(json.dumps(settings.as_dict())), {}, "") == settings


def test_the_commands_of_the_page_run_as_they_stand(ran, tmp_path):
    page = (Path(__file__).parents[1] / "docs" / "command_line.md").read_text()
    (tmp_path / "plants.csv").write_text(FLOWERS)
    told = re.search(r"^```text\n(.*?)^```", page, re.DOTALL | re.MULTILINE)[1]
    lines = re.findall(r"^python -m opnet (.*)$", page, re.MULTILINE)
    assert len(lines) > 10
    for line in lines:
        code, out, err = ran(*shlex.split(line))
        assert code == 0, (line, err)
        if line is lines[0]:
            assert out == told
