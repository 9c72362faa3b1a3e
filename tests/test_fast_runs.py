"""`--fast-dev-run`: every script runs, saves and draws, elsewhere, and leaves its constants."""

import importlib
from pathlib import Path

import pytest

from experiments import cli, fast
from experiments.__main__ import scripts

CHECKPOINT = Path(__file__).parents[1] / "checkpoints" / "moons"
ELSEWHERE = ("benchmark", "durability", "scaling")  # long: tests of their own run their parts
NAMES = [name for name in scripts() if name not in ELSEWHERE]
DRAW_NOTHING = ("estimators", "gradient_check", "neurons", "onnx_step", "overhead")


def settings_of(module, name, *more):
    arguments = [str(CHECKPOINT)] if name == "boundary" else []
    return module.arguments().parse_args(
        [*arguments, "--fast-dev-run", "--device", "cpu", *map(str, more)]
    )


@pytest.mark.parametrize("name", NAMES)
def test_all_of_it_runs_and_what_it_writes_is_elsewhere(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(f"experiments.{name}")
    settings = settings_of(module, name)
    before = {key: getattr(module, key) for key in settings.fast if key not in settings}
    outcome = cli.report(settings, module.main)
    assert before == {key: getattr(module, key) for key in before}
    if settings.fast:
        assert {row.verdict for row in outcome.rows} <= {fast.NOT_JUDGED}
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert all(path.is_relative_to(tmp_path / fast.FAST_RUNS / name) for path in written)
    assert bool(outcome.figures) == (name not in DRAW_NOTHING)
    assert len([path for path in written if path.suffix == ".png"]) == len(outcome.figures)
    assert capsys.readouterr().err == ""


def test_moons_trains_one_epoch_saves_and_loads(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    from experiments import moons
    from runners import RunnerV2_1

    loaded, usual = [], RunnerV2_1.load_model
    monkeypatch.setattr(
        RunnerV2_1, "load_model", lambda *args: (loaded.append(args[1]), usual(*args))
    )
    cli.report(settings_of(moons, "moons", "--no-figures", "--save-dir", "mine"), moons.main)
    assert loaded == [Path("mine")]
    assert (tmp_path / "mine" / "history.csv").read_text().count("\n") == 2
    assert "[Train] kept epoch: 0/1" in capsys.readouterr().out


def test_only_a_fast_run_is_small():
    from experiments import moons

    settings = moons.arguments().parse_args([])
    assert settings.save_dir == fast.RUNS / "moons"
    with fast.small(settings, moons.main) as smaller:
        assert not smaller
    assert (settings.epochs, moons.LINE["epochs"]) == (None, 200)
