"""All ranks begin with what rank 0 has: weights, memory of the optimizer, order of the batches."""

from datetime import timedelta

import numpy as np
import pytest
import torch
import torch.distributed as dist
from ranks import on_ranks

from opnet import Adam, BinaryCrossEntropyLoss, Model_MLP_L2, accuracy, from_npy, make_moons, split
from opnet.parallel import rank
from opnet.walk import state
from runners import RunnerV2_1

BATCHES = {"batch_size": 32}  # in an order that rank 0 draws


def moons():
    return split(*make_moons(307, noise=0.2, seed=0), (203, 101), seed=0)


def a_runner():
    """Weights and memory that each rank draws for itself."""
    torch.seed()
    model = Model_MLP_L2(2, 5, 1)
    optimizer = Adam(0.05, model)
    runner = RunnerV2_1(model, optimizer, accuracy, BinaryCrossEntropyLoss(model))
    X, y = moons()[0]
    runner.loss_fn(model(X), y)
    runner.loss_fn.backward()
    optimizer.step()
    return runner


def trained(**how):
    runner = a_runner()
    runner.train(*moons(), num_epochs=3, log_epochs=0, keep="last", **how)
    memory = {key: tensor.tolist() for key, tensor in runner.optimizer.state_dict().items()}
    return [tensor.tolist() for tensor in state(runner.model)], memory, runner.histories


def trained_twice():
    return trained(), trained(**BATCHES)


def without_a_step():
    """The loss over the batches of an epoch, and that over all rows."""
    train, dev = moons()
    runner = a_runner()
    runner.train(train, dev, num_epochs=1, log_epochs=0, schedule=lambda _: 0.0, **BATCHES)
    return runner.train_loss[0], runner.evaluate(train)[1]


def test_each_row_is_in_one_batch_of_one_rank():
    for end in on_ranks(3, without_a_step):
        assert end.result[0] == pytest.approx(end.result[1], rel=1e-5)


def trained_in_a_group_of_its_own():
    dist.init_process_group("gloo", timeout=timedelta(seconds=20))
    return trained_twice()


@pytest.mark.parametrize("job", [trained_twice, trained_in_a_group_of_its_own])
def test_what_each_rank_has_drawn_for_itself_is_that_of_rank_0(job):
    ends = on_ranks(3, job)
    assert [(end.code, end.error) for end in ends] == [(0, "")] * 3
    assert all(end.result == ends[0].result for end in ends)


def gone_on_with(place):
    """Each rank has a file of its own, in which only its own rows are true."""
    (X, y), dev = moons()
    mine = slice(len(X) * rank() // 2, len(X) * (rank() + 1) // 2)
    rows = np.ones_like(X.numpy())
    rows[mine] = X[mine]
    file = place / f"{rank()}.npy"
    np.save(file, rows)
    for epochs in (2, 4):
        torch.manual_seed(0)
        model = Model_MLP_L2(2, 5, 1)
        parts = Adam(0.05, model), accuracy, BinaryCrossEntropyLoss(model)
        runner = RunnerV2_1(model, *parts)
        how = {"num_epochs": epochs, "log_epochs": 0, "save_dir": place / "run", "save_every": 1}
        runner.train([from_npy(file), y], dev, resume=True, **how)
    return runner.train_loss


def test_rows_are_recognised_by_those_of_rank_0(tmp_path):
    ends = on_ranks(2, gone_on_with, tmp_path)
    assert [(end.code, end.error) for end in ends] == [(0, "")] * 2
    assert len(ends[0].result) == 4
    assert ends[0].result == ends[1].result
