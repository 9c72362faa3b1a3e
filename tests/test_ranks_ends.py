"""After a training all ranks are at the same place: its files are there, and the group is good."""

import os
import time

import torch.distributed as dist
from ranks import on_ranks
from test_ranks import At, a_runner, fail, moons

from opnet import checkpoint, load
from opnet.parallel import rank
from opnet.walk import state

SLOW = 0.5  # seconds that rank 0 takes to write its files


def trained(**how):
    runner = a_runner()
    runner.train(*moons(), num_epochs=5, log_epochs=0, **how)
    return [tensor.tolist() for tensor in state(runner.model)]


def error_of(**how):
    """What ends the training, in one line."""
    try:
        return trained(**how)
    except (OSError, ValueError) as error:
        return " ".join(str(error).split())


def loaded_at_once(place):
    save = checkpoint.save

    def slow(*arguments):
        time.sleep(SLOW)
        save(*arguments)

    checkpoint.save = slow
    weights = trained(save_dir=place)
    return weights, [tensor.tolist() for tensor in state(load(place))]


def test_the_files_are_there_when_a_training_returns_on_any_rank(tmp_path):
    ends = on_ranks(3, loaded_at_once, tmp_path / "run")
    assert [(end.code, end.error) for end in ends] == [(0, "")] * 3
    for end in ends:
        weights, read = end.result
        assert read == weights


def gone_on_with(place):
    """Rank 0 leaves a run of 5 epochs, which then one rank finds, and the other does not."""
    said = []
    for here in (rank(), 1 - rank()):
        (place / str(here)).mkdir(exist_ok=True)
        os.chdir(place / str(here))  # on another machine the same name means another directory
        if not said:
            trained(save_dir="run", save_every=5)
        said.append(error_of(save_dir="run", resume=True))
    return said


def test_ranks_that_find_unlike_runs_to_go_on_with_all_end(tmp_path):
    ends = on_ranks(2, gone_on_with, tmp_path)
    assert [(end.code, end.error) for end in ends] == [(0, "")] * 2
    for end in ends:
        assert end.result == [
            "train: rank 1: epochs to go on from is None, rank 0 has 5",
            "train: rank 1: epochs to go on from is 5, rank 0 has None",
        ]


def trained_after_an_error():
    """Whether the group is the one that it was, and what a training in it ends with."""
    trained()
    group = dist.group.WORLD
    said = error_of(callbacks=[At(fail, rank())])
    return said, dist.group.WORLD is group, trained()


def test_an_error_of_all_at_the_same_point_leaves_the_group_good():
    ends = on_ranks(3, trained_after_an_error)
    assert [(end.code, end.error) for end in ends] == [(0, "")] * 3
    for end in ends:
        assert end.result == ("the disk is full", True, ends[0].result[2])
