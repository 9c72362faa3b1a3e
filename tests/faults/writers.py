"""Who is put to the test: opnet, and one that has to fail it."""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Protocol
from unittest import mock

import torch

from opnet import CheckpointError

from . import states


class Writer(Protocol):
    """Saves what a runner holds, and loads it: all of it, or a CheckpointError."""

    def save(self, directory: Path, runner: Any) -> None: ...
    def load(self, directory: Path, runner: Any) -> None: ...


class Ours:
    """opnet.checkpoint through the runner's two methods."""

    def save(self, directory: Path, runner: Any) -> None:
        runner.save_model(directory)

    def load(self, directory: Path, runner: Any) -> None:
        runner.load_model(directory)

    def going_on(self) -> AbstractContextManager[Any]:
        """Around the lives of a run that is stopped."""
        return nullcontext()


class Forgetful(Ours):
    """opnet, and optimizers that start anew: shows that a resumed run can be seen to differ."""

    def going_on(self) -> AbstractContextManager[Any]:
        return mock.patch("opnet.optimizer.Optimizer.load_state")


class Unsynced(Ours):
    """opnet, and nothing is brought down to the disk: shows that a loss of power can be seen."""

    def save(self, directory: Path, runner: Any) -> None:
        with mock.patch("os.fsync"):
            super().save(directory, runner)


class Plain:
    """torch.save of each layer over the old file: shows that the trials can fail."""

    def save(self, directory: Path, runner: Any) -> None:
        for name, tensors in states.files(runner).items():
            try:
                with open(directory / name, "wb") as file:
                    torch.save(tensors, file)
            except (OSError, RuntimeError) as error:
                raise CheckpointError(f"{name}: {error}") from error

    def load(self, directory: Path, runner: Any) -> None:
        for name, tensors in states.files(runner).items():
            try:
                found = torch.load(directory / name, weights_only=True)
                for key, tensor in tensors.items():
                    tensor.copy_(found[key])
            except Exception as error:
                raise CheckpointError(f"{name}: {error}") from error


class Hidden(Plain):
    """torch.save into a path, which C++ opens and writes: shows that a hidden call is found."""

    def save(self, directory: Path, runner: Any) -> None:
        for name, tensors in states.files(runner).items():
            torch.save(tensors, directory / name)


WRITERS = {
    "opnet": Ours(),
    "plain": Plain(),
    "hidden": Hidden(),
    "unsynced": Unsynced(),
    "forgetful": Forgetful(),
}
