"""Everything runs on a GPU unchanged. Skipped where there is none."""

import pytest
import torch
from witness import close

from opnet import BatchGD, BinaryCrossEntropyLoss, Model_MLP_L2, accuracy, load, plots
from opnet.walk import dict_of, every_op, state
from runners import RunnerV2_1

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def runner_on(device, dtype=torch.float64):
    model = Model_MLP_L2(
        2, 5, 1, generator=torch.Generator().manual_seed(0), device=device, dtype=dtype
    )
    return RunnerV2_1(model, BatchGD(1.0, model), accuracy, BinaryCrossEntropyLoss(model))


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
    plots.decision_boundary(runner.predict, {"train": [part.cuda() for part in moons[0]]})
