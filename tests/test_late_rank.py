"""A rank that is late itself is told so, and not that the others have gone."""

import time

from ranks import on_ranks

from opnet import Adam, BinaryCrossEntropyLoss, Model_MLP_L2, accuracy, make_moons, split
from opnet.parallel import rank
from runners import RunnerV2_1

PATIENCE, LONGEST = 2.0, 10.0  # seconds


class Late:
    """After the first epoch rank 1 waits until the others have given up."""

    def on_epoch_end(self, runner, epoch):
        self.ranks = runner.ranks
        if (rank(), epoch) == (1, 0):
            self.wait_for(0, why=True)
            self.wait_for(2, why=True)

    def wait_for(self, other, why=False):
        end = time.monotonic() + LONGEST
        while time.monotonic() < end:
            _, text = self.ranks._heard(0.05, lambda words: False).get(other, (None, None))
            if text or (text == "" and not why):
                return


def trained():
    model, late = Model_MLP_L2(2, 5, 1), Late()
    runner = RunnerV2_1(model, Adam(0.05, model), accuracy, BinaryCrossEntropyLoss(model))
    train, dev, _ = split(*make_moons(1000, noise=0.2, seed=0), seed=0)
    try:
        runner.train(train, dev, num_epochs=3, log_epochs=0, callbacks=[late])
    finally:
        if rank() == 0:  # it holds the store, as a launcher would
            late.wait_for(1)
            time.sleep(0.5)


def test_a_rank_that_is_late_is_told_the_same_as_the_others():
    for end in on_ranks(3, trained, seconds=PATIENCE):
        assert end.code == 1
        assert "cannot go on: rank 1 has not answered in time" in end.error, end.error
