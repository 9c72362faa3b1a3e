"""The model of what an epoch on several ranks costs, and the run that it is fitted to."""

import argparse

import pytest

from experiments.scaling import measured
from experiments.scaling_model import DEV_ROWS, MANY, TALKS, Model, Way, fitted, furthest, work

WAYS = [Way(ranks, 1, rows) for ranks in (1, 2, 4) for rows in (1_000_000, 125_000)]
RIGHT = Model(fixed=0.002, per_row=1e-6, step=2e-4, per_number=1e-9, numbers=5_633, crowding=1.3)
TALKED = {"few": 2 * RIGHT.step, "many": 2 * RIGHT.step + MANY * RIGHT.per_number}


@pytest.mark.parametrize("cores", [2, 3, 4])
def test_the_numbers_of_a_model_are_found_again_from_what_it_predicts(cores):
    epochs = {way: RIGHT.epoch(way.rows, way.ranks, cores) for way in WAYS}
    epochs[Way(1, 2, 1_000_000)] = 99.0  # two threads: not what the model is of
    found = fitted(epochs, TALKED, RIGHT.numbers, cores)
    assert found == pytest.approx(RIGHT._replace(crowding=1.3 if cores < 4 else 1.0))
    assert furthest(epochs, found, cores) == pytest.approx(0, abs=1e-9)
    epochs[WAYS[0]] *= 2
    assert furthest(epochs, found, cores) == pytest.approx(0.5)


def test_one_rank_does_not_talk_and_many_only_talk():
    assert RIGHT.talking(1) == 0
    assert RIGHT.talking(2) == pytest.approx(TALKS * 2 * RIGHT.step + RIGHT.numbers * 1e-9)
    assert RIGHT.epoch(1000, 1000) == pytest.approx(RIGHT.talking(1000), rel=0.01)


def test_ranks_that_share_a_core_take_turns():
    alone, shared = (RIGHT.computing(1_000_000, 4, cores) for cores in (4, 2))
    assert shared == pytest.approx(2 * 1.3 * alone)


def test_a_dev_row_costs_a_third_of_a_row_to_train_on():
    assert work(0, 1) == pytest.approx(DEV_ROWS / 3)  # a walk there, and none back for X and for W
    assert work(DEV_ROWS, 2) == pytest.approx(DEV_ROWS * 2 / 3)


def test_what_does_not_shrink_is_never_less_than_nothing():
    epochs = {way: RIGHT._replace(fixed=-0.01).epoch(way.rows, way.ranks) for way in WAYS}
    found = fitted(epochs, {"few": 0.0, "many": 0.0}, 10, cores=4)
    assert found.fixed == 0.0
    assert found.per_row > 0


def test_ranks_and_one_process_end_at_the_same_loss():
    settings = argparse.Namespace(hidden=4, epochs=2)
    one, two = (measured(Way(ranks, 1, 2000), settings) for ranks in (1, 2))
    assert one["loss"] == pytest.approx(two["loss"], rel=1e-6)
    assert len(one["epochs"]) == len(two["epochs"]) == 2
    assert one["few"] == 0 < two["few"]
    for ranks in (1, 2):
        with pytest.raises(RuntimeError, match=f"ranks={ranks}, threads=1, rows=0.*ValueError: "):
            measured(Way(ranks, 1, 0), settings)
