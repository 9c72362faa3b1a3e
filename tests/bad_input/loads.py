"""Directories and files that no model can be loaded from."""

import io
import json
import os
import pickle
import shutil
import zipfile
from contextlib import chdir, contextmanager
from functools import partial
from unittest import mock

import torch

from opnet import CheckpointError, load
from opnet.checkpoint import manifest

from .row import INF, NAN, Bad

DAMAGED = r"fc2.pdparams: (damaged or changed: sha256 .* or pass verify=False|has \d+ bytes, want)"
SAFELY = "no checkpoint that can be read safely"
W, B = torch.ones(5, 1), torch.ones(1, 1)  # of the last layer: those before it must not change


class Code:
    """A pickle that makes a directory when it is run."""

    def __reduce__(self):
        return os.mkdir, ("was run",)


def torch_bytes(value):
    stream = io.BytesIO()
    torch.save(value, stream)
    return stream.getvalue()


def packed_again(data, change):
    """A zip archive of the same records, each as `change(name, content)` has it."""
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(stream, "w") as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
    return stream.getvalue()


def flipped(data, bit=-8 * 700):
    changed = bytearray(data)
    changed[bit // 8] ^= 1
    return bytes(changed)


GOOD = torch_bytes({"W": W, "b": B})
JUNK = packed_again(GOOD, lambda name, data: b"junk" if name.endswith("data.pkl") else data)
PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
UNREADABLE = {
    "empty": (b"", SAFELY),
    "text": (b"hello\n", SAFELY),
    "HTML": (b"<!DOCTYPE html><html></html>", SAFELY),
    "truncated": (GOOD[:-100], "no whole archive"),
    "half": (GOOD[: len(GOOD) // 2], "no whole archive|" + SAFELY),
    "a flipped bit": (flipped(GOOD, 8 * GOOD.index(W.numpy().tobytes())), "CRC|damaged|no whole"),
    "no pickle in it": (JUNK, SAFELY),
    "a list": (torch_bytes([W, B]), "holds a list, wanted a dict of tensors"),
    "numbers": (torch_bytes({"W": 1.0, "b": 2.0}), "'W' is a float, wanted a Tensor"),
    "code": (torch_bytes({"W": Code(), "b": B}), f"{SAFELY}: it names posix.mkdir"),
    **{
        f"code, pickle {protocol}": (pickle.dumps({"W": Code()}, protocol), SAFELY)
        for protocol in PROTOCOLS
    },
    "sparse": (torch_bytes({"W": W.to_sparse(), "b": B}), SAFELY + "|wanted plain numbers"),
    "complex": (torch_bytes({"W": W.cfloat(), "b": B}), SAFELY + "|wanted plain numbers"),
    "no values": (torch_bytes({"W": W.to("meta"), "b": B}), SAFELY + "|wanted plain numbers"),
}
UNFIT = {
    "a shape": ({"W": torch.ones(5, 2), "b": B}, r"W is float32 \[5, 2\], model wants"),
    "transposed": ({"W": W.T, "b": B}, r"W is float32 \[1, 5\], model wants"),
    "broadcast b": ({"W": W, "b": torch.ones(1)}, r"b is float32 \[1\], model wants"),
    "broadcast W": ({"W": torch.ones(1, 1), "b": B}, r"W is float32 \[1, 1\], model wants"),
    "float64": ({"W": W.double(), "b": B}, r"W is float64 \[5, 1\], model wants"),
    "int64": ({"W": W.long(), "b": B}, r"W is int64 \[5, 1\], model wants"),
    "no b": ({"W": W}, r"holds \['W'\], model wants \['W', 'b'\]"),
    "a key too many": ({"W": W, "b": B, "c": B}, r"holds \['W', 'b', 'c'\]"),
    "other keys": ({"w": W, "c": B}, r"holds \['c', 'w'\]"),
    "nan": ({"W": W, "b": B * NAN}, "nan or infinite values in b of fc2"),
    "inf": ({"W": W * -INF, "b": B}, "nan or infinite values in W of fc2"),
}


def with_file(data, alone, w):
    """`bad` is the set of `run` with another fc2.pdparams; `alone`, without its manifest."""
    bad = shutil.copytree(w.directory / "run", w.directory / "bad")
    (bad / "fc2.pdparams").write_bytes(data)
    if alone:
        (bad / "manifest.json").unlink()


@contextmanager
def watched(w):
    """Code in a file would leave its directory here, and torch is told to run such code."""
    with chdir(w.directory), mock.patch.dict(os.environ, TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD="1"):
        yield


def loaded(w, path="bad"):
    with watched(w):
        w.runner.load_model(w.directory / path)


def made_again(w, path="bad"):
    with watched(w):
        load(w.directory / path)


DOORS = {"load_model": loaded, "load": made_again}


def of_files():
    unreadable = {
        name: (data, f"fc2.pdparams: .*({said})") for name, (data, said) in UNREADABLE.items()
    }
    unfit = {name: (torch_bytes(value), said) for name, (value, said) in UNFIT.items()}
    for name, (data, said) in {**unreadable, **unfit}.items():
        for door, call in DOORS.items():
            given = partial(with_file, data, False)
            yield Bad(f"{door}: fc2 {name}", call, CheckpointError, DAMAGED, given)
        given = partial(with_file, data, True)
        yield Bad(f"load_model: fc2 alone {name}", loaded, CheckpointError, said, given)
        if name in unreadable:
            yield Bad(f"load: fc2 alone {name}", made_again, CheckpointError, said, given)


def changed(change, alone, w):
    """`bad` is the set of `run` after a change to its directory; `alone`, without manifest."""
    bad = shutil.copytree(w.directory / "run", w.directory / "bad")
    if alone:
        (bad / "manifest.json").unlink()
    change(bad)


def huge(path):
    with open(path, "ab") as file:
        file.truncate(10 * 2**30)


def instead(make):
    """Another thing under the name fc1.pdparams."""

    def change(directory):
        (directory / "fc1.pdparams").unlink()
        make(directory / "fc1.pdparams")

    return change


def linked(path):
    path.symlink_to(path.parent.parent / "run" / path.name)


def piped(w):
    os.mkfifo(w.directory / "pipe")


DIRECTORIES = {
    "no fc1": (instead(lambda path: None), "^[^;]*fc1.pdparams: no such file"),
    "a directory": (instead(lambda path: path.mkdir()), "fc1.pdparams: not a regular file"),
    "a pipe": (instead(os.mkfifo), "fc1.pdparams: not a regular file"),
    "a link": (instead(linked), r"^\S*fc1.pdparams: a symbolic link, wanted the file itself"),
    "a device": (instead(lambda path: path.symlink_to("/dev/zero")), "pdparams: a symbolic link"),
    "10 GB": (lambda d: huge(d / "fc1.pdparams"), "has 10737418240 bytes, wanted at most"),
}


def of_directories():
    for name, (change, said) in DIRECTORIES.items():
        for alone in (False, True):
            for door, call in DOORS.items():
                if not (alone and door == "load" and name == "10 GB"):  # of any size, says load
                    given = partial(changed, change, alone)
                    row = f"{door}: fc1 is {name}{', alone' * alone}"
                    yield Bad(row, call, CheckpointError, said, given)
    for door, call in DOORS.items():
        for path, said in (
            ("nowhere", "nowhere: no such directory"),
            ("file/below", "below: .*(no such directory|Not a directory)"),
            ("file", f"file: {SAFELY}"),
            ("/dev/null", "/dev/null: neither a directory nor a regular file"),
            ("/dev/zero", "/dev/zero: neither a directory nor a regular file"),
            ("a" * 300, "cannot be read: File name too long"),
        ):
            yield Bad(f"{door}: {path[:20]}", partial(call, path=path), CheckpointError, said)
        said, given = "pipe: neither a directory nor a regular file", piped
        yield Bad(f"{door}: pipe", partial(call, path="pipe"), CheckpointError, said, given)
        given = lambda w: (w.directory / "empty").mkdir()  # noqa: E731
        missing = "fc1.pdparams: no such file; .*fc2.pdparams: no such file"
        yield Bad(f"{door}: empty", partial(call, path="empty"), CheckpointError, missing, given)


def rewritten(change, directory):
    """The manifest after a change by one who knows how to make its sum."""
    path = directory / "manifest.json"
    content = json.loads(path.read_text())
    change(content)
    content.pop("sha256")
    path.write_text(json.dumps(content | {"sha256": manifest._sum(content)}))


def named(name):
    return lambda c: c["files"].update({name: c["files"]["fc1.pdparams"]})


MANIFESTS = {
    "a newer version": (lambda c: c.update(version=2), "version 2, this opnet reads 1"),
    "another format": (lambda c: c.update(format="x"), "wanted format 'opnet checkpoint'"),
    "a way out": (named("../fc9.pdparams"), "names '../fc9.pdparams', wanted <layer>.pdparams"),
    "a whole path": (named("/etc/passwd"), "names '/etc/passwd', wanted <layer>.pdparams"),
    "a device": (named("/dev/zero"), "names '/dev/zero', wanted <layer>.pdparams"),
    "upper case": (named("FC1.pdparams"), "differ by upper and lower case"),
    "a file too many": (named("fc3.pdparams"), "fc3.pdparams: no such file"),
    "a file too few": (lambda c: c["files"].pop("fc2.pdparams"), "wants|wanted fc1 and fc2|lacks"),
    "a size": (lambda c: c["files"]["fc1.pdparams"].update(size=-1), "no size or no sha256"),
    "no files": (lambda c: c.pop("files"), "lacks generation, files or about"),
}
TEXTS = {"nothing": "", "a dict": "{}", "a list": "[]", "text": "hello", "deep": "[" * 10**5}


def of_manifests():
    for door, call in DOORS.items():
        for name, (change, said) in MANIFESTS.items():
            given = partial(changed, partial(rewritten, change), False)
            yield Bad(f"{door}: manifest, {name}", call, CheckpointError, said, given)
        for name, text in TEXTS.items():
            change = partial(overwritten, text)
            given = partial(changed, change, False)
            said = "manifest.json: is damaged"
            yield Bad(f"{door}: manifest is {name}", call, CheckpointError, said, given)
        given = partial(changed, by_hand, False)
        said = "manifest.json: is damaged or changed by hand: its own sha256 differs"
        yield Bad(f"{door}: manifest changed", call, CheckpointError, said, given)


def overwritten(text, directory):
    (directory / "manifest.json").write_text(text)


def by_hand(directory):
    text = (directory / "manifest.json").read_text()
    overwritten(text.replace('"generation": ', '"generation": 1'), directory)


def to_arguments():
    for key in ("transpose", "verify"):
        for value in (1, "no"):
            call, said = partial(with_argument, key, value), f"^load: {key} is {value!r}, wanted"
            yield Bad(f"load_model: {key} {value!r}", call, TypeError, said)


def with_argument(key, value, w):
    w.runner.load_model(w.directory / "run", **{key: value})


LOADS = [*to_arguments(), *of_files(), *of_directories(), *of_manifests()]
