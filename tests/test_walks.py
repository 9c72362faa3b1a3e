"""Blocks that are recorded, in one lane or in several, give what the usual walk gives."""

import threading

import pytest
import torch

from opnet import (
    BatchGD,
    BinaryCrossEntropyLoss,
    Dropout,
    Linear,
    Logistic,
    Model_MLP_L2,
    ReLU,
    Sequential,
    accuracy,
)
from opnet.captured import Training
from opnet.metrics import right_rows
from opnet.op import Op
from opnet.step import evaluation, training_step
from opnet.walks import FEWEST_ELEMENTS, Walk, lanes_for, spans
from runners import RunnerV2_1
from runners.replays import plan

N = 101


class Still:
    """An optimizer that leaves the weights."""

    def step(self):
        pass


def parts(dtype=torch.float64, model=None):
    g = torch.Generator().manual_seed(0)
    model = model or Model_MLP_L2(2, 7, 1, generator=g, dtype=dtype)
    data = [torch.randn(N, 2, generator=g, dtype=dtype), torch.rand(N, 1, generator=g).round()]
    data[1] = data[1].to(dtype)
    return model, BinaryCrossEntropyLoss(model), data


def training(model, loss_fn, data, size):
    return Training(model, Still(), accuracy, loss_fn, data, data, size)


def grads_of(model):
    return [op.grads[key].clone() for op in (model.fc1, model.fc2) for key in ("W", "b")]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("of_rows", [None, right_rows], ids=["predictions", "scores"])
@pytest.mark.parametrize("size", [1, 7, 20, 100, 101, 500])
@pytest.mark.parametrize("lanes", [1, 2, 3, 8])
def test_a_walk_is_the_usual_one(lanes, size, of_rows, dtype):
    model, loss_fn, data = parts(dtype)
    expected, loss = training_step(model, loss_fn, Still(), *data, size, of_rows)
    grads = grads_of(model)
    judged = evaluation(model, loss_fn, *data, size, of_rows)
    trains = training(model, loss_fn, data, size)
    walk = Walk(trains, data, back=True, of_rows=of_rows, lanes=lanes)
    look = Walk(trains, data, of_rows=of_rows, lanes=lanes)
    limits = {torch.float32: (1e-5, 1e-7), torch.float64: (1e-12, 1e-15)}[dtype]
    for _ in range(4):  # as usual, recorded, replayed
        for grad in grads_of(model):
            grad.zero_()
        found = walk()
        for ours, wanted in zip((*found, *grads_of(model)), (expected, loss, *grads), strict=True):
            if lanes == 1:
                assert torch.equal(ours, wanted)
            else:
                torch.testing.assert_close(ours, wanted, rtol=limits[0], atol=limits[1])
        assert all(map(torch.equal, look(), judged))  # the losses stand in the order of the rows


@pytest.mark.parametrize("lanes", [1, 2])
def test_what_walks_found_is_theirs_when_the_next_one_has_run(lanes):
    model, loss_fn, data = parts()
    walk = Walk(training(model, loss_fn, data, 20), data, lanes=lanes)
    first = walk()
    kept = [tensor.clone() for tensor in first]
    model.fc2.params["b"].add_(1)
    second = walk()
    assert all(map(torch.equal, first, kept))
    assert not torch.equal(first[0], second[0])


@pytest.mark.parametrize("lanes", [1, 2, 3])
def test_the_same_lanes_give_the_same_bits(lanes):
    model, loss_fn, data = parts(torch.float32)
    found = []
    for _ in range(2):
        walk = Walk(training(model, loss_fn, data, 10), data, back=True, lanes=lanes)
        for _ in range(5):
            found.append([*walk(), *grads_of(model)])
    assert all(all(map(torch.equal, found[0], other)) for other in found)


class Fails(Op):
    """y = x,  dL/dx = dL/dy, until it is told to fail."""

    rowwise = recordable = True
    after = 10**6

    def forward(self, inputs):
        self.inputs = inputs
        self.after -= 1
        if self.after == 0:
            raise ZeroDivisionError("the last row")
        return inputs * 1

    def backward_inputs(self, grads):
        return grads * 1


@pytest.mark.parametrize("after", [1, 2, 3])
@pytest.mark.parametrize("lanes", [1, 2])
def test_an_op_that_raises_leaves_no_memory_and_its_own_gradients(lanes, after):
    g = torch.Generator().manual_seed(0)
    failing = Fails()
    model = Sequential(Linear(2, 7, "fc1", generator=g), failing, Linear(7, 1, "fc2", generator=g))
    model = Sequential(*model.layers, Logistic())
    loss_fn, data = BinaryCrossEntropyLoss(model), parts(torch.float32)[2]
    grads = model.layers[0].grads
    failing.after = after
    walk = Walk(training(model, loss_fn, data, 40), data, back=True, lanes=lanes)
    with pytest.raises(ZeroDivisionError, match="the last row"):
        walk()
    assert model.layers[0].grads is grads
    assert all(op._memory is None for op in (model, *model.layers))


def test_lanes_are_threads_that_end_with_the_walk():
    model, loss_fn, data = parts()
    before = set(threading.enumerate())
    walk = Walk(training(model, loss_fn, data, 10), data, back=True, lanes=3)
    walk()
    lanes = set(threading.enumerate()) - before
    assert 1 <= len(lanes) <= 2  # and the caller
    del walk
    for lane in lanes:
        lane.join(10)
        assert not lane.is_alive()


@pytest.mark.parametrize("count", [1, 7, 100, 101])
@pytest.mark.parametrize("size", [1, 3, 50, 1000])
@pytest.mark.parametrize("lanes", [1, 2, 5])
def test_spans_are_whole_blocks_one_after_the_other(count, size, lanes):
    found = spans(count, size, lanes)
    ends = [0, *(span.stop for span in found)]
    assert [span.start for span in found] == ends[:-1]
    assert ends[-1] == count
    assert all(end % size == 0 for end in ends[:-1])
    blocks = [-(-(span.stop - span.start) // size) for span in found]
    assert len(found) <= lanes
    assert max(blocks) - min(blocks) <= 1


def test_how_many_lanes():
    model, loss_fn, _ = parts(torch.float32, Model_MLP_L2(2, 512, 1))
    many = [torch.zeros(5000, 2), torch.zeros(5000, 1)]
    size = FEWEST_ELEMENTS // 512
    assert lanes_for(training(model, loss_fn, many, size), 4) == 4
    assert lanes_for(training(model, loss_fn, many, 2000), 4) == 2  # of whole blocks
    assert lanes_for(training(model, loss_fn, many, size - 1), 4) == 1  # too little work
    assert lanes_for(training(model, loss_fn, many, None), 4) == 1
    assert lanes_for(training(model, loss_fn, many, size), 1) == 1
    drawing = Sequential(Linear(2, 512), ReLU(), Dropout(0.5), Linear(512, 1), Logistic())
    assert lanes_for(training(drawing, loss_fn, many, size), 4) == 1  # the order of draws is one


@pytest.mark.parametrize("asked", [None, 1, 2, 10**6])
def test_no_more_lanes_than_the_process_may_use(asked, monkeypatch):
    monkeypatch.setattr("runners.replays.most_threads", lambda: 3)
    model = Model_MLP_L2(2, 512, 1)
    runner = RunnerV2_1(model, BatchGD(0.1, model), accuracy, BinaryCrossEntropyLoss(model))
    sets = [[torch.zeros(5000, 2), torch.zeros(5000, 1)]] * 2
    size = FEWEST_ELEMENTS // 512
    found = plan("captured", runner, sets, [], 10, block_size=size, threads=asked)
    assert found.lanes == min(asked or torch.get_num_threads(), 3)
