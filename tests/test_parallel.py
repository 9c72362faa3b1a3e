"""On several ranks a training ends as on one: weights, histories, the kept epoch, the files."""

from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from ranks import on_ranks

from opnet import (
    Adagrad,
    Adam,
    BatchGD,
    BinaryCrossEntropyLoss,
    Cosine,
    CrossEntropyLoss,
    LayerNorm,
    Linear,
    Model_MLP_L2,
    Momentum,
    ReduceOnPlateau,
    RMSprop,
    Sequential,
    Softmax,
    Tanh,
    WeightedLoss,
    accuracy,
    from_npy,
    make_moons,
    split,
)
from opnet.metrics import weighted
from opnet.parallel import Ranks
from opnet.walk import state
from runners import EarlyStopping, RunnerV2_1

EPOCHS = 5
TOLERANCES = {torch.float32: 1e-6, torch.float64: 1e-12}
ON = [(torch.float32, 2), (torch.float32, 3), (torch.float64, 3), (torch.float64, 4)]


def drawn(seed=5):
    return torch.Generator().manual_seed(seed)


def moons(dtype):
    X, y = make_moons(307, noise=0.2, seed=0)
    return split(X.to(dtype), y.to(dtype), (203, 101), seed=0)  # neither can be shared evenly


def several_classes(dtype):
    def classes(X, y):
        return [X, (y + (X[:, :1] > 0)).long().flatten()]

    return [classes(*rows) for rows in moons(dtype)]


def with_weights(dtype):
    return [[X, torch.cat([y, (X[:, :1] > 0) + 0.5], dim=1)] for X, y in moons(dtype)]


def with_batch_axes(dtype):
    return [[torch.stack([X, -X]), torch.stack([y, y])] for X, y in moons(dtype)]


def on_disk(dtype, place=None):
    (X, y), dev = moons(dtype)
    if not place.exists():
        np.save(place, X.numpy())
    return [from_npy(place), y], dev


def net(dtype):
    return Model_MLP_L2(2, 5, 1, generator=drawn(), dtype=dtype)


def deep(dtype):
    generator = drawn()
    how = {"generator": generator, "dtype": dtype}
    ops = Linear(2, 6, **how), LayerNorm(6, dtype=dtype), Tanh(), Linear(6, 3, **how), Softmax()
    return Sequential(*ops)


def runner_of(dtype, make=net, rule=BatchGD, lr=0.5, loss=BinaryCrossEntropyLoss, **options):
    model = make(dtype)
    score = options.pop("metric", accuracy)
    return RunnerV2_1(model, rule(lr, model, **options), score, loss(model))


adam = partial(runner_of, rule=Adam, lr=0.05)
every_guard = {"weight_decay": 1e-2, "decay_biases": True, "clip_value": 0.05, "clip_norm": 0.04}
CASES = {  # a runner, its rows, how it trains
    "plain": (runner_of, moons, {}),
    "eager": (runner_of, moons, {"step": "eager"}),
    "an epoch, recorded": (runner_of, moons, {"step": "captured", "num_epochs": 10}),
    "momentum": (partial(runner_of, rule=Momentum, nesterov=True), moons, {}),
    "adagrad": (partial(runner_of, rule=Adagrad, lr=0.1), moons, {}),
    "rmsprop": (partial(runner_of, rule=RMSprop, lr=0.01), moons, {}),
    "adam, every guard": (partial(adam, **every_guard), moons, {}),
    "row blocks": (adam, moons, {"block_size": 16, "step": "eager"}),
    "row blocks, recorded": (adam, moons, {"block_size": 16, "step": "captured"}),
    "mini-batches": (adam, moons, {"batch_size": 32, "step": "eager"}),
    "mini-batches, recorded": (adam, moons, {"batch_size": 32, "step": "captured"}),
    "mini-batches of fewer rows than ranks": (
        runner_of,
        moons,
        {"batch_size": 3, "num_epochs": 1, "rows": 20},
    ),
    "rows on disk": (adam, on_disk, {"block_size": 16}),
    "batch axes": (adam, with_batch_axes, {}),
    "several classes": (
        partial(adam, make=deep, loss=CrossEntropyLoss),
        several_classes,
        {"keep": "best_loss"},
    ),
    "weights of rows": (
        partial(
            adam,
            loss=lambda model: WeightedLoss(BinaryCrossEntropyLoss(model)),
            metric=weighted(accuracy),
        ),
        with_weights,
        {},
    ),
    "a rate that changes": (adam, moons, {"schedule": Cosine(0.05, EPOCHS)}),
    "a rate by the dev loss": (partial(adam, lr=2.0), moons, {"schedule": ReduceOnPlateau}),
    "log lines, of rank 0 only": (adam, moons, {"step": "eager", "log_epochs": 2}),
    "log lines, recorded": (adam, moons, {"step": "captured", "num_epochs": 10, "log_epochs": 3}),
    "stopped early": (partial(adam, lr=2.0), moons, {"callbacks": EarlyStopping}),
}


def trained(name, dtype, place):
    """What a case ends with, on the ranks that there are or on one."""
    make, rows, how = CASES[name]
    how = {"num_epochs": EPOCHS, "log_epochs": 0, "keep": "last"} | how
    few = how.pop("rows", None)
    if "batch_size" in how:
        how["generator"] = drawn()
    if how.get("callbacks") is EarlyStopping:
        how["callbacks"] = [EarlyStopping(1)]
    if how.get("schedule") is ReduceOnPlateau:
        how["schedule"] = ReduceOnPlateau(2.0, patience=1)
    sets = rows(dtype, place) if rows is on_disk else rows(dtype)
    sets = [[X[:few], y[:few]] for X, y in sets] if few else sets
    runner = make(dtype)
    runner.train(*sets, **how)
    weights = [tensor.tolist() for tensor in state(runner.model)]
    memory = {key: tensor.tolist() for key, tensor in runner.optimizer.state_dict().items()}
    return weights, memory, list(map(list, runner.histories)), runner.kept_epoch


def all_trained(dtype, directory):
    return {name: trained(name, dtype, directory / f"{dtype}.npy") for name in CASES}


@given(count=st.integers(1, 9), rows=st.integers(0, 99))
def test_every_row_is_in_one_share_and_shares_are_even(count, rows):
    parts = [range(rows)[Ranks(rank, count).part(rows)] for rank in range(count)]
    assert [row for part in parts for row in part] == list(range(rows))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize(("dtype", "count"), ON, ids=str)
def test_every_case_ends_as_on_one_rank(tmp_path, dtype, count):
    directory, alone = tmp_path, all_trained(dtype, tmp_path)
    ends = on_ranks(count, all_trained, dtype, directory)
    assert [(end.code, end.error) for end in ends] == [(0, "")] * count
    assert all(end.result == ends[0].result for end in ends)  # to the last bit
    for name, wanted in alone.items():
        for came, right in zip(ends[0].result[name], wanted, strict=True):
            near = dict(atol=TOLERANCES[dtype], rtol=TOLERANCES[dtype])
            assert close(came, right, **near), name


def close(came, wanted, **near):
    """Whether numbers, in lists and dicts, are near those wanted."""
    if isinstance(wanted, dict):
        return came.keys() == wanted.keys() and all(
            close(came[k], wanted[k], **near) for k in wanted
        )
    if isinstance(wanted, list):
        return len(came) == len(wanted) and all(map(partial(close, **near), came, wanted))
    return came == wanted or np.isclose(came, wanted, **near)
