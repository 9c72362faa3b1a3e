"""The benchmark: competitors solve opnet's problem, take turns, are reported as they did."""

import importlib
import json
import math
import os
import re
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from experiments.__main__ import NEED_THE_MACHINE
from experiments.contest import disk, limits, machine, report, scaling
from experiments.contest.cases import CASES, Case, cases, gpu_cases
from experiments.contest.problem import Unfit, problem_of
from experiments.contest.process import COMPETITORS, OPNET
from experiments.contest.referee import Result, ring
from opnet import data

SMALL = {
    "full batch": Case("a", "moons", 60, 20, (2, 5, 1), 5),
    "Adam": Case("g", "", 60, 20, (4, 6, 6, 1), 5, 0.01, activation="relu", optimizer="Adam"),
    "mini-batches": Case("e", "", 64, 20, (2, 5, 1), 2, 0.5, batch_size=16),
}
GRID = Case("f", "grid", 100, 0, (2, 5, 1), 0)
OTHERS = [name for name in COMPETITORS if name not in (OPNET, "compiled")]


def competitor(name):
    try:
        return importlib.import_module(f"experiments.competitors.{COMPETITORS[name]}")
    except Unfit as reason:
        pytest.skip(str(reason))


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("case", SMALL.values(), ids=SMALL)
def test_a_competitor_has_opnets_histories_from_the_same_start_every_time(name, case):
    problem = problem_of(case, seed=0)
    wanted = competitor(OPNET).train(problem)()
    trained = competitor(name).train(problem)
    for came in (trained(), trained()):
        assert all(len(history) == case.epochs for history in came)
        torch.testing.assert_close(torch.tensor(came), torch.tensor(wanted), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", OTHERS)
def test_a_competitor_predicts_what_opnet_predicts(name):
    problem = problem_of(GRID, seed=0)
    wanted = competitor(OPNET).predict(problem)()
    came = torch.as_tensor(competitor(name).predict(problem)().tolist()).reshape(-1, 1)
    torch.testing.assert_close(came, wanted, rtol=1e-5, atol=1e-6)


def test_histories_differ_from_epoch_to_epoch():
    for case in SMALL.values():
        histories = competitor(OPNET).train(problem_of(case, seed=0))()
        assert len(set(histories.train_loss)) == len(set(histories.dev_loss)) == case.epochs


def test_the_order_of_rows_is_that_of_opnets_mini_batches():
    problem = problem_of(SMALL["mini-batches"], seed=3)
    X, y = torch.from_numpy(problem.X), torch.from_numpy(problem.y)
    generator = torch.Generator().manual_seed(3)
    for order in problem.orders:
        drawn = torch.cat([batch.rows for batch in data.mini_batches(X, y, 16, generator)])
        assert drawn.tolist() == order.tolist()


def test_processes_take_turns_and_the_table_says_how_they_did():
    case = replace(SMALL["full batch"], repeats=2)
    with ring([OPNET, "numpy"], cores=1) as players:
        results = players.contest(case, seed=0)
    assert all(len(result.seconds) == 3 for result in results.values())
    assert all(0 < second < 10 for result in results.values() for second in result.seconds)
    assert report.agree(*results.values())
    assert len(results["numpy"].histories["dev_score"]) == case.epochs
    assert list(report.remarks([(case, results)])) == []


def test_a_process_that_dies_leaves_the_others_their_results():
    case = replace(SMALL["full batch"], repeats=1)
    with ring([OPNET, "numpy"], cores=1) as players:
        came = players.started["numpy"].ask({"prepare": "nowhere"})
        assert re.fullmatch(r"ended with 1: FileNotFoundError: .* 'nowhere'", came["no"])
        results = players.contest(case, seed=0)
    assert results["numpy"] == Result(no=came["no"])
    assert len(results[OPNET].seconds) == 2
    assert list(report.remarks([(case, results)])) == [f"(a) numpy: {came['no']}"]


def result(seconds, loss=0.5, **more):
    return Result(
        seconds,
        [2 - s for s in seconds],
        20.0,
        {"train_loss": [1.0, loss], "train_score": [0, 1]},
        **more,
    )


def test_the_table_of_results():
    case = Case("b", "few rows", 10, 5, (2, 3, 1), 2)
    results = {
        OPNET: result([9.0, 2e-4, 2e-4, 4e-4]),
        "book": result([9.0, 6e-4, 2e-4, 8e-4]),
        "jax": result([90.0, 1e-4, 1e-4, 1e-4], loss=0.6),
        "sklearn": Result(no="cannot"),
    }
    text = report.tables([(case, results)])
    *parts, remarks = text.split("\n\n")
    ratios, of_cpu, whole, micros, peak, last = (part.splitlines()[1] for part in parts)
    start = r"b  few rows +2-3-1 +"
    assert re.fullmatch(start + r"2\.00x +0\.50x +-", ratios)
    assert re.fullmatch(start + r"1\.00x +1\.00x +-", of_cpu)
    assert re.fullmatch(start + r"10\.00x", whole)
    assert re.fullmatch(start + r"1\.00x +1\.00x +-", of_cpu)
    assert re.fullmatch(start + r"100 +300 +50\.0 +-", micros)
    assert re.fullmatch(start + r"20 +20 +20 +-", peak)
    assert re.fullmatch(start + r"0\.50000 +0\.50000 +0\.60000 +-", last)
    assert all(len(set(map(len, part.splitlines()))) == 1 for part in parts)
    assert remarks.splitlines() == [
        "(b) jax DOES NOT AGREE: [0.6], opnet [0.5]",
        "(b) sklearn: cannot",
    ]


def test_what_is_nan_agrees_with_nothing():
    nan = result([1.0], loss=math.nan)
    assert not report.agree(nan, nan)
    assert report.agree(result([1.0]), result([1.0], loss=0.5004))
    assert not report.agree(result([1.0]), result([1.0], loss=0.501))


def test_the_cost_over_the_size_is_drawn_as_lines_in_powers_of_ten(tmp_path):
    from opnet import plots

    sweeps = {
        what: [
            (case, {OPNET: result([1.0, 1.0]), "jax": Result(no="is not there")}) for case in some
        ]
        for what, some in scaling.sizes(quick=True).items()
    }
    figure = scaling.drawn(sweeps)
    for axes in figure.axes:
        assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
        assert [line.get_label() for line in axes.lines] == [OPNET]
    with Image.open(plots.save(figure, tmp_path / "cost.png")) as picture:
        assert picture.width > 1000


def test_a_quick_case_has_the_net_of_the_whole_one_and_less_to_do():
    for whole, quick in zip(CASES, cases(quick=True), strict=True):
        assert (whole.key, whole.widths) == (quick.key, quick.widths)
        assert quick.rows * max(quick.epochs, 1) < whole.rows * max(whole.epochs, 1)


def test_memory_is_looked_up_and_its_peak_forgotten():
    if math.isnan(machine.memory("VmHWM")):
        pytest.skip("no /proc/self/status")
    block = bytearray(200_000_000)
    assert machine.memory("VmHWM") >= 200
    del block
    machine.forget_peak()
    before = machine.memory("VmHWM")
    block = bytearray(100_000_000)
    assert 95 < machine.memory("VmHWM") - before < 120
    del block


def test_rows_on_the_disk_are_trained_on_and_memory_is_watched(tmp_path, monkeypatch):
    if not hasattr(data, "from_npy"):  # all of the file in memory: what the case is to find out
        monkeypatch.setattr(data, "from_npy", np.load, raising=False)
    monkeypatch.setattr(disk, "AT_ONCE", 7_000)
    came = disk.trained(20_000, tmp_path)
    X, y = (np.load(tmp_path / name) for name in ("X.npy", "y.npy"))
    assert (X.shape, y.shape, X.dtype, y.dtype) == ((20_000, 20), (20_000, 1), "f4", "f4")
    assert np.unique(X[:, 0]).size > 19_000
    assert 0.3 < y.mean() < 0.7
    assert came["train loss"][1] < came["train loss"][0]
    assert came["seconds an epoch"] > 0


def test_the_watch_keeps_the_most_memory():
    if math.isnan(machine.memory("RssAnon")):
        pytest.skip("no /proc/self/status")
    watch = disk.Watch()
    before = machine.memory("RssAnon")
    watch.start()
    block = bytearray(b"1" * 100_000_000)
    deadline = time.monotonic() + 10
    while watch.most - before < 90 and time.monotonic() < deadline:
        time.sleep(0.01)
    del block
    time.sleep(0.05)  # it looks again
    watch.done.set()
    assert watch.most - before > 90


def script(*arguments, cwd):
    command = [sys.executable, "-W", "error", "-m", "experiments.benchmark", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def test_a_case_as_a_person_runs_it(tmp_path):
    done = script("--quick", "--cases", "f", "--json", "raw.json", "--no-figures", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "times as long as opnet" in done.stdout
    assert "DOES NOT AGREE" not in done.stdout
    raw = json.loads((tmp_path / "raw.json").read_text())
    assert raw["machine"]["cores used"] == 1
    (found,) = raw["results"]
    assert found["case"]["key"] == "f"
    assert len(found["results"][OPNET]["seconds"]) == 3
    assert os.listdir(tmp_path) == ["raw.json"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--cases", "z"], "argument --cases: invalid choice: 'z'"),
        (["--cores", "0"], "argument --cores: 0 is not from 1 to "),
    ],
)
def test_a_wrong_flag_exits_2(tmp_path, arguments, said):
    done = script(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr.splitlines()[-1]


def test_it_is_not_among_all():
    assert "benchmark" in NEED_THE_MACHINE


def test_the_cases_of_a_gpu_are_ten_times_as_large():
    small = {case.key: case for case in cases(quick=True)}
    large = gpu_cases(quick=True)
    assert [case.key for case in large] == ["a", "c", "d"]
    assert all(case.rows == 10 * small[case.key].rows for case in large)


def test_the_work_of_an_epoch():
    case = Case("a", "", 100, 10, (2, 5, 1), 1)
    products = 2 * 5 + 5 * 1
    operations, moved = limits.work(case)
    assert operations == 2 * (100 * (2 * products + 5) + 10 * products)
    assert moved == 4 * 5 * (5 * 100 + 2 * 10)


def test_what_is_reached_of_the_limits():
    operations, moved = limits.limits("cpu", copied=2**16, side=64)
    assert operations > 1e6
    assert moved > 1e6
    case = Case("a", "", 100, 10, (2, 5, 1), 1)
    needed, walked = limits.work(case)
    said = limits.shares(case, 2.0, needed, walked)
    assert said == "50.0% of the arithmetic, 50.0% of the memory bandwidth"
