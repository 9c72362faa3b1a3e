"""Everything runs on a GPU unchanged. Skipped where there is none."""

import pytest
import torch
from witness import close

from opnet import (
    Adagrad,
    Adam,
    BatchGD,
    BinaryCrossEntropyLoss,
    Cosine,
    Dropout,
    Linear,
    Logistic,
    Model_MLP_L2,
    Momentum,
    RMSprop,
    Sequential,
    Tanh,
    accuracy,
    load,
    plots,
)
from opnet.walk import dict_of, every_op, state
from runners import RunnerV2_1

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def runner_on(device, dtype=torch.float64, rule=BatchGD, lr=1.0, **options):
    model = Model_MLP_L2(
        2, 5, 1, generator=torch.Generator().manual_seed(0), device=device, dtype=dtype
    )
    return RunnerV2_1(model, rule(lr, model, **options), accuracy, BinaryCrossEntropyLoss(model))


def test_the_trajectory_is_that_of_the_cpu(moons, tmp_path):
    histories = []
    for device in ("cpu", "cuda"):
        runner = runner_on(device)
        rows = [[X.double().to(device), y.to(device)] for X, y in moons]
        runner.train(rows[0], rows[1], num_epochs=200, log_epochs=0, save_dir=tmp_path / device)
        histories.append(torch.tensor(runner.train_loss + runner.dev_loss))
        assert all(tensor.device.type == device for tensor in state(runner.model))
        for op in every_op(runner.model):
            for tensor in (op.inputs, op.outputs, *dict_of(op, "grads").values()):
                assert tensor.device.type == device
        assert runner.predict(rows[2][0]).device.type == device
        assert runner.evaluate(rows[2])[0] > 0.7
    close(*histories, 1e-9)


def test_what_was_saved_on_the_gpu_loads_on_the_cpu_and_moves_back(moons, tmp_path):
    runner = runner_on("cuda", torch.float32)
    runner.save_model(tmp_path)
    X = moons[2][0]
    expected = runner.predict(X.cuda()).cpu()
    model = load(tmp_path)
    torch.testing.assert_close(model(X), expected)
    params = model.fc1.params
    assert model.to("cuda") is model
    assert model.fc1.params is params
    torch.testing.assert_close(model(X.cuda()).cpu(), expected)


def test_numpy_goes_to_the_models_device(moons):
    runner = runner_on("cuda")
    X, y = (part.numpy() for part in moons[0])
    runner.train([X, y], [X, y], num_epochs=3, log_epochs=0)
    assert runner.predict(X).device.type == "cuda"


def test_rows_on_the_cpu_are_refused_by_name(moons):
    with pytest.raises(ValueError, match="inputs are on cpu, W is on cuda:0"):
        runner_on("cuda", torch.float32).train(moons[0], moons[1], num_epochs=1)


def test_a_boundary_is_drawn(moons):
    runner = runner_on("cuda", torch.float32)
    plots.DecisionBoundary.from_runner(runner, {"train": [part.cuda() for part in moons[0]]})


@pytest.mark.parametrize("rule", [Momentum, Adagrad, RMSprop, Adam])
def test_every_optimizer_walks_as_on_the_cpu_and_its_memory_moves_between_them(
    rule, moons, tmp_path
):
    runners = []
    for device in ("cpu", "cuda"):
        runner = runner_on(device, rule=rule, lr=0.05, clip_norm=0.5, weight_decay=0.01)
        rows = [[X.double().to(device), y.to(device)] for X, y in moons[:2]]
        generator = torch.Generator().manual_seed(0)
        runner.train(
            *rows,
            num_epochs=20,
            log_epochs=0,
            keep="last",
            batch_size=16,
            generator=generator,
            save_dir=tmp_path / device,
        )
        runners.append(runner)
    on_cpu, on_cuda = runners
    close(*(torch.tensor(runner.train_loss + runner.dev_loss) for runner in runners), 1e-9)
    memory = on_cuda.optimizer.state_dict()
    assert {t.device.type for name, t in memory.items() if not name.endswith(".t")} == {"cuda"}
    on_cuda.load_model(tmp_path / "cpu")
    for name, tensor in on_cpu.optimizer.state_dict().items():
        assert torch.equal(on_cuda.optimizer.state_dict()[name].cpu(), tensor)


@pytest.mark.parametrize("rule", [BatchGD, Momentum, Adagrad, RMSprop, Adam])
@pytest.mark.parametrize("schedule", [None, Cosine(0.05, 250)], ids=["one rate", "a schedule"])
def test_a_recorded_epoch_is_the_eager_one(rule, schedule, moons):
    runners = []
    for step in ("eager", "captured"):
        runner = runner_on("cuda", rule=rule, lr=0.05, clip_norm=0.5, weight_decay=0.01)
        rows = [[X.double().cuda(), y.cuda()] for X, y in moons[:2]]
        runner.train(*rows, num_epochs=250, log_epochs=0, schedule=schedule, step=step)
        runners.append(runner)
    close(*(torch.tensor(runner.train_loss + runner.dev_loss) for runner in runners), 1e-6)
    close(*(torch.tensor(runner.train_scores + runner.dev_scores) for runner in runners), 1e-6)
    assert runners[0].kept_epoch == runners[1].kept_epoch
    close(*(state(runner.model) for runner in runners), 1e-6)


@pytest.mark.parametrize("seed", [None, 0], ids=["torch's generator", "its own generator"])
def test_what_is_recorded_draws_as_the_eager_epoch_does(seed, moons):
    losses = []
    for step in ("eager", "captured"):
        torch.cuda.manual_seed(1)
        generator = None if seed is None else torch.Generator("cuda").manual_seed(seed)
        fc1, fc2 = (
            Linear(i, o, generator=torch.Generator().manual_seed(0), device="cuda")
            for i, o in ((2, 8), (8, 1))
        )
        model = Sequential(fc1, Tanh(), Dropout(0.5, generator=generator), fc2, Logistic())
        runner = RunnerV2_1(model, BatchGD(0.5, model), accuracy, BinaryCrossEntropyLoss(model))
        rows = [[X.cuda(), y.cuda()] for X, y in moons[:2]]
        runner.train(*rows, num_epochs=150, log_epochs=0, step=step)
        losses.append(torch.tensor(runner.train_loss))
    close(*losses, 1e-5)


def test_a_generator_on_the_cpu_is_not_recorded(moons):
    fc1 = Linear(2, 1, device="cuda")
    model = Sequential(fc1, Dropout(0.5, generator=torch.Generator()), Logistic())
    runner = RunnerV2_1(model, BatchGD(0.5, model), accuracy, BinaryCrossEntropyLoss(model))
    rows = [[X.cuda(), y.cuda()] for X, y in moons[:2]]
    with pytest.raises(ValueError, match="a generator of the model is on cpu, wanted cuda"):
        runner.train(*rows, num_epochs=2, log_epochs=0, step="captured")
    runner.train(*rows, num_epochs=2, log_epochs=0)
