"""Files and objects that are to be read block by block, and cannot be."""

import os
import pickle
from functools import partial

import numpy as np
import torch

from opnet.ahead import blocks
from opnet.data import from_npy
from opnet.rows import as_features, as_labels
from opnet.threads import fitting_threads

from .data import WHOLE
from .row import INF, NAN, Bad, X, Y
from .runner import trained

LIKE = torch.empty(0)
HEADER = b"{'descr': '%s', 'fortran_order': False, 'shape': (%d, 2)}\n"


class Sliced:
    """Rows of which `[a:b]` is whatever `part(a, b)` makes."""

    def __init__(self, part, count=4):
        self.part, self.count = part, count

    def __len__(self):
        return self.count

    def __getitem__(self, rows):
        return self.part(rows.start, rows.stop)


# --- files


def saved(array, w):
    np.save(w.directory / "X.npy", array, allow_pickle=True)


def written(content, w):
    (w.directory / "X.npy").write_bytes(content)


def cut(count, w):
    saved(X.numpy(), w)
    os.truncate(w.directory / "X.npy", count)


def headed(header, w):
    written(b"\x93NUMPY\1\0" + len(header).to_bytes(2, "little") + header, w)


def zipped(w):
    with open(w.directory / "X.npy", "wb") as file:
        np.savez(file, X=X.numpy())


def a_directory(w):
    (w.directory / "X.npy").mkdir()


def a_pipe(w):
    os.mkfifo(w.directory / "X.npy")


def read(w):
    from_npy(w.directory / "X.npy")


def to_a_file():
    wanted = "; wanted what numpy.save writes of numbers$"
    columns_first = np.asfortranarray(X.numpy())
    for name, given, error, said in (
        ("text", partial(written, b"1, 2\n3, 4\n"), ValueError, "the magic string is not .*"),
        ("empty", partial(written, b""), ValueError, ".*" + wanted),
        ("a pickle", partial(written, pickle.dumps(X.numpy())), ValueError, ".*" + wanted),
        ("a .npz", zipped, ValueError, "the magic string is not correct.*" + wanted),
        ("cut in the header", partial(cut, 60), ValueError, ".*" + wanted),
        ("cut in the rows", partial(cut, 150), ValueError, "mmap length is greater.*" + wanted),
        ("a header without an end", partial(headed, b"((((\n"), ValueError, ".*" + wanted),
        (
            "a dtype without an end",
            partial(headed, HEADER % (b"f4,(", 1)),
            ValueError,
            ".*" + wanted,
        ),
        ("fewer than no rows", partial(headed, HEADER % (b"<f4", -4)), ValueError, ".*" + wanted),
        (
            "more rows than can be",
            partial(headed, HEADER % (b"<f4", 2**70)),
            ValueError,
            ".*" + wanted,
        ),
        ("objects", partial(saved, np.array([[None]])), ValueError, ".*Python objects.*" + wanted),
    ):
        yield Bad(f"from_npy: {name}", read, error, f"^from_npy: .*X.npy: {said}", given)
    for name, array, error, said in (
        ("complex", X.numpy() * 1j, TypeError, "holds complex64, wanted real numbers"),
        ("high byte first", X.numpy().astype(">f4"), TypeError, "holds >f4, wanted real"),
        ("text in it", np.array([["a"]]), TypeError, "holds <U1, wanted real numbers"),
        ("dates", np.zeros((2, 1), "M8[s]"), TypeError, r"holds datetime64\[s\], wanted real"),
        ("records", np.zeros(2, "f4,f4"), TypeError, "holds .*, wanted real numbers"),
        ("columns first", columns_first, ValueError, "has columns first, wanted rows"),
        ("a number", np.float32(1), ValueError, r"has shape \[\], wanted rows"),
        ("no rows", X.numpy()[:0], ValueError, r"has shape \[0, 2\], wanted rows"),
        ("no columns", X.numpy()[:, :0], ValueError, r"has shape \[4, 0\], wanted rows"),
    ):
        given = partial(saved, array)
        yield Bad(f"from_npy: {name}", read, error, f"^from_npy: .*X.npy {said}", given)
    for name, given, said in (
        ("missing", lambda w: None, "is not there, wanted a .npy file"),
        ("a directory", a_directory, "is no file, wanted a .npy file"),
        ("a pipe", a_pipe, "is no file, wanted a .npy file"),
    ):
        yield Bad(f"from_npy: {name}", read, ValueError, f"^from_npy: .*X.npy {said}", given)
    for path, error in ((None, TypeError), (3, TypeError), ("", ValueError), ("a\0b", ValueError)):
        call = partial(lambda path, w: from_npy(path), path)
        yield Bad(f"from_npy: path {path!r}", call, error, "^from_npy: path is .*, wanted a path")


def to_slices_of_a_file():
    for rows, error, said in (
        (1, TypeError, "asked for 1, wanted a slice"),
        ((0, 1), TypeError, r"asked for \(0, 1\), wanted a slice"),
        (slice(None, None, 2), ValueError, "asked for every row in 2, wanted 1"),
        (slice(None, None, -1), ValueError, "asked for every row in -1, wanted 1"),
    ):
        call = partial(lambda rows, w: from_npy(w.directory / "X.npy")[rows], rows)
        given = partial(saved, X.numpy())
        yield Bad(f"from_npy: [{rows}]", call, error, f"X.npy: {said}", given)


# --- objects


def no_slices(start, stop):
    raise KeyError("rows")


def unlike(a, b):
    """Parts that are X's as long as nobody looks at row 2."""
    return lambda start, stop: (a if start < 2 else b)[start:stop]


def one_less(start, stop):
    return X[start : stop if stop < 4 else 3]


def one_more(start, stop):
    return X[start:stop] if stop < 4 else torch.cat([X, Y.expand(4, 2)])[start : stop + 1]


def nan_at_row_3(start, stop):
    return torch.where(torch.arange(4)[:, None] == 3, NAN, X)[start:stop].numpy()


def read_as(kind, rows, w):
    source = kind("set: X", rows, LIKE)
    list(blocks(source, None, 2) if kind is as_features else blocks(X, source, 2))


def to_objects():
    numbers = r"\[0:1\] is a .*, wanted a Tensor or an array of numbers"
    whole = torch.tensor([[0], [1], [1], [0]])
    for kind in (as_features, as_labels):
        for name, part, error, said in (
            ("no slices", no_slices, TypeError, r" is a Sliced, wanted slices as \[0:1\]: 'rows'$"),
            ("text", lambda a, b: ["a"], TypeError, numbers),
            ("nothing", lambda a, b: None, TypeError, numbers),
            ("ragged", lambda a, b: [[1.0], [1.0, 2.0]], TypeError, numbers),
            ("ragged later", unlike(X, np.array([None] * 4)), TypeError, r"\[2:4\] is a ndarray"),
            ("sparse", lambda a, b: X[a:b].to_sparse(), TypeError, r"\[0:1\]: came sparse_coo"),
            ("complex", lambda a, b: X[a:b] * 1j, TypeError, " is torch.complex64, wanted real"),
            ("complex later", unlike(X, X * 1j), TypeError, r"\[2:4\] is torch.complex64, the"),
            ("columns", unlike(X, Y), ValueError, r"\[2:4\] has shape \[2, 1\], wanted \[2, 2\]"),
            ("rows", one_less, ValueError, r"\[2:4\] has shape \[1, 2\], wanted \[2, 2\]"),
            ("nan", nan_at_row_3, ValueError, r"\[3, 0\] is nan \(rows 2:4: 2 of 4 values not"),
            ("inf", unlike(X, X + INF), ValueError, r"\[2, 0\] is inf"),
        ):
            call = partial(read_as, kind, Sliced(part))
            yield Bad(f"{kind.__name__}: {name}", call, error, f"^set: X{said}")
        for count in (-4, 2.5, "4", None, 2**70):
            call = partial(read_as, kind, Sliced(unlike(X, X), count))
            said = "^set: X is a Sliced, wanted a len: "
            yield Bad(f"{kind.__name__}: len {count!r}", call, TypeError, said)
        call = partial(read_as, kind, Sliced(unlike(X, X), 0))
        yield Bad(f"{kind.__name__}: empty", call, ValueError, "^set: X has no rows, wanted N >= 1")
    for name, part, said in (
        ("a column", lambda a, b: X[a:b, 0], r"has shape \[4\], wanted \[N, features\]"),
        ("images", lambda a, b: X[a:b, None], r"has shape \[4, 1, 2\], wanted \[N, features\]"),
        ("no columns", lambda a, b: X[a:b, :0], r"has shape \[4, 0\], wanted \[N, features\]"),
    ):
        call = partial(read_as, as_features, Sliced(part))
        yield Bad(f"as_features: {name}", call, ValueError, f"^set: X {said}")
    call = partial(read_as, as_labels, Sliced(unlike(whole, Y)))
    said = r"^set: X\[2:4\] is torch.float32, the first rows are torch.int64"
    yield Bad("as_labels: whole, then soft", call, TypeError, said)


# --- blocks


def to_blocks():
    source = as_features("X", Sliced(unlike(X, X)), LIKE)
    for name, X_of, y_of, said in (
        ("lengths", X, Y[1:], r"X has shape \[4, 2\], y \[3, 1\]: rows differ"),
        ("lengths of a source", source, Y[1:], r"X has shape \[4, 2\], y \[3, 1\]: rows differ"),
        ("a row", X[0], Y, r"X has shape \[2\], wanted \[N, features\]"),
        ("stacked", X.expand(4, 4, 2), source, r"X has shape \[4, 4, 2\], wanted \[N, features\]"),
    ):
        call = partial(lambda X_of, y_of, w: blocks(X_of, y_of, 2), X_of, y_of)
        yield Bad(f"blocks: {name}", call, ValueError, f"^blocks: {said}")
    for size, error in (*WHOLE.items(), (0, ValueError), (None, TypeError)):
        call = partial(lambda size, w: blocks(X, Y, size), size)
        yield Bad(
            f"blocks: size {size!r}", call, error, "^blocks: size is .*, wanted a whole number"
        )


def to_threads():
    for threads, error in (*WHOLE.items(), (0, ValueError)):
        call = partial(lambda threads, w: fitting_threads(4, (2, 1), threads).__enter__(), threads)
        yield Bad(
            f"threads: {threads!r}", call, error, "^threads is .*, wanted a whole number >= 1"
        )


# --- training


def slices(start, stop):
    return X[start:stop]


def narrower(start, stop):
    return X[start:stop, : 2 if stop == 1 else 1]


def complex_later(start, stop):
    return X[start:stop] * (1 if stop == 1 else 1j)


def text_later(start, stop):
    return X[start:stop] if stop == 1 else ["a"] * 4


def gone(start, stop):
    if stop == 1:
        return X[start:stop]
    raise OSError("the disk has gone")


def to_training():
    six = torch.cat([Y, Y[:2]])
    for name, source, y, error, said in (
        ("fewer", Sliced(one_less), Y, ValueError, r"\[0:4\] has shape \[3, 2\], wanted \[4, 2\]"),
        ("more", Sliced(one_more), Y, ValueError, r"\[0:4\] has shape \[5, 2\], wanted \[4, 2\]"),
        ("end", Sliced(slices, 6), six, ValueError, r"\[0:6\] has shape \[4, 2\], wanted \[6, 2\]"),
        ("len", Sliced(slices, 3), Y, ValueError, r" has shape \[3, 2\], y \[4, 1\]: rows differ"),
        (
            "columns",
            Sliced(narrower),
            Y,
            ValueError,
            r"\[0:4\] has shape \[4, 1\], wanted",
        ),
        ("complex", Sliced(complex_later), Y, TypeError, r"\[0:4\] is torch.complex64, the"),
        ("text", Sliced(text_later), Y, TypeError, r"\[0:4\] is a list, wanted a Tensor or an"),
        ("nan", Sliced(nan_at_row_3), Y, ValueError, r"\[3, 0\] is nan \(rows 0:4"),
        ("gone", Sliced(gone), Y, OSError, None),
    ):
        for key in ("train_set", "dev_set"):
            call = partial(trained, {key: [source, y]})
            told = f"^{key}: X{said}" if said else "^the disk has gone"
            yield Bad(f"train: rows in {key}: {name}", call, error, told)


ROWS = [
    *to_a_file(),
    *to_slices_of_a_file(),
    *to_objects(),
    *to_blocks(),
    *to_threads(),
    *to_training(),
]
