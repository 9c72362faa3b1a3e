"""Saves that the disk, another writer or the weights forbid."""

import fcntl
import os
import resource
from contextlib import contextmanager, nullcontext
from functools import partial
from unittest import mock

from opnet import CheckpointError, Linear, Logistic, Model_MLP_L2, NonFiniteError, Sequential
from opnet import save_paddle as write_for_paddle
from opnet.checkpoint import lock
from runners import RunnerV2_1

from .row import INF, NAN, Bad


@contextmanager
def small_files(size):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def refusing(name, code):
    error = OSError(code, os.strerror(code))
    return partial(mock.patch, f"os.{name}", side_effect=error)


def uncommitted():
    """The rename is refused that makes the new set the one that counts."""
    replace = os.replace

    def refused(source, target):
        if target.name == "manifest.json":
            raise PermissionError(13, os.strerror(13))
        replace(source, target)

    return mock.patch("os.replace", refused)


def saved(w, path="run", during=nullcontext, model=None, write=None):
    """A save of other weights than those on disk."""
    runner = RunnerV2_1(model, None, None, None) if model else w.runner
    write = write or runner.save_model
    with during():
        write(w.directory / path)


def other_weights(w):
    w.model.fc1.params["W"].add_(1)


def not_finite(value, w):
    w.model.fc2.params["b"].fill_(value)


def held(w):
    """Another has the lock, and has said who it is."""
    w.lock = open(w.directory / "run" / ".lock", "r+")  # noqa: SIM115
    w.lock.truncate(0)
    w.lock.write("process 7\r\non another\n machine\n")
    w.lock.flush()
    fcntl.flock(w.lock, fcntl.LOCK_EX)


def led_away(target, w):
    """The lock is a link out of the directory."""
    (w.directory / "run" / ".lock").unlink()
    (w.directory / "run" / ".lock").symlink_to(w.directory / target)


def saved_beside(w):
    with w.lock, mock.patch.object(lock, "SECONDS_TO_WAIT", 0.1):
        w.runner.save_model(w.directory / "run")


BROKEN = {
    "the disk is full": (refusing("write", 28), "manifest.json.new: .*: No space left on device"),
    "the quota is": (refusing("write", 122), "manifest.json.new: .*: Disk quota exceeded"),
    "EIO": (refusing("fsync", 5), "manifest.json.new: cannot be written: Input/output error"),
    "no rename": (uncommitted, "manifest.json: cannot be written: Permission denied"),
    "files of 100 bytes": (partial(small_files, 100), "manifest.json.new: .*: File too large"),
    "read-only": (partial(mock.patch, "os.access", return_value=False), "run: cannot be written"),
}


def of_saves():
    for name, (during, said) in BROKEN.items():
        call = partial(saved, during=during)
        yield Bad(f"save_model: {name}", call, CheckpointError, said, other_weights)
        call = partial(to_paddle, during=during)
        yield Bad(f"save_paddle: {name}", call, CheckpointError, said, other_weights)
    for value in (NAN, INF, -INF):
        given, said = partial(not_finite, value), "nan or infinite values in b of fc2; nothing was"
        yield Bad(f"save_model: {value}", saved, NonFiniteError, said, given)
        yield Bad(f"save_paddle: {value}", to_paddle, NonFiniteError, said, given)
    said = "run: process 7 on another machine is writing here, waited 0.1 s"
    yield Bad("save_model: a second writer", saved_beside, CheckpointError, said, held)
    said = r"^\S*run/.lock: a symbolic link, wanted the file itself$"
    for target in ("file", "nowhere"):
        given = partial(led_away, target)
        yield Bad(f"save_model: .lock leads to {target}", saved, CheckpointError, said, given)
    for name, model, said in (
        ("wider", Model_MLP_L2(2, 6, 1), r"another model: fc1.pdparams: W is float32 \[2, 5\]"),
        ("shorter", Sequential(Linear(2, 5, "fc1"), Logistic()), "fc2.pdparams, which this model"),
    ):
        call = partial(saved, model=model)
        yield Bad(f"save_model: over another, {name}", call, CheckpointError, said)
    for path, said in (
        ("file", "file: cannot be made: File exists"),
        ("file/below", "below: cannot be made: Not a directory"),
        ("/dev/null", "/dev/null: cannot be made: File exists"),
        ("a" * 300, "cannot be made: File name too long"),
    ):
        yield Bad(f"save_model: {path[:20]}", partial(saved, path=path), CheckpointError, said)


def to_paddle(w, during=nullcontext):
    saved(w, during=during, write=partial(write_for_paddle, w.model))


SAVES = [*of_saves()]
