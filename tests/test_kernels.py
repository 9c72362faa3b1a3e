"""How many kernels an epoch of a small net runs: each costs more than what it computes."""

from collections import Counter

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from opnet import BatchGD, BinaryCrossEntropyLoss, Model_MLP_L2, accuracy
from opnet.step import evaluation, predictions, training_step
from runners import RunnerV2_1

TRAIN, DEV = 640, 160


class Kernels(TorchDispatchMode):
    """Counts what is computed; a view, or the shape of one, is not."""

    def __init__(self):
        super().__init__()
        self.names = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if not func.is_view:
            self.names[func._schema.name.removeprefix("aten::")] += 1
        return func(*args, **(kwargs or {}))


class Moons:
    """2-5-1 on 640 + 160 rows, behind all doors, as the runner's epochs have them."""

    def __init__(self):
        self.model = Model_MLP_L2(2, 5, 1, generator=torch.Generator().manual_seed(0))
        self.loss_fn = BinaryCrossEntropyLoss(self.model)
        self.optimizer = BatchGD(0.1, self.model)
        self.train, self.dev = (
            [torch.randn(rows, 2), torch.rand(rows, 1).round()] for rows in (TRAIN, DEV)
        )

    def step(self, size=None):
        return training_step(self.model, self.loss_fn, self.optimizer, *self.train, size)

    def judge(self, size=None):
        return evaluation(self.model, self.loss_fn, *self.dev, size)

    def predict(self, size=None):
        return predictions(self.model, self.dev[0], size)


def kernels(work, *arguments):
    """Of the second time: the first one makes what later ones find."""
    with torch.no_grad():
        work(*arguments)
        with Kernels() as counted:
            work(*arguments)
    return counted.names


# x W + b, a logistic, twice: 6. -log of the likelihood from the logits, and its mean: 5.
EVALUATION = {"mm": 2, "add_": 2, "sigmoid": 2} | {"logaddexp": 2, "neg": 1, "lerp": 1, "mean": 1}
# That of 640 rows; (p - y) / n: 2. dL/dW and dL/db of both layers, what one sends back through a
# logistic to the other: 6. p <- p - lr g of 4 params: 4.
STEP = Counter(EVALUATION) + Counter(
    {"sub": 1, "div_": 1} | {"mm": 2, "mul": 1, "sum": 2, "sigmoid_backward": 1} | {"add_": 4}
)


@pytest.mark.parametrize(
    ("work", "wanted", "count"),
    [(Moons.step, STEP, 23), (Moons.judge, EVALUATION, 11), (Moons.predict, None, 6)],
)
def test_at_once(work, wanted, count):
    found = kernels(work, Moons())
    assert found.total() == count
    assert wanted is None or found == wanted


@pytest.mark.parametrize("blocks", [2, 4, 8])
@pytest.mark.parametrize(
    ("work", "rows", "a_block", "once"),
    [
        # The 19 of a step without its update, predictions and loss put in place, gradients summed.
        # Once: the update, 8 pieces of memory, gradients written, losses weighed: 4 + 8 + 1 + 3.
        (Moons.step, TRAIN, 22, 16),
        (Moons.judge, DEV, 13, 9),  # once: 6 pieces of memory, and the losses
        (Moons.predict, DEV, 7, 5),
    ],
)
def test_by_blocks(work, rows, a_block, once, blocks):
    assert kernels(work, Moons(), rows // blocks).total() == a_block * blocks + once


def test_a_short_last_block_has_memory_of_its_own():
    whole, more = (kernels(Moons.step, Moons(), size)["new_empty"] for size in (160, 150))
    assert (whole, more) == (8, 14)


def test_an_epoch_of_a_runner(monkeypatch):
    """A step, an evaluation and one copy of all that has changed; what waits is read together."""
    monkeypatch.setattr("runners.run.SECONDS_BETWEEN_UPDATES", 1e9)

    def train(num_epochs, unread, step="eager"):
        monkeypatch.setattr("runners.run.MOST_EPOCHS_UNREAD", unread)
        m = Moons()
        runner = RunnerV2_1(m.model, m.optimizer, accuracy, m.loss_fn)
        with Kernels() as counted:
            runner.train(
                m.train, m.dev, num_epochs=num_epochs, log_epochs=0, keep="last", step=step
            )
        return counted.names.total()

    assert train(40, 20) - train(20, 10) == 20 * (23 + 11 + 1)
    a_read = 44  # two columns of losses, two of scores, and whether what is kept is finite
    assert train(40, 10) - train(40, 20) == 2 * a_read
    assert train(40, 20, "captured") - train(20, 10, "captured") == 20 * (23 + 11 + 1)
    replayed = train(40, 10, "captured") - train(40, 20, "captured")
    assert replayed == 2 * (a_read - 4 + 1)  # the four columns stand in a window, which is made
