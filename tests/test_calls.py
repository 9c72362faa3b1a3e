"""When callbacks are called, and that nothing of a run depends on it."""

import math
from types import SimpleNamespace

import pytest
import torch
from recorder import Recorder, StopAt, histories, weights

from opnet import (
    Adam,
    BatchGD,
    BinaryCrossEntropyLoss,
    Dropout,
    Linear,
    Logistic,
    Model_MLP_L2,
    Momentum,
    Sequential,
    accuracy,
)
from opnet.parallel import Ranks
from runners import EarlyStopping, RunnerV2_1, run
from runners.calls import Calls

STEPS = ("eager", "captured")


class Every:
    """Keeps when it was called, how long the histories were, and the weights."""

    recordable = True

    def __init__(self, every):
        self.called_every, self.calls, self.weights = every, [], []

    def on_epoch_end(self, runner, epoch):
        assert {len(history) for history in histories(runner)} == {epoch + 1}
        self.calls.append(epoch)
        self.weights.append(weights(runner))


class Stopping(EarlyStopping):
    """Does not say that it reads only histories: it is called between two epochs."""

    recordable = True


class RecordableRecorder(Recorder):
    recordable = True


class RecordableStop(StopAt):
    recordable = True


@pytest.fixture(autouse=True)
def _however_slow_the_machine(monkeypatch):
    monkeypatch.setattr(run, "SECONDS_BETWEEN_UPDATES", math.inf)


@pytest.fixture
def make(moons):
    def made(rule=BatchGD, lr=20.0, **how):
        model = Model_MLP_L2(2, 5, 1, generator=torch.Generator().manual_seed(3))
        runner = RunnerV2_1(model, rule(lr, model), accuracy, BinaryCrossEntropyLoss(model))
        runner.train(*moons[:2], log_epochs=0, **how)
        return runner

    return made


def same(one, other):
    return len(one) == len(other) and all(map(torch.equal, one, other))


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize(
    ("every", "epochs", "calls"),
    [
        (1, 12, list(range(12))),
        (5, 20, [4, 9, 14, 19]),
        (5, 22, [4, 9, 14, 19, 21]),
        (64, 150, [63, 127, 149]),
        (999, 20, [19]),
    ],
)
def test_called_every_k_epochs_and_after_the_last(make, step, every, epochs, calls):
    all_of_them, some = RecordableRecorder(), Every(every)
    reference = make(num_epochs=epochs, callbacks=[all_of_them], step=step)
    runner = make(num_epochs=epochs, callbacks=[some], step=step)
    assert some.calls == calls
    assert all(map(same, some.weights, (all_of_them.weights[epoch] for epoch in calls)))
    assert histories(runner) == histories(reference)


@pytest.mark.parametrize("step", STEPS)
def test_who_is_not_due_is_called_after_the_epoch_that_is_the_last(make, step):
    some = Every(7)
    make(num_epochs=20, callbacks=[some, RecordableStop(9)], step=step)
    assert some.calls == [6, 9]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("keep", ["best_loss", "last"])
@pytest.mark.parametrize(("rule", "lr"), [(BatchGD, 20.0), (Momentum, 9.0), (Adam, 0.5)])
@pytest.mark.parametrize("patience", [1, 5, 40])
def test_patience_read_late_ends_as_if_asked_after_each_epoch(make, step, keep, rule, lr, patience):
    ends = []
    for kind in (Stopping, EarlyStopping):
        stopping, some = kind(patience), Every(64)
        how = {"num_epochs": 300, "keep": keep, "step": step, "callbacks": [some, stopping]}
        runner = make(rule, lr, **how)
        assert stopping.stopped_epoch == len(runner.dev_loss) - 1 == some.calls[-1]
        ends.append((runner, some))
    (asked, saw), (read, seen) = ends
    assert histories(asked) == histories(read)
    assert asked.kept_epoch == read.kept_epoch
    assert same(weights(asked), weights(read))
    assert seen.calls == saw.calls
    assert all(map(same, seen.weights, saw.weights))
    memory, expected = (one.optimizer.state_dict() for one in (read, asked))
    assert memory.keys() == expected.keys()
    assert all(torch.equal(*map(torch.as_tensor, (memory[k], expected[k]))) for k in memory)


def test_who_reads_only_histories_is_not_waited_for(make):
    class Reads(Every):
        reads_only_histories = True

    reads = Reads(1)
    make(num_epochs=50, callbacks=[reads])
    assert reads.calls == list(range(50))
    assert same(reads.weights[0], reads.weights[-1])


@pytest.mark.parametrize("generator", [None, torch.Generator()], ids=["global", "own"])
def test_a_dropout_has_drawn_no_more_than_the_epochs_that_count(moons, generator):
    ends = []
    for kind in (Stopping, EarlyStopping):
        for draws in (torch.default_generator, generator or torch.default_generator):
            draws.manual_seed(0)
        model = Sequential(
            Linear(2, 8), Dropout(0.5, generator=generator), Linear(8, 1), Logistic()
        )
        runner = RunnerV2_1(model, BatchGD(1.0, model), accuracy, BinaryCrossEntropyLoss(model))
        stopping = kind(3)
        runner.train(*moons[:2], num_epochs=300, log_epochs=0, callbacks=[stopping])
        assert stopping.stopped_epoch is not None
        ends.append((generator or torch.default_generator).get_state().tolist())
    assert ends[0] == ends[1]


@pytest.mark.parametrize("where", ["batches", "schedule", "save_every"])
def test_who_reads_is_asked_after_each_epoch_where_more_goes_on_than_weights(make, where, tmp_path):
    generator = torch.Generator().manual_seed(0)
    how = {
        "batches": {"batch_size": 16, "generator": generator},
        "schedule": {"schedule": lambda epoch: 20.0 / (1 + epoch)},
        "save_every": {"save_every": 100, "save_dir": tmp_path},
    }[where]
    ends = []
    for kind in (Stopping, EarlyStopping):
        generator.manual_seed(0)
        stopping = kind(3)
        how |= {"save_dir": tmp_path / kind.__name__} if "save_dir" in how else {}
        runner = make(num_epochs=300, callbacks=[stopping], **how)
        ends.append((stopping.stopped_epoch, runner.optimizer.lr, generator.get_state().tolist()))
        assert stopping.stopped_epoch is not None
    assert ends[0] == ends[1]


def test_an_error_of_who_reads_ends_the_run_at_its_epoch(make):
    class Fails(RecordableStop):
        reads_only_histories = True

        def on_train_end(self, runner):
            self.epochs = len(runner.dev_loss)

    some, fails = Every(30), Fails(9, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        make(num_epochs=99, callbacks=[some, fails])
    assert (some.calls, fails.epochs) == ([], 10)


@pytest.mark.parametrize(("every", "error"), [(0, ValueError), (1.5, TypeError), ("3", TypeError)])
def test_how_often_is_a_whole_number(make, every, error):
    with pytest.raises(error, match="train: callback 0: called_every is "):
        make(num_epochs=9, callbacks=[Every(every)])


def test_one_that_only_reads_can_be_recorded_with(make):
    class Reads:
        reads_only_histories = True

        def on_epoch_end(self, runner, epoch):
            pass

    assert len(make(num_epochs=30, callbacks=[Reads()], step="captured").dev_loss) == 30


def test_all_come_to_their_end_also_after_one_that_fails(make):
    ended = []

    class Ends:
        def __init__(self, name):
            self.name = name

        def on_train_end(self, runner):
            ended.append(self.name)
            if self.name != "c":
                raise ValueError(self.name)

    callbacks = [Ends(name) for name in "abc"]
    with pytest.raises(ValueError, match=r"^a\nValueError: b$"):  # with its note
        make(num_epochs=2, callbacks=callbacks)
    assert ended == ["a", "b", "c"]


class Reading(EarlyStopping):
    reads_only_histories = True


def test_on_several_ranks_only_who_is_known_reads_many_epochs_together():
    known, learners = EarlyStopping(1), Reading(1)
    for count, readers in ((1, [known, learners]), (2, [known])):
        runner = SimpleNamespace(ranks=Ranks(0, count), stop=False)
        calls = Calls(runner, [known, learners], True)
        assert (calls.readers, calls.lookers) == (readers, [learners] * (count - 1))
