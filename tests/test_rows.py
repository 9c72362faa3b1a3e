"""Rows larger than memory: whoever holds them, blocks are their rows, read one ahead."""

import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch

from opnet.ahead import blocks
from opnet.data import from_npy
from opnet.rows import as_features, as_labels, is_source

LIKE = torch.empty(0)
N, F, SIZE = 11, 3, 4
SPANS = [slice(0, 4), slice(4, 8), slice(8, 11)]
X = torch.arange(N * F).reshape(N, F).float()
SOON = 20.0  # seconds that a test waits for what must come


class Held:
    """A learner's class: rows come as `kind` makes them of a tensor."""

    def __init__(self, values, kind=torch.Tensor.numpy):
        self.values, self.kind = values, kind

    def __len__(self):
        return len(self.values)

    def __getitem__(self, rows):
        assert isinstance(rows, slice)
        return self.kind(self.values[rows])


def npy_of(values, path):
    np.save(path / "rows.npy", values.numpy())
    return from_npy(path / "rows.npy")


def memmap_of(values, path):
    np.save(path / "map.npy", values.numpy())
    return np.load(path / "map.npy", mmap_mode="r")


HOLDERS = {
    "a .npy file": npy_of,
    "a memory map": memmap_of,
    "arrays": lambda values, path: Held(values),
    "tensors": lambda values, path: Held(values, lambda part: part.clone().requires_grad_()),
    "lists": lambda values, path: Held(values, torch.Tensor.tolist),
    "columns first": lambda values, path: Held(values, np.asfortranarray),
}
holders = pytest.mark.parametrize("held", HOLDERS.values(), ids=HOLDERS)


# --- rows


@holders
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [1, SIZE, N, 100])
def test_blocks_are_the_rows_in_the_dtype_of_the_model(held, dtype, size, tmp_path):
    source = held(X, tmp_path)
    assert is_source(source)
    like = torch.empty(0, dtype=dtype)
    features, labels = as_features("X", source, like), as_labels("y", Held(X[:, :1]), like)
    assert (features.shape, features.dtype, len(features)) == ((N, F), dtype, N)
    seen = [
        (X_block.clone(), y_block.clone(), rows)
        for X_block, y_block, rows in blocks(features, labels, size)
    ]
    assert all(X_block.dtype == y_block.dtype == dtype for X_block, y_block, _ in seen)
    assert all(rows.stop - rows.start == len(X_block) for X_block, _, rows in seen)
    assert torch.equal(torch.cat([X_block for X_block, _, _ in seen]), X.to(dtype))
    assert torch.equal(torch.cat([y_block for _, y_block, _ in seen]), X[:, :1].to(dtype))


@pytest.mark.parametrize("rows", [slice(2, 5), slice(-2, None), slice(7, 2), slice(5, 99)], ids=str)
def test_slices_are_those_of_a_tensor(rows, tmp_path):
    source = npy_of(X, tmp_path)
    assert torch.equal(source[rows], X[rows])
    assert torch.equal(as_features("X", source, LIKE)[rows], X[rows])


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "?"])
def test_numbers_of_every_kind_are_features_and_whole_ones_stay_labels(dtype, tmp_path):
    numbers = np.arange(6).reshape(3, 2).astype(dtype)
    np.save(tmp_path / "X.npy", numbers)
    source = from_npy(tmp_path / "X.npy")
    features, labels = as_features("X", source, LIKE), as_labels("y", source, LIKE)
    assert torch.equal(features[:], torch.from_numpy(numbers).float())
    wanted = torch.from_numpy(numbers)
    assert torch.equal(labels[:], wanted.float() if dtype[0] == "f" else wanted)
    assert features[:].dtype == torch.float32


def test_labels_may_be_class_indices(tmp_path):
    np.save(tmp_path / "y.npy", np.arange(N))
    labels = as_labels("y", from_npy(tmp_path / "y.npy"), LIKE)
    assert [i for _, y_block, _ in blocks(X, labels, SIZE) for i in y_block.tolist()] == [*range(N)]


@pytest.mark.parametrize(
    "values",
    [X, X.numpy(), X.tolist(), (1, 2), "rows", b"rows", {"X": X}, {1, 2}, None, 3.0, Held],
    ids=lambda values: type(values).__name__,
)
def test_what_is_in_memory_is_no_source(values):
    assert not is_source(values)


def test_a_table_of_pandas_is_in_memory():
    class Table(Held):
        iloc = None

    assert is_source(Held(X))
    assert not is_source(Table(X))


# --- views


def test_tensors_give_views_and_start_no_thread():
    stacked = torch.stack([X, X + 1])
    before = threading.active_count()
    for values, at in ((X, ()), (stacked, (slice(None),))):
        for (X_block, y_block, rows), wanted in zip(
            blocks(values, values[..., 0], SIZE), SPANS, strict=True
        ):
            assert rows == wanted
            assert X_block.data_ptr() == values[(*at, rows)].data_ptr()
            assert torch.equal(X_block, values[(*at, rows)])
            assert torch.equal(y_block, values[..., 0][(*at, rows)])
            assert threading.active_count() == before


def test_without_labels_y_is_none(tmp_path):
    for features in (X, as_features("X", npy_of(X, tmp_path), LIKE)):
        assert [(y, rows) for _, y, rows in blocks(features, None, SIZE)] == [
            (None, rows) for rows in SPANS
        ]


# --- one block ahead


class Watched(Held):
    """Says which blocks have begun to be read; fails from row `bad` on."""

    def __init__(self, values, bad=None):
        super().__init__(values)
        self.began = {rows.start: threading.Event() for rows in SPANS}
        self.bad = bad

    def __getitem__(self, rows):
        if rows != slice(0, 1):  # by which a source learns the columns
            self.began[rows.start].set()
            if rows.start == self.bad:
                raise OSError("the disk has gone")
        return super().__getitem__(rows)


def readers():
    return [thread for thread in threading.enumerate() if thread.name.startswith("opnet-rows")]


def test_the_next_block_is_read_while_the_caller_has_the_present_one_and_no_further():
    source = Watched(X)
    begun = [source.began[rows.start] for rows in SPANS]
    for i, _ in enumerate(blocks(as_features("X", source, LIKE), None, SIZE)):
        assert all(block.wait(SOON) for block in begun[: i + 2])
        assert not any(block.is_set() for block in begun[i + 2 :])
    assert not readers()


def test_two_pieces_of_memory_take_turns():
    places = [b.X.data_ptr() for b in blocks(as_features("X", Held(X), LIKE), None, SIZE)]
    assert places[0] != places[1]
    assert places[0] == places[2]


def test_a_block_is_not_overwritten_while_the_caller_has_it():
    source = Watched(X)
    features = as_features("X", source, LIKE)
    for X_block, _, rows in blocks(features, None, SIZE):
        if rows.stop < N:
            assert source.began[rows.stop].wait(SOON)
        assert torch.equal(X_block, X[rows])


@pytest.mark.parametrize("bad", [0, SIZE, 2 * SIZE])
def test_an_error_of_a_read_is_raised_where_its_block_is_asked_for(bad):
    source, seen = Watched(X, bad), []
    with pytest.raises(OSError, match="the disk has gone") as caught:
        seen.extend(rows.start for _, _, rows in blocks(as_features("X", source, LIKE), None, SIZE))
    assert seen == [rows.start for rows in SPANS if rows.start < bad]
    assert caught.value.__notes__ == [f"while X[{bad}:{min(bad + SIZE, N)}] was read"]
    assert not readers()


def leave_by_break(loop):
    for _ in loop:
        assert readers()
        break


def leave_by_an_error(loop):
    for _ in loop:
        raise ZeroDivisionError


def leave_by_ctrl_c(loop):
    for _ in loop:
        signal.raise_signal(signal.SIGINT)


def leave_by_close(loop):
    next(loop)
    loop.close()


def leave_before_the_first(loop):
    pass


@pytest.mark.parametrize(
    "leave",
    [leave_by_break, leave_by_an_error, leave_by_ctrl_c, leave_by_close, leave_before_the_first],
)
def test_leaving_early_begins_no_other_read_and_leaves_no_thread(leave):
    source = Watched(X)
    with suppress(ZeroDivisionError, KeyboardInterrupt):
        leave(blocks(as_features("X", source, LIKE), None, SIZE))
    assert not readers()
    assert not source.began[SPANS[-1].start].is_set()


def test_ctrl_c_ends_the_wait_for_a_read():
    done = threading.Event()

    def interrupt():
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        done.set()

    def slow(part):
        if len(part) > 1:
            threading.Timer(0.05, interrupt).start()
            assert done.wait(SOON)
        return part

    with pytest.raises(KeyboardInterrupt):
        next(blocks(as_features("X", Held(X, slow), LIKE), None, SIZE))
    assert not readers()


def test_a_process_ends_with_blocks_that_nobody_has_finished(tmp_path):
    code = f"""
import numpy as np
from opnet.ahead import blocks
from opnet.rows import as_features
import torch
rows = blocks(as_features("X", np.memmap({str(tmp_path / "x")!r}, "f4", "w+", shape=(9, 2)),
    torch.empty(0)), None, 2)
next(rows)
"""
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")


# --- values that are found on the way


@pytest.mark.parametrize(("bad", "value"), [(0, "nan"), (7, "inf"), (10, "-inf")])
@pytest.mark.parametrize("who", ["X", "y"])
def test_a_value_that_is_not_finite_is_named_by_its_place_in_all_rows(bad, value, who, tmp_path):
    values = X.clone()
    values[bad, 1] = float(value)
    source = npy_of(values, tmp_path)
    if who == "X":
        rows = blocks(as_features("train_set: X", source, LIKE), None, SIZE)
    else:
        rows = blocks(X, as_labels("train_set: y", source, LIKE), SIZE)
    with pytest.raises(ValueError, match=rf"^train_set: {who}\[{bad}, 1\] is {value} \(rows "):
        list(rows)


def test_a_part_reads_its_rows_only_and_names_them_by_their_place_in_all():
    values = X.clone()
    values[2, 0] = values[6, 1] = torch.nan
    part = as_features("X", Held(values), LIKE).part(slice(3, 9)).part(slice(1, 5))
    assert (len(part), part.shape) == (4, (4, F))
    assert torch.equal(part[:2], X[4:6])
    with pytest.raises(ValueError, match=r"^X\[6, 1\] is nan \(rows 4:7: "):
        list(blocks(part, None, 3))


def test_large_numbers_are_finite_though_their_sum_is_not():
    large = torch.full((N, F), 3e38)
    assert torch.equal(as_features("X", Held(large), LIKE)[:], large)


def test_a_number_that_the_models_dtype_cannot_hold_is_named():
    wide = X.double()
    wide[5, 2] = 1e300
    with pytest.raises(ValueError, match=r"^X\[5, 2\] is inf"):
        as_features("X", Held(wide), LIKE)[:]


def test_a_file_that_is_cut_after_it_was_opened_is_an_error(tmp_path):
    features = as_features("X", npy_of(X, tmp_path), LIKE)
    os.truncate(tmp_path / "rows.npy", 200)
    with pytest.raises(ValueError, match=r"rows.npy: ends at byte 200, after it was opened"):
        list(blocks(features, None, SIZE))
    assert not readers()


# --- memory


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="RssAnon is told by Linux")
def test_memory_does_not_grow_with_the_rows(tmp_path):
    shape = (2_500_000, 20)  # 200 MB, all of them holes
    np.lib.format.open_memmap(tmp_path / "X.npy", "w+", "f4", shape).flush()
    code = f"""
import numpy, torch
def anonymous():
    status = open("/proc/self/status").read()
    return int(status.split("RssAnon:")[1].split()[0]) / 1024
before = anonymous()
from opnet.ahead import blocks
from opnet.rows import as_features
from opnet.data import from_npy
features = as_features("X", from_npy({str(tmp_path / "X.npy")!r}), torch.empty(0))
count = most = 0
for X, _, rows in blocks(features, None, 4096):
    assert rows.start == count
    count, most = rows.stop, max(most, anonymous() - before)
print(count, most)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, timeout=300, capture_output=True, text=True
    )
    count, most = done.stdout.split()
    assert int(count) == shape[0]
    assert float(most) < 50
