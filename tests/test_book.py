"""What a learner wrote in the book's style works unchanged, alone and mixed with opnet's own."""

import pytest
import torch
from book import (
    BookGD,
    BookLogistic,
    BookLoss,
    BookModel,
    EmptyParams,
    NamelessTanh,
    PlainLinear,
    book_accuracy,
)
from witness import close

from opnet import (
    BatchGD,
    BinaryCrossEntropyLoss,
    Linear,
    Logistic,
    Model_MLP_L2,
    Sequential,
    accuracy,
)
from opnet.walk import state
from runners import RunnerV2_1

MODELS = {
    "opnet": lambda: Model_MLP_L2(2, 5, 1),
    "book": lambda: BookModel(2, 5, 1),
    "mixed": lambda: Sequential(
        PlainLinear(2, 5, "a"), NamelessTanh(), Linear(5, 1, "b"), BookLogistic()
    ),
    "mixed, ours last": lambda: Sequential(
        Linear(2, 5, "a"), EmptyParams(), PlainLinear(5, 1, "b"), Logistic()
    ),
}


@pytest.mark.parametrize("metric", [accuracy, book_accuracy])
@pytest.mark.parametrize("loss_class", [BinaryCrossEntropyLoss, BookLoss])
@pytest.mark.parametrize("optimizer_class", [BatchGD, BookGD])
@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS.keys())
def test_every_mixture_trains_and_is_saved(
    make, optimizer_class, loss_class, metric, moons, tmp_path
):
    train, dev, test = moons
    model = make()
    runner = RunnerV2_1(model, optimizer_class(1.0, model), metric, loss_class(model))
    runner.train(train, dev, num_epochs=60, log_epochs=0, save_dir=tmp_path)
    assert runner.train_loss[-1] < runner.train_loss[0]
    before = runner.evaluate(test)
    assert before[0] > 0.7
    for tensor in state(model):
        tensor.zero_()
    runner.load_model(tmp_path)
    assert runner.evaluate(test) == before
    assert sorted(path.name for path in tmp_path.glob("*.pdparams")) in (
        ["fc1.pdparams", "fc2.pdparams"],
        ["a.pdparams", "b.pdparams"],
    )


def test_all_of_them_walk_the_same_trajectory(moons):
    train, dev, _ = moons
    losses = []
    for name in ("opnet", "mixed, ours last"):
        for optimizer_class, loss_class in ((BatchGD, BinaryCrossEntropyLoss), (BookGD, BookLoss)):
            torch.manual_seed(1)
            model = MODELS[name]()
            runner = RunnerV2_1(model, optimizer_class(1.0, model), accuracy, loss_class(model))
            runner.train(train, dev, num_epochs=30, log_epochs=0, keep="last")
            losses.append(torch.tensor(runner.train_loss + runner.dev_loss))
    for other in losses[1:]:
        close(other, losses[0], 1e-5)


def test_evaluate_leaves_no_trace_in_a_learners_ops(moons):
    train, dev, _ = moons
    model = BookModel(2, 5, 1)
    runner = RunnerV2_1(model, BookGD(1.0, model), book_accuracy, BookLoss(model))
    loss_fn = runner.loss_fn
    loss_fn(model(train[0]), train[1])
    held = [dict(vars(op)) for op in (loss_fn, model, *model.layers)]
    runner.evaluate(dev)
    runner.predict(dev[0])
    for op, before in zip((loss_fn, model, *model.layers), held, strict=True):
        assert vars(op).keys() == before.keys()
        assert all(vars(op)[key] is before[key] for key in before)
    loss_fn.backward()
    assert model.fc1.grads["W"].shape == (2, 5)


def test_a_model_class_that_is_only_forward_and_backward(moons):
    class Bare:
        def __init__(self):
            self.layers = [PlainLinear(2, 1, "only"), BookLogistic()]

        def forward(self, X):
            return self.layers[1].forward(self.layers[0].forward(X))

        def backward(self, grads):
            self.layers[0].backward(self.layers[1].backward(grads))

    train, dev, _ = moons
    model = Bare()
    runner = RunnerV2_1(model, BookGD(1.0, model), book_accuracy, BookLoss(model))
    runner.train(train, dev, num_epochs=20, log_epochs=0)
    assert runner.train_loss[-1] < runner.train_loss[0]
    assert runner.predict(dev[0]).shape == (30, 1)


def test_a_subclass_that_overrides_backward_alone_is_not_called_in_halves(moons):
    class Noisy(Linear):
        def backward(self, grads):
            self.called = True
            return super().backward(grads)

    train, dev, _ = moons
    model = Sequential(Noisy(2, 1, "only"), Logistic())
    runner = RunnerV2_1(model, BatchGD(1.0, model), accuracy, BinaryCrossEntropyLoss(model))
    runner.train(train, dev, num_epochs=1, log_epochs=0)
    assert model.layers[0].called
