"""Whatever ends a run, with whatever callbacks and step, the best weights are back."""

from contextlib import nullcontext

import pytest
import torch
from recorder import Recorder, StopAt, histories, weights

from opnet import BatchGD, Linear, MeanSquaredErrorLoss, NonFiniteError, Sequential
from runners import EarlyStopping, RunnerV2_1, run

EPOCHS, AT = 60, 33


class Looker(Recorder):
    """Keeps the weights of every epoch."""

    recordable = True


class RecordableStop(StopAt):
    recordable = True


class Reader:
    """Reads only histories."""

    reads_only_histories = recordable = True

    def on_epoch_end(self, runner, epoch):
        assert {len(history) for history in histories(runner)} == {epoch + 1}


def closeness(predicts, labels):
    return (1 / (1 + (predicts - labels).abs())).mean()


closeness.recordable = True


def rows():
    """y = x_2, soon learnt. In x_1, three times as wide, the error is small, and grows."""
    x_1 = torch.tensor([3.0, -3.0, 3.0, -3.0])
    x_2 = torch.tensor([1.0, 1.0, -1.0, -1.0])
    return [torch.stack([x_1, x_2], dim=1), x_2[:, None]]


def raise_in_epoch(error, monkeypatch):
    """At the end of epoch AT, whose numbers have not been read."""
    usual, calls = run.Run._rate, []

    def raises(self):
        calls.append(1)
        if len(calls) == AT + 1:
            raise error
        return usual(self)

    monkeypatch.setattr(run.Run, "_rate", raises)


ENDS = {  # who ends the run, what is raised in it, what comes out of it, the rate
    "limit": ([], None, None, 0.12),
    "patience": ([lambda: EarlyStopping(5)], None, None, 0.12),
    "stop": ([lambda: RecordableStop(AT)], None, None, 0.12),
    "Ctrl-C": ([], KeyboardInterrupt, KeyboardInterrupt, 0.12),
    "error": ([], RuntimeError, RuntimeError, 0.12),
    "an error of a callback": ([lambda: RecordableStop(AT, OSError())], None, OSError, 0.12),
    "nan": ([], None, NonFiniteError, 0.2),
}
OTHERS = {"nobody": [], "a looker": [Looker], "a reader": [Reader], "both": [Reader, Looker]}


def trained(lr, callbacks, ends_with=None, **how):
    """The runner, after a run that ends with the error."""
    model = Sequential(Linear(2, 1, "fc1"))
    model.layers[0].params["W"].copy_(torch.tensor([[1e-4], [0.0]]))  # b is 0 at the start
    runner = RunnerV2_1(model, BatchGD(lr, model), closeness, MeanSquaredErrorLoss(model))
    how |= {"num_epochs": EPOCHS, "log_epochs": 0, "keep": "best_loss", "callbacks": callbacks}
    with pytest.raises(ends_with) if ends_with else nullcontext():
        runner.train(rows(), rows(), **how)
    return runner


@pytest.mark.parametrize("step", ["eager", "captured"])
@pytest.mark.parametrize("others", OTHERS.values(), ids=OTHERS)
@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_the_best_weights_are_back(end, others, step, tmp_path, monkeypatch):
    enders, error, comes_out, lr = end
    looker = Looker()
    reference = trained(lr, [looker], ends_with=NonFiniteError if lr == 0.2 else None)
    if error:
        raise_in_epoch(error, monkeypatch)
    callbacks = [made() for made in (*others, *enders)]
    runner = trained(lr, callbacks, comes_out, step=step, save_dir=tmp_path)
    best = reference.dev_loss.index(min(reference.dev_loss))
    assert 0 < best < len(runner.dev_loss) - 1
    assert runner.kept_epoch == best
    assert all(map(torch.equal, weights(runner), looker.weights[best]))
    runner.load_model(tmp_path)
    assert all(map(torch.equal, weights(runner), looker.weights[best]))
    assert histories(runner) == [
        history[: len(runner.dev_loss)] for history in histories(reference)
    ]
