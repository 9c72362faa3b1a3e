"""A whole training step as one ONNX file, trained by onnxruntime, beside what autograd can export.

onnxruntime and opnet make the same steps on the same moons; printed are how far apart their weights
are in the end, and what becomes of such a step when torch is to export it with autograd inside.
"""

import argparse
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from experiments import cli, flags
from experiments.rows import Outcome

HIDDEN, LR = 5, 0.05


def arguments() -> argparse.ArgumentParser:
    parser = flags.parser("onnx_step", __doc__, fast={"steps": 2})
    parser.add_argument("--steps", type=flags.whole_number(1), default=200)
    parser.add_argument("--save-dir", type=flags.path, default=Path("checkpoints/runs/onnx_step"))
    return parser


def main(settings: argparse.Namespace) -> Outcome:
    cli.print_settings(settings)
    path = by_onnxruntime(settings)
    for name, export in AUTOGRAD.items():
        print(f"torch, {name}: {told(export, settings.save_dir / 'torch.onnx')}")
    return Outcome(written=[path])


def by_onnxruntime(settings: argparse.Namespace) -> Path:
    """Train by the file and by opnet from the same start, and print how they compare."""
    import onnx
    import torch

    from opnet import Adam, BinaryCrossEntropyLoss, Model_MLP_L2, accuracy, make_moons
    from opnet.bridge import export_training_step
    from opnet.step import training_step

    X, y = make_moons(640, noise=0.2, seed=settings.seed)
    generator = torch.Generator().manual_seed(settings.seed)
    model = Model_MLP_L2(2, HIDDEN, 1, generator=generator)
    loss_fn, adam = BinaryCrossEntropyLoss(model), Adam(LR, model)
    path = export_training_step(model, loss_fn, adam, settings.save_dir / "step.onnx")
    print(f"step.onnx: {len(onnx.load(path).graph.node)} nodes, {path.stat().st_size:,} bytes")
    params = {f"fc1.{key}": param for key, param in model.fc1.params.items()}
    params |= {f"fc2.{key}": param for key, param in model.fc2.params.items()}
    start = {name: tensor.numpy().copy() for name, tensor in (params | adam.state_dict()).items()}
    found = steps_of(path, X.numpy(), y.numpy(), start, settings.steps)
    for _ in range(settings.steps):
        training_step(model, loss_fn, adam, X, y)
    apart = max(abs(found[name] - param.numpy()).max() for name, param in params.items())
    print(f"{settings.steps} steps: weights differ by at most {apart:.1e}")
    print(f"accuracy: {float(accuracy(model(X), y)):.4f}")
    return path


def steps_of(path: Path, X: Any, y: Any, state: dict[str, Any], steps: int) -> dict[str, Any]:
    """The state after so many steps: what goes out as `fc1.W.next` comes in as `fc1.W`."""
    import numpy
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [port.name for port in session.get_outputs()]
    fixed = {"X": X, "y": y, "lr": numpy.array(LR)}
    for _ in range(steps):
        found = dict(zip(names, session.run(None, fixed | state), strict=True))
        state = {name.removesuffix(".next"): found[name] for name in names if name != "loss"}
    return state


def told(export: Callable[[Any, Any, Path], Any], path: Path) -> str:
    """What comes of an export with autograd: a file, or the first line of the error."""
    import torch
    from torch import nn

    net = nn.Sequential(nn.Linear(2, HIDDEN), nn.Sigmoid(), nn.Linear(HIDDEN, 1), nn.Sigmoid())

    class Step(nn.Module):
        """A step of gradient descent, its gradient by autograd."""

        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, X: Any, y: Any) -> Any:
            loss = nn.functional.binary_cross_entropy(self.net(X), y)
            params = list(self.net.parameters())
            grads = torch.autograd.grad(loss, params)
            return [p - LR * g for p, g in zip(params, grads, strict=True)]

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that an exporter without onnxscript is the old one
            export(net, Step(), path)
    except Exception as error:
        return f"{type(error).__name__}: {str(error).splitlines()[0]:.80}"
    return "exported"


def to_onnx(module: Any, path: Path, *shapes: tuple[int, int]) -> None:
    import torch

    torch.onnx.export(module, tuple(torch.rand(shape) for shape in shapes), path, dynamo=False)


AUTOGRAD: dict[str, Callable[[Any, Any, Path], Any]] = {
    "forward to ONNX": lambda net, step, path: to_onnx(net, path, (4, 2)),
    "training step to ONNX": lambda net, step, path: to_onnx(step, path, (4, 2), (4, 1)),
}


if __name__ == "__main__":
    cli.run(arguments(), main)
