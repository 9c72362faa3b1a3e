"""Started by torchrun: a script as it is; a rank that is killed, and all go on where they were."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import torch
from ranks import on_ranks

from opnet import Adam, BinaryCrossEntropyLoss, Model_MLP_L2, accuracy, make_moons, split
from opnet.parallel import rank
from opnet.walk import state
from runners import RunnerV2_1

ROOT = Path(__file__).parents[1]
DEATHS = {"0": (1, 6), "1": (0, 11)}  # life: which rank, after which epoch; 5 and 10 are on disk


class Dies:
    """Once in each life but the last one a rank is killed."""

    def on_epoch_end(self, runner, epoch):
        if DEATHS.get(os.environ.get("TORCHELASTIC_RESTART_COUNT")) == (rank(), epoch):
            os.kill(os.getpid(), signal.SIGKILL)


def resumed(place):
    generator = torch.Generator().manual_seed(1)
    model = Model_MLP_L2(2, 5, 1, generator=generator)
    runner = RunnerV2_1(model, Adam(0.05, model), accuracy, BinaryCrossEntropyLoss(model))
    train, dev = split(*make_moons(300, noise=0.2, seed=0), (203, 97), seed=0)
    how = {"save_dir": place, "save_every": 5, "resume": True, "callbacks": [Dies()]}
    runner.train(train, dev, num_epochs=12, log_epochs=0, batch_size=64, generator=generator, **how)
    return [tensor.tolist() for tensor in state(runner.model)], runner.histories


def torchrun(*arguments, cwd=ROOT):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    environment = os.environ | {"PYTHONPATH": paths, "GLOO_SOCKET_IFNAME": "lo"}
    environment |= {"OMP_NUM_THREADS": "1", "OPNET_TIMEOUT": "20"}
    return subprocess.run(
        [*command, *map(str, arguments)],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )


def test_a_rank_is_killed_twice_and_all_go_on_to_the_same_weights(tmp_path):
    script, ended = tmp_path / "script.py", tmp_path / "ended.pt"
    script.write_text(
        "import sys, torch\nfrom test_torchrun import rank, resumed\n"
        "ended = resumed(sys.argv[1])\n"
        "if rank() == 0:\n    torch.save(ended, sys.argv[2])\n"
    )
    restarts = f"--max-restarts={len(DEATHS)}"  # no life is lost besides
    done = torchrun(restarts, script, tmp_path / "killed", ended)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("exitcode: -9") == len(DEATHS)
    undisturbed = on_ranks(2, resumed, tmp_path / "undisturbed")
    for end in undisturbed:
        assert (end.code, end.error) == (0, "")
        assert end.result == torch.load(ended)


def test_moons_on_two_ranks_prints_and_writes_once(tmp_path):
    flags = ["--train", 2000, "--epochs", 3, "--save-dir", tmp_path, "--no-figures"]
    done = torchrun("-m", "experiments.moons", *flags)
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    assert [line.split()[0] for line in said if "[Test]" in line or "[Settings]" in line] == [
        "[Settings]",
        "[Test]",
        "[Test]",
    ]
    assert said[-1] == f"[Written] {tmp_path / 'history.csv'}"
    assert len((tmp_path / "history.csv").read_text().splitlines()) == 4
