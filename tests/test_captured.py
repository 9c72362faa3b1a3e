"""A recorded epoch is the eager one, to the last bit on a CPU; tests/test_cuda.py for a GPU."""

from functools import partial
from typing import ClassVar

import pytest
import torch
from recorder import StopAt, histories, weights

from opnet import (
    Adagrad,
    Adam,
    BatchGD,
    BatchNorm,
    BinaryCrossEntropyLoss,
    Cosine,
    CrossEntropyLoss,
    Dropout,
    HingeLoss,
    Linear,
    Logistic,
    LogSoftmax,
    MeanSquaredErrorLoss,
    Model_MLP_L2,
    Momentum,
    NonFiniteError,
    ReduceOnPlateau,
    ReLU,
    RMSprop,
    Sequential,
    Softmax,
    accuracy,
    captured,
)
from opnet.op import Op
from opnet.tape import Tape
from runners import EarlyStopping, RunnerV2_1, run
from runners.replays import Replays, plan
from runners.snapshots import Camera

EPOCHS, WINDOW = 25, 7


class Watched(Tape):
    """A tape that counts what becomes of it."""

    made: ClassVar[list["Watched"]] = []

    def __init__(self, device, generators):
        super().__init__(device, generators)
        self.warmed, self.replayed = 0, 0
        self.made.append(self)

    def warm_up(self, rule):
        self.warmed += 1
        return super().warm_up(rule)

    def record(self, rule):
        replay, left = super().record(rule)

        def counted():
            self.replayed += 1
            return replay()

        return counted, left


@pytest.fixture
def taped(monkeypatch):
    """Recordings are watched, K is 7; the list of the recorders that were made."""
    monkeypatch.setitem(captured.RECORDERS, "cpu", Watched)
    monkeypatch.setattr(run, "MOST_EPOCHS_UNREAD", WINDOW)
    monkeypatch.setattr(run, "SECONDS_BETWEEN_UPDATES", 1e9)
    monkeypatch.setattr(Watched, "made", [])
    return Watched.made


def seeded():
    return torch.Generator().manual_seed(0)


def plain(**options):
    return Model_MLP_L2(2, 5, 1, generator=seeded(), **options)


def deep(*heads, outputs=1):
    ops = [BatchNorm(6), ReLU(), Dropout(0.3, generator=seeded())]
    return Sequential(
        Linear(2, 6, "fc1", generator=seeded()),
        *ops,
        Linear(6, outputs, "fc2", generator=seeded()),
        *heads,
    )


def runner_of(model, rule=BatchGD, loss=BinaryCrossEntropyLoss, metric=accuracy, lr=1.0, **options):
    return RunnerV2_1(model, rule(lr, model, **options), metric, loss(model))


CASES = {
    "BatchGD": lambda: runner_of(plain()),
    "float64": lambda: runner_of(plain(dtype=torch.float64)),
    "Momentum, clipped, with decay": lambda: runner_of(
        plain(), Momentum, nesterov=True, clip_norm=0.1, clip_value=0.5, weight_decay=0.01
    ),
    "Adagrad": lambda: runner_of(plain(), Adagrad, lr=0.1),
    "RMSprop": lambda: runner_of(plain(), RMSprop, lr=0.05),
    "Adam": lambda: runner_of(plain(), Adam, lr=0.1),
    "ops that draw and that count": lambda: runner_of(deep(Logistic()), Momentum, lr=0.3),
    "the same with Adam": lambda: runner_of(deep(Logistic()), Adam, lr=0.1),
    "Softmax": lambda: runner_of(deep(Softmax(), outputs=2), loss=CrossEntropyLoss),
    "LogSoftmax": lambda: runner_of(deep(LogSoftmax(), outputs=2), loss=CrossEntropyLoss),
    "hinge, a partial metric": lambda: runner_of(
        deep(), loss=HingeLoss, metric=partial(accuracy, threshold=0)
    ),
}


def sets_for(runner, moons):
    dtype = runner.model.layers[0].params["W"].dtype
    classes = isinstance(runner.loss_fn, CrossEntropyLoss)
    return [[X.to(dtype), y.long().squeeze(-1) if classes else y] for X, y in moons[:2]]


def training_of(runner, moons):
    parts = runner.model, runner.optimizer, runner.metric, runner.loss_fn
    return captured.Training(*parts, *moons[:2])


def trained(make, moons, step, num_epochs=EPOCHS, **options):
    torch.manual_seed(1)  # a Dropout may draw from the global generator
    runner = make()
    sets = sets_for(runner, moons)
    runner.train(*sets, num_epochs=num_epochs, log_epochs=0, step=step, **options)
    return runner


def same(ours, expected):
    assert histories(ours) == histories(expected)
    assert ours.kept_epoch == expected.kept_epoch
    assert all(map(torch.equal, weights(ours), weights(expected)))
    states = [runner.optimizer.state_dict() for runner in (ours, expected)]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


# --- the trajectory


@pytest.mark.parametrize("keep", ["best_score", "best_loss", "last"])
@pytest.mark.parametrize("name", CASES)
def test_the_trajectory_is_the_eager_one(name, keep, moons, taped):
    expected = trained(CASES[name], moons, "eager", keep=keep)
    assert not taped
    ours = trained(CASES[name], moons, "captured", keep=keep)
    same(ours, expected)
    (tape,) = taped
    steady = not name.endswith("Adam")
    parts = 1 if steady else 2  # what counts in Python stands between two recordings
    assert tape.warmed == parts * Tape.warm_up_epochs
    assert tape.replayed == parts * (EPOCHS - Tape.warm_up_epochs - 1)


@pytest.mark.parametrize("num_epochs", [1, 3, 4, 7, 8])
def test_however_short_the_run_is(num_epochs, moons, taped):
    make = CASES["BatchGD"]
    same(*(trained(make, moons, step, num_epochs) for step in ("captured", "eager")))


@pytest.mark.parametrize("name", ["BatchGD", "Adam", "hinge, a partial metric"])
@pytest.mark.parametrize("scored", ["later", "by blocks"])
def test_blocks_of_rows_are_recorded_too(name, scored, moons, taped, monkeypatch):
    def make():
        runner = CASES[name]()
        layers = runner.model.layers
        runner.model.layers = [op for op in layers if not isinstance(op, BatchNorm)]
        return runner

    if scored == "by blocks":
        monkeypatch.setattr(run, "MOST_UNREAD", 100)
    ours = trained(make, moons, "captured", block_size=16)
    same(ours, trained(make, moons, "eager", block_size=16))
    assert taped[0].replayed


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("batch_size", [20, 25])  # 60 rows: of one size, and a shorter last one
def test_mini_batches_are_recorded_by_their_size(name, batch_size, moons, taped):
    how = {"batch_size": batch_size}
    runs = []
    for step in ("captured", "eager"):
        generator = torch.Generator().manual_seed(3)
        runs.append(trained(CASES[name], moons, step, generator=generator, **how))
    same(*runs)
    (tape,) = taped
    sizes = 1 if batch_size == 20 else 2
    assert tape.warmed == sizes * Tape.warm_up_epochs
    assert tape.replayed == 3 * EPOCHS - sizes * (Tape.warm_up_epochs + 1)


@pytest.mark.parametrize("batch_size", [None, 16])
@pytest.mark.parametrize("name", ["BatchGD", "Adam"])
def test_what_acts_after_every_epoch(name, batch_size, moons, taped):
    """Early stopping, and a schedule that looks at the dev loss, act alike."""
    runs = []
    for step in ("captured", "eager"):
        acts = {"schedule": ReduceOnPlateau(0.5, patience=1), "callbacks": [EarlyStopping(5)]}
        acts["generator"] = torch.Generator().manual_seed(3)
        runs.append(trained(CASES[name], moons, step, 60, batch_size=batch_size, **acts))
    same(*runs)
    assert taped[0].replayed


def test_what_makes_much_of_its_own_goes_on_as_usual(moons, taped, monkeypatch):
    monkeypatch.setattr("opnet.tape.MOST_HELD", 1000)
    ours = trained(CASES["Adam"], moons, "captured")
    same(ours, trained(CASES["Adam"], moons, "eager"))
    (tape,) = taped
    assert tape.calls == []


@pytest.mark.parametrize("name", ["BatchGD", "Adam"])
def test_a_rate_that_changes(name, moons, taped):
    schedule = Cosine(1.0, EPOCHS)
    runs = [trained(CASES[name], moons, step, schedule=schedule) for step in ("captured", "eager")]
    same(*runs)


def test_a_second_train_goes_on(moons, taped):
    runs = []
    for step in ("captured", "eager"):
        runner = trained(CASES["Adam"], moons, step)
        runner.optimizer.lr = 0.01
        runner.train(*moons[:2], num_epochs=EPOCHS, log_epochs=0, step=step)
        runs.append(runner)
    same(*runs)


def test_a_run_goes_on_from_what_was_saved(moons, taped, tmp_path):
    make, kept = CASES["the same with Adam"], {"save_dir": tmp_path, "save_every": 4}
    trained(make, moons, "captured", 10, **kept)
    ours = trained(make, moons, "captured", resume=True, **kept)
    same(ours, trained(make, moons, "eager"))


# --- the round trips


def test_k_epochs_are_read_together(moons, taped, monkeypatch):
    read, usual = [], run.Run.read
    monkeypatch.setattr(run.Run, "read", lambda self: (read.append(len(self.unread)), usual(self)))
    trained(CASES["BatchGD"], moons, "captured")
    assert read == [7, 7, 7, 4]


def test_a_recorded_epoch_calls_no_rule(moons, taped):
    calls = []

    class Counted(Logistic):
        recordable = True

        def forward(self, inputs):
            calls.append(self.training)
            return super().forward(inputs)

    def make():
        return runner_of(Sequential(Linear(2, 1, "fc1", generator=seeded()), Counted()))

    ours = trained(make, moons, "captured")
    assert calls == [False] * 2 + [True, False] * (Tape.warm_up_epochs + 1)  # 2 at the doors
    same(ours, trained(make, moons, "eager"))


# --- how a run ends


def test_what_is_not_finite_ends_it_as_an_eager_one(moons, taped):
    def make():
        model = Sequential(Linear(2, 1, "fc1", generator=seeded()), Linear(1, 1, "fc2"))
        return runner_of(model, loss=MeanSquaredErrorLoss, lr=30.0)

    errors, runners = [], []
    for step in ("captured", "eager"):
        torch.manual_seed(1)
        runners.append(runner := make())
        with pytest.raises(NonFiniteError, match="first at the output of") as caught:
            runner.train(*moons[:2], num_epochs=60, log_epochs=0, step=step)
        errors.append(str(caught.value))
    assert errors[0] == errors[1]
    same(*runners)


@pytest.mark.parametrize("epoch", [2, 3, 12])
def test_an_interrupt_between_two_epochs(epoch, moons, taped):
    def rate(now):
        if now == epoch:
            raise KeyboardInterrupt
        return 0.5

    runners = []
    for step in ("captured", "eager"):
        runners.append(runner := CASES["Adam"]())
        with pytest.raises(KeyboardInterrupt):
            runner.train(*moons[:2], num_epochs=EPOCHS, log_epochs=0, step=step, schedule=rate)
        assert len(runner.train_loss) == epoch
    same(*runners)


@pytest.mark.parametrize("kind", ["params", "grads", "buffers"])
@pytest.mark.parametrize("epoch", [1, 2, 9, 14])
@pytest.mark.parametrize("whole", [False, True], ids=["a tensor", "the dict"])
@pytest.mark.parametrize("batch_size", [None, 30])
def test_after_a_tensor_was_replaced_it_is_eager(kind, epoch, whole, batch_size, moons, taped):
    replayed, runners = [], []
    for step in ("captured", "eager"):
        runners.append(runner := CASES["the same with Adam"]())
        op = runner.model.layers[{"params": 0, "grads": 4, "buffers": 1}[kind]]
        box = getattr(op, kind)

        def rate(now, op=op, box=box):
            if now == epoch:
                box.update({key: tensor.clone() for key, tensor in box.items()})
                if whole:
                    setattr(op, kind, dict(box))
                replayed.append(taped[0].replayed)
            return 0.1

        how = {"batch_size": batch_size, "generator": seeded(), "schedule": rate}
        runner.train(*moons[:2], num_epochs=EPOCHS, log_epochs=0, step=step, **how)
    same(*runners)
    if epoch > Tape.warm_up_epochs or kind != "grads":  # fresh gradients in the warm-up do no harm
        assert taped[0].replayed == replayed[0]


# --- which step


class Squared(Op):
    """A learner's op, which does not say whether it can be recorded."""

    def forward(self, inputs):
        self.inputs = inputs
        return inputs**2

    def backward_inputs(self, grads):
        return 2 * self.inputs * grads


class Promised(Squared):
    """The same, and it says so."""

    recordable = True


class Unsaid(Promised):
    """What the class above said holds for that one only."""


class Bare:
    """The book's optimizer: it binds new params."""

    def __init__(self, lr, model):
        self.lr, self.model = lr, model

    def step(self):
        for layer in self.model.layers:
            for key in layer.params:
                layer.params[key] = layer.params[key] - self.lr * layer.grads[key]


class Own(BatchGD):
    """A learner's optimizer, made from opnet's."""


class Wide(Momentum):
    """A learner's optimizer with a memory of another dtype."""

    recordable = True

    def remember(self, param):
        return {"velocity": torch.zeros_like(param, dtype=torch.float64)}


def squared(op):
    return Sequential(Linear(2, 1, "fc1", generator=seeded()), op, Logistic())


def overridden():
    model = plain()
    model.layers[1].forward = model.layers[1].forward
    return runner_of(model)


def half(predicts, labels):
    return 0.5


WHOLE = CASES["BatchGD"]
UNFIT = [  # a runner, arguments of train, what is said
    (lambda: runner_of(squared(Squared())), {}, "Squared is neither opnet's own nor says"),
    (lambda: runner_of(squared(Unsaid())), {}, "Unsaid is neither"),
    (overridden, {}, "Logistic is neither"),
    (lambda: runner_of(plain(), Bare), {}, "Bare does not keep its state as opnet.Optimizer does"),
    (lambda: runner_of(plain(), Own), {}, "Own is neither"),
    (lambda: runner_of(plain(), Wide), {}, "weights and memory are torch.float32, torch.float64"),
    (lambda: runner_of(plain(), metric=half), {}, "half is neither"),
    (WHOLE, {"callbacks": [StopAt(3)]}, "StopAt comes after every epoch, says no recordable"),
]


@pytest.mark.parametrize(("make", "options", "said"), UNFIT, ids=[row[2] for row in UNFIT])
def test_what_cannot_be_recorded_is_refused_or_eager(make, options, said, moons, taped):
    runner = make()
    before = weights(runner)
    with pytest.raises(ValueError, match=rf"^captured: {said}") as caught:
        runner.train(*moons[:2], num_epochs=5, log_epochs=0, step="captured", **options)
    assert "\n" not in str(caught.value)
    assert all(map(torch.equal, weights(runner), before))
    runner.train(*moons[:2], num_epochs=5, log_epochs=0, **options)
    assert not taped
    assert runner.train_loss


class Kept:
    """Rows that can be had by slices only."""

    def __init__(self, rows):
        self.rows = rows

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, rows):
        return self.rows[rows]


@pytest.mark.parametrize("block_size", [7, 20, 1000])
def test_rows_from_elsewhere_are_recorded_by_blocks(block_size, moons, taped):
    (X, y), dev = moons[0], moons[1]
    runs = []
    for step in ("captured", "eager"):
        runs.append(runner := WHOLE())
        how = {"num_epochs": EPOCHS, "log_epochs": 0, "step": step, "block_size": block_size}
        runner.train([Kept(X), y], dev, **how)
    same(*runs)
    assert taped[0].replayed


@pytest.mark.parametrize("rows", [60, 61])
def test_a_batch_of_all_rows_is_recorded(rows, moons, taped):
    same(trained(WHOLE, moons, "captured", batch_size=rows), trained(WHOLE, moons, "eager"))


def test_auto_records_what_can_be(moons, taped):
    same(*(trained(CASES["Adam"], moons, step) for step in ("auto", "eager")))
    assert len(taped) == 1
    same(*(trained(lambda: runner_of(squared(Promised())), moons, s) for s in ("auto", "eager")))
    assert len(taped) == 2


def test_where_it_can_be_recorded(job, moons):
    runner = job()
    runner.model.to("meta")
    assert plan("auto", runner, moons[:2], [], 100).what is None
    with pytest.raises(ValueError, match=r"^captured: the model is on meta, wanted cuda or cpu$"):
        plan("captured", runner, moons[:2], [], 100)


@pytest.mark.parametrize(
    ("num_epochs", "how", "recorded"),
    [(9, {}, 0), (10, {}, 1), (3, {"batch_size": 20}, 0), (4, {"batch_size": 20}, 1)],
)
def test_what_is_soon_over_is_not_worth_a_recording(num_epochs, how, recorded, moons, taped):
    trained(WHOLE, moons, "auto", num_epochs, **how)
    assert len(taped) == recorded


def test_another_step_is_refused(job, moons):
    with pytest.raises(ValueError, match="step is 'fast', wanted one of eager, captured, auto"):
        job().train(*moons[:2], num_epochs=5, log_epochs=0, step="fast")


class Reads(Squared):
    """It breaks its promise."""

    recordable = True

    def forward(self, inputs):
        return super().forward(inputs) * float(inputs.sum() < torch.inf)


def read_score(predicts, labels):
    return ((predicts >= 0.5) == (labels >= 0.5)).float().mean().item()


read_score.recordable = True


@pytest.mark.parametrize("how", [{}, {"block_size": 16}, {"batch_size": 16}], ids=str)
@pytest.mark.parametrize("who", ["op", "metric"])
def test_what_reads_back_in_spite_of_its_promise_goes_on_as_usual(who, how, moons, taped):
    def make():
        return runner_of(squared(Reads())) if who == "op" else runner_of(plain(), metric=read_score)

    runs = []
    for step in ("auto", "eager"):
        runs.append(trained(make, moons, step, generator=seeded(), **how))
    same(*runs)


@pytest.mark.parametrize("scored_later", [False, True])
def test_what_epochs_leave_is_theirs_when_the_next_ones_have_run(scored_later, moons, taped):
    runner = CASES["Adam"]()
    camera = Camera(runner.model, runner.optimizer)
    replays = Replays(training_of(runner, moons), camera, 4, True, scored_later)
    eager = CASES["Adam"]()
    eager.train(*moons[:2], num_epochs=12, log_epochs=0, keep="last")
    taken, expected, losses, scores = [], [], [], []
    for _ in range(3):
        for _ in range(4):
            taken.append(replays.epoch()[0])
            expected.append(camera.take())
        columns = replays.columns(1, 3)  # the last ones
        losses += columns[0].flatten().tolist()
        scores.append(columns[2])
        replays.rewind()
    for ours, as_it_was in zip(taken, expected, strict=True):
        assert all(map(torch.equal, ours.tensors(), as_it_was.tensors()))
    assert losses == [loss for i, loss in enumerate(eager.train_loss) if i % 4]
    shape = moons[0][1].shape if scored_later else (1,)
    assert all(score.shape == (3, *shape) for score in scores)


# --- who changes what


def a_rule_put_on_an_op(runner):
    op, usual = runner.model.layers[0], runner.model.layers[0].backward_params
    counted = iter(range(10**6))
    op.backward_params = lambda grads: usual(grads * (1 + next(counted) % 3))


def a_walk_put_on_the_optimizer(runner):
    usual, counted = runner.optimizer.walk, iter(range(10**6))
    runner.optimizer.walk = lambda: [(p, g * (next(counted) % 3), m) for p, g, m in usual()]


@pytest.mark.parametrize("put", [a_rule_put_on_an_op, a_walk_put_on_the_optimizer])
@pytest.mark.parametrize("how", [{}, {"block_size": 16}, {"batch_size": 16}], ids=str)
def test_a_rule_put_on_an_instance_is_not_frozen(put, how, moons, taped):
    def make():
        runner = CASES["BatchGD"]()
        put(runner)
        return runner

    same(*(trained(make, moons, step, generator=seeded(), **how) for step in ("auto", "eager")))


class Exchanges:
    """Puts other parts into the runner before it begins."""

    def __init__(self, part):
        self.part = part

    def on_train_begin(self, runner):
        if self.part == "optimizer":
            runner.optimizer = Momentum(0.7, runner.model)
        elif self.part == "metric":
            runner.metric = read_score
        else:
            runner.model.layers.insert(1, Squared())


@pytest.mark.parametrize("part", ["optimizer", "metric", "model"])
def test_what_is_exchanged_before_the_first_epoch_is_what_trains(part, moons, taped):
    how = {"callbacks": [Exchanges(part)]}
    same(*(trained(CASES["BatchGD"], moons, step, **how) for step in ("auto", "eager")))


def test_rows_of_the_dev_set_may_come_from_elsewhere(moons, taped):
    train, (X, y) = moons[:2]
    runs = []
    for step in ("captured", "eager"):
        runs.append(runner := WHOLE())
        how = {"num_epochs": EPOCHS, "log_epochs": 0, "step": step, "block_size": 7}
        runner.train(train, [Kept(X), y], **how)
    same(*runs)


@pytest.mark.parametrize("at", [1, 2, 20])
def test_an_interrupt_before_an_epoch_is_noted(at, moons, taped, monkeypatch):
    """It leaves the weights of that epoch and not its numbers, which are nobody else's then."""
    usual, calls = Camera.developed, []

    def interrupted(self, joined):
        calls.append(1)
        if len(calls) == at + 1:  # the first one is of the start
            raise KeyboardInterrupt
        return usual(self, joined)

    monkeypatch.setattr(Camera, "developed", interrupted)
    runner = WHOLE()
    with pytest.raises(KeyboardInterrupt):
        runner.train(*moons[:2], num_epochs=EPOCHS, log_epochs=0, step="captured")
    monkeypatch.undo()
    whole = trained(WHOLE, moons, "eager")
    done = len(runner.train_loss)
    assert done == at - 1
    assert [column[:done] for column in histories(whole)] == histories(runner)
    if done:
        _, loss = runner.evaluate(moons[1])
        assert loss == pytest.approx(runner.dev_loss[runner.kept_epoch], abs=1e-6)


def test_inference_mode_is_not_recorded(moons, taped):
    with torch.inference_mode():
        same(*(trained(CASES["BatchGD"], moons, step) for step in ("auto", "eager")))
    assert not taped


def test_a_metric_may_be_any_function(moons, taped):
    make = lambda: runner_of(plain(), metric=torch.dist)  # noqa: E731
    same(*(trained(make, moons, step) for step in ("auto", "eager")))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_a_count_and_a_loss_of_another_dtype_keep_their_values(dtype, moons, taped):
    def right(predicts, labels):
        return ((predicts >= 0.5) == (labels >= 0.5)).sum() + 1500

    right.recordable = True
    make = lambda: runner_of(plain(dtype=dtype), metric=right)  # noqa: E731
    same(*(trained(make, moons, step) for step in ("captured", "eager")))
