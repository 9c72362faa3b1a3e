"""A snapshot is what tensor by tensor copies of that moment are, whoever moves the weights."""

from functools import partial

import pytest
import torch

from opnet import (
    Adagrad,
    Adam,
    BatchGD,
    BatchNorm,
    BinaryCrossEntropyLoss,
    Linear,
    Logistic,
    Momentum,
    Optimizer,
    RMSprop,
    Sequential,
    Tanh,
)
from opnet.op import Op
from opnet.step import training_step
from opnet.walk import state
from runners.snapshots import Camera, set_weights


class Shift(Op):
    """y = x - m, and m, the mean of all rows so far, is a float64 buffer."""

    def __init__(self):
        super().__init__()
        self.buffers = {"mean": torch.zeros(1, dtype=torch.float64), "seen": torch.tensor(0)}

    def forward(self, inputs):
        self.buffers["seen"] += len(inputs)
        self.buffers["mean"].lerp_(inputs.double().mean(), len(inputs) / self.buffers["seen"])
        return inputs - self.buffers["mean"].float()

    def backward_inputs(self, grads):
        return grads


class Book:
    """A learner's optimizer, that of the book: it binds new params and keeps nothing."""

    def __init__(self, model):
        self.model = model

    def step(self):
        for layer in self.model.layers:
            for key in getattr(layer, "params", {}):
                self.put(layer, key, layer.params[key] - 0.1 * layer.grads[key])

    def put(self, layer, key, param):
        layer.params[key] = param


class NewParams(Book, Optimizer):
    """The same, made from opnet's: its snapshots are taken in one copy."""

    def __init__(self, model):
        Optimizer.__init__(self, 0.1, model)


class NewDicts(NewParams):
    def put(self, layer, key, param):
        layer.params = layer.params | {key: param}


class NewStorage(NewParams):
    def put(self, layer, key, param):
        layer.params[key].data = param


class NowAndThen(NewParams):
    """In place, but for every second step."""

    steps = 0

    def put(self, layer, key, param):
        self.steps += 1
        if self.steps // 4 % 2:
            layer.params[key] = param
        else:
            layer.params[key].copy_(param)


class Averages(Book):
    """A learner's optimizer whose memory is another dict of other tensors at each step."""

    memory = None

    def put(self, layer, key, param):
        layer.params[key].copy_(param)
        self.memory = (self.memory or {}) | {f"{layer.name}.{key}": param.double() / 2}

    def state_dict(self):
        return self.memory or {}

    def load_state(self, state):
        self.memory = dict(state)


def net(*between):
    first, last = (
        Linear(*shape, generator=torch.Generator().manual_seed(0)) for shape in ((2, 3), (3, 1))
    )
    return Sequential(first, *between, Tanh(), last, Logistic())


def transposed():
    model = net()
    model.layers[0].params["W"] = torch.randn(3, 2).T
    return model


def in_one_piece():
    model = net()
    tensors = state(model)
    pieces = torch.cat([tensor.flatten() for tensor in tensors]).split([t.numel() for t in tensors])
    shaped = iter(piece.view(tensor.shape) for piece, tensor in zip(pieces, tensors, strict=True))
    for layer in model.layers:
        layer.params.update({key: next(shaped) for key in layer.params})
    return model


def unfolded():
    """Every second column of a wider tensor."""
    model = net()
    model.layers[0].params["W"] = torch.randn(2, 6)[:, ::2]
    return model


MODELS = {
    "plain": net,
    "buffers": lambda: net(BatchNorm(3)),
    "a buffer of float64": lambda: net(Shift()),
    "a transposed param": transposed,
    "a param with gaps": unfolded,
    "views of one tensor": in_one_piece,
}
OURS = (BatchGD, Momentum, Adagrad, RMSprop, Adam)
LEARNERS = (Book, NewParams, NewDicts, NewStorage, NowAndThen, Averages)
OPTIMIZERS = {rule.__name__: partial(rule, 0.1) for rule in OURS}
OPTIMIZERS |= {rule.__name__: rule for rule in LEARNERS}
models = pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
optimizers = pytest.mark.parametrize("rule", OPTIMIZERS.values(), ids=OPTIMIZERS)


class Training:
    def __init__(self, make, rule):
        self.model = make()
        self.optimizer = rule(self.model)
        self.loss_fn = BinaryCrossEntropyLoss(self.model)
        self.camera = Camera(self.model, self.optimizer)

    def step(self):
        dtype = self.model.layers[0].params["W"].dtype
        X = torch.randn(7, 2, dtype=dtype)
        y = torch.rand(7, 1).round().to(dtype)
        with torch.no_grad():
            training_step(self.model, self.loss_fn, self.optimizer, X, y)

    def copies(self):
        """Of all weights, and by name of all that the optimizer keeps."""
        boxes = [box for layer in self.model.layers for box in (layer.params, layer.buffers)]
        memory = getattr(self.optimizer, "state_dict", dict)()
        weights = [tensor.clone() for box in boxes for tensor in box.values()]
        return weights, {name: tensor.clone() for name, tensor in memory.items()}


def same(taken, copies):
    weights, memory = copies
    assert taken.memory.keys() == memory.keys()
    ours, wanted = taken.tensors(), [*weights, *(memory[name] for name in taken.memory)]
    assert [(t.dtype, t.shape) for t in ours] == [(t.dtype, t.shape) for t in wanted]
    assert all(map(torch.equal, ours, wanted))


@models
@optimizers
def test_every_snapshot_stays_what_it_was(make, rule):
    """Looked at when it is taken, or only after the training has gone on."""
    training, album = Training(make, rule), []
    for _ in range(5):
        album.append((training.camera.take(), training.copies()))
        training.step()
    same(*album[1])
    training.step()
    for taken, copies in album:
        same(taken, copies)
    assert not torch.equal(album[0][1][0][0], album[1][1][0][0])


@models
@optimizers
def test_what_is_put_back_is_no_part_of_the_snapshot(make, rule):
    training = Training(make, rule)
    training.step()
    taken, copies = training.camera.take(), training.copies()
    training.step()
    set_weights(training.model, taken)
    assert all(map(torch.equal, state(training.model), copies[0]))
    training.step()
    same(taken, copies)


@optimizers
def test_a_model_that_moves_to_another_dtype(rule):
    training = Training(net, rule)
    training.step()
    before, copies = training.camera.take(), training.copies()
    training.model.to(torch.float64)
    training.step()
    same(training.camera.take(), training.copies())
    same(before, copies)
    assert {tensor.dtype for tensor in training.camera.take().weights} == {torch.float64}


def test_a_model_without_weights():
    model = Sequential(Tanh(), Logistic())
    camera = Camera(model, BatchGD(0.1, model))
    assert camera.take().tensors() == []
