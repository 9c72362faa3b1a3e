"""What the runner refuses before anything changes; what evaluate and predict leave alone."""

import math

import pytest
import torch
from recorder import histories, weights

from opnet import (
    BatchGD,
    BinaryCrossEntropyLoss,
    Linear,
    Logistic,
    Model_MLP_L2,
    NonFiniteError,
    Op,
    Sequential,
    accuracy,
)
from opnet.metrics import over_rows, right_rows
from runners import RunnerV2_1


def test_evaluate_and_predict_leave_no_trace(job, moons):
    train, dev, _ = moons
    runner = job()
    runner.loss_fn(runner.model(train[0]), train[1])
    ops = (runner.loss_fn, runner.model, *runner.model.layers)
    held, rng = [dict(vars(op)) for op in ops], torch.get_rng_state()
    runner.evaluate(dev)
    assert torch.equal(runner.predict(dev[0]), runner.predict(dev[0].numpy()))
    for op, before in zip(ops, held, strict=True):
        assert all(vars(op)[key] is value for key, value in before.items())
    assert torch.equal(torch.get_rng_state(), rng)
    assert histories(runner) == [[], [], [], []]
    runner.loss_fn.backward()


def test_evaluate_restores_the_random_state_that_an_op_draws_from(moons):
    class Noise(Op):
        def forward(self, inputs):
            return inputs + torch.randn_like(inputs)

        def backward(self, grads):
            return grads

    model = Sequential(Noise(), Linear(2, 1, "fc1"), Logistic())
    runner = RunnerV2_1(model, BatchGD(0.1, model), accuracy, BinaryCrossEntropyLoss(model))
    rng = torch.get_rng_state()
    runner.evaluate(moons[1])
    assert torch.equal(torch.get_rng_state(), rng)


class InADict(Op):
    def __init__(self):
        self.cache = {}

    def forward(self, inputs):
        self.cache["y"] = torch.tanh(inputs)
        return self.cache["y"].clone()

    def backward(self, grads):
        return grads * (1 - self.cache["y"] ** 2)


class InABuffer(Op):
    def __init__(self):
        self.buffer = torch.empty(60, 5)

    def forward(self, inputs):
        torch.tanh(inputs, out=self.buffer[: len(inputs)])
        return self.buffer[: len(inputs)].clone()

    def backward(self, grads):
        return grads * (1 - self.buffer**2)


class WithAGenerator(Op):
    def __init__(self):
        self.generator = torch.Generator().manual_seed(1)

    def forward(self, inputs):
        self.mask = torch.rand(inputs.shape, generator=self.generator) < 0.5
        return inputs * self.mask

    def backward(self, grads):
        return grads * self.mask


class AsAnAttribute(Op):
    """A model whose `layers` are only those with weights; the activation is an attribute."""

    def __init__(self):
        self.fc1, self.act, self.fc2, self.head = (
            Linear(2, 5, "fc1"),
            InADict(),
            Linear(5, 1, "fc2"),
            Logistic(),
        )
        self.layers = [self.fc1, self.fc2]

    def forward(self, X):
        return self.head(self.fc2(self.act(self.fc1(X))))

    def backward(self, grads):
        return self.fc1.backward(self.act.backward(self.fc2.backward(self.head.backward(grads))))


@pytest.mark.parametrize(
    "make",
    [
        lambda: Sequential(Linear(2, 5, "fc1"), InADict(), Linear(5, 1, "fc2"), Logistic()),
        lambda: Sequential(Linear(2, 5, "fc1"), InABuffer(), Linear(5, 1, "fc2"), Logistic()),
        lambda: Sequential(Linear(2, 5, "fc1"), WithAGenerator(), Linear(5, 1, "fc2"), Logistic()),
        AsAnAttribute,
    ],
    ids=["a dict", "a buffer", "a generator", "an attribute"],
)
def test_a_prediction_in_between_does_not_change_the_gradient(make, moons):
    (X, y), (X_dev, y_dev), _ = moons
    gradients = []
    for look in (False, True):
        torch.manual_seed(2)
        model = make()
        runner = RunnerV2_1(model, None, accuracy, BinaryCrossEntropyLoss(model))
        runner.loss_fn(model(X), y)
        if look:
            runner.predict(X_dev)
            runner.evaluate([X_dev, y_dev])
        runner.loss_fn.backward()
        gradients.append(model.layers[0].grads["W"].clone())
        runner.loss_fn(model(X), y)
        gradients.append(model(X))
    assert torch.equal(gradients[0], gradients[2])
    assert torch.equal(gradients[1], gradients[3])


def test_numpy_and_lists_are_taken_as_they_are(job, moons):
    train, dev, _ = moons
    runner, reference = job(), job()
    reference.train(train, dev, num_epochs=5, log_epochs=0)
    as_arrays = [train[0].double().numpy(), train[1].numpy().astype(int)]
    read_only = dev[0].numpy()[::-1].copy()[::-1]
    read_only.setflags(write=False)
    runner.train(as_arrays, (read_only, dev[1].tolist()), num_epochs=5, log_epochs=0)
    assert histories(runner) == histories(reference)
    assert runner.predict([[1, 0]]).dtype == torch.float32


def test_a_model_that_holds_nan_is_named_before_it_is_trained(job):
    runner = job()
    runner.model.fc1.params["W"].fill_(torch.nan)
    with pytest.raises(NonFiniteError, match=r"predictions\[0, 0\] is nan"):
        runner.train(ROWS, ROWS, num_epochs=1)


ROWS = [torch.ones(4, 2), torch.ones(4, 1)]
NAN = torch.ones(4, 2)
NAN[2, 1] = torch.nan


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({"num_epochs": -5}, ValueError, "num_epochs is -5"),
        ({"num_epochs": 2.5}, TypeError, "num_epochs is 2.5"),
        ({"num_epochs": "3"}, TypeError, "num_epochs is '3'"),
        ({"log_epochs": -1}, ValueError, "log_epochs is -1"),
        ({"keep": "best"}, ValueError, "keep is 'best', wanted one of best_score"),
        ({"epochs": 3}, TypeError, "unexpected keyword argument 'epochs'"),
        ({"callbacks": [print]}, TypeError, "callback 0 .* has none of on_train_begin"),
        ({"train_set": [*ROWS, 1]}, ValueError, r"train_set is a list, wanted two items: \[X, y\]"),
        (
            {"train_set": [torch.ones(4, 2), torch.ones(3, 1)]},
            ValueError,
            r"train_set: X has shape \[4, 2\], y \[3, 1\]: rows differ",
        ),
        (
            {"dev_set": [torch.ones(0, 2), torch.ones(0, 1)]},
            ValueError,
            r"dev_set: X has shape \[0, 2\], wanted .* N >= 1",
        ),
        ({"train_set": [torch.ones(2), torch.ones(2)]}, ValueError, r"X has shape \[2\]"),
        (
            {"train_set": [NAN, torch.ones(4, 1)]},
            ValueError,
            r"train_set: X\[2, 1\] is nan \(1 of 8 values not finite\)",
        ),
        (
            {"dev_set": [torch.ones(4, 3), torch.ones(4, 1)]},
            ValueError,
            "dev_set: Linear 'fc1': inputs have 3 columns, W wants 2",
        ),
        (
            {"train_set": [torch.ones(4, 2).double(), torch.ones(4, 1)]},
            TypeError,
            "train_set: Linear 'fc1': inputs are torch.float64",
        ),
        (
            {"train_set": [torch.ones(4, 2), 2 * torch.ones(4, 1)]},
            ValueError,
            r"train_set: BinaryCrossEntropyLoss: labels\[0, 0\] is 2 ",
        ),
        (
            {"dev_set": [torch.ones(4, 2), torch.ones(4)]},
            ValueError,
            r"dev_set: .*labels have shape \[4\], predictions \[4, 1\]",
        ),
        ({"train_set": ["ab", "cd"]}, TypeError, "train_set: X is a str"),
    ],
)
def test_bad_arguments_are_named_and_nothing_changes(job, arguments, error, said, tmp_path):
    runner = job()
    before, rng = weights(runner), torch.get_rng_state()
    good = {"train_set": ROWS, "dev_set": ROWS, "num_epochs": 3, "save_dir": tmp_path / "new"}
    with pytest.raises(error, match=said) as caught:
        runner.train(**(good | arguments))
    assert "\n" not in str(caught.value)
    assert all(map(torch.equal, weights(runner), before))
    assert torch.equal(torch.get_rng_state(), rng)
    assert histories(runner) == [[], [], [], []]
    assert not (tmp_path / "new").exists()


def test_parts_made_for_another_model_are_refused(job):
    a, b = job(), job()
    with pytest.raises(ValueError, match="optimizer was made for another model"):
        RunnerV2_1(a.model, b.optimizer, accuracy, a.loss_fn)
    with pytest.raises(ValueError, match="loss_fn was made for another model"):
        RunnerV2_1(a.model, a.optimizer, accuracy, b.loss_fn)
    runner = RunnerV2_1(a.model, None, accuracy, BinaryCrossEntropyLoss())
    runner.evaluate(ROWS)
    with pytest.raises(ValueError, match="optimizer is None"):
        runner.train(ROWS, ROWS, num_epochs=1)
    runner = RunnerV2_1(a.model, a.optimizer, accuracy, BinaryCrossEntropyLoss())
    with pytest.raises(ValueError, match="loss_fn has no model"):
        runner.train(ROWS, ROWS, num_epochs=1)


@pytest.mark.parametrize("returned", [torch.ones(4), "good", None])
def test_a_metric_that_returns_no_number_is_named(job, returned):
    parts = job()
    runner = RunnerV2_1(parts.model, parts.optimizer, lambda p, y: returned, parts.loss_fn)
    with pytest.raises(TypeError, match=r"train_set: metric returned .*, wanted a single number"):
        runner.train(ROWS, ROWS, num_epochs=1)


def test_a_metric_that_is_nan_is_named(job):
    parts = job()
    runner = RunnerV2_1(parts.model, parts.optimizer, lambda p, y: math.nan, parts.loss_fn)
    with pytest.raises(NonFiniteError, match="train score of epoch 0 is nan"):
        runner.train(ROWS, ROWS, num_epochs=1, log_epochs=0)


def test_a_model_of_batched_rows_trains():
    X, y = torch.randn(3, 4, 2), torch.rand(3, 4, 1).round()
    model = Model_MLP_L2(2, 5, 1)
    runner = RunnerV2_1(model, BatchGD(1.0, model), accuracy, BinaryCrossEntropyLoss(model))
    runner.train([X, y], [X, y], num_epochs=5, log_epochs=0)
    assert runner.train_loss[-1] < runner.train_loss[0]


@pytest.mark.parametrize(
    ("of_rows", "came"),
    [
        (lambda p, y: (p - y).abs(), r"float32 \[60, 1\]"),
        (lambda p, y: (p > y).squeeze(-1), r"bool \[60\]"),
        (lambda p, y: (p - y).mean(), r"float32 \[\]"),
        (lambda p, y: 0.5, "0.5"),
    ],
)
def test_a_score_by_rows_that_is_none_is_refused_before_the_first_epoch(of_rows, came, job, moons):
    @over_rows(of_rows)
    def mine(predicts, labels):
        return 0.5

    parts = job()
    runner = RunnerV2_1(parts.model, parts.optimizer, mine, parts.loss_fn)
    with pytest.raises(
        TypeError, match=f"^train_set: metric: of_rows gave {came}, wanted floating"
    ):
        runner.train(*moons[:2], num_epochs=3, log_epochs=0)


@pytest.mark.parametrize("of_rows", [None, 3, "rows"])
def test_only_what_can_be_called_scores_rows(of_rows):
    with pytest.raises(TypeError, match=r"^over_rows: came .*, wanted a function"):
        over_rows(of_rows)


def test_only_what_can_be_marked_is_marked():
    with pytest.raises(TypeError, match=r"^over_rows: .*dist.* cannot be marked, wanted"):
        over_rows(right_rows)(torch.dist)
