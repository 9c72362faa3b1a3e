"""`write_whole`: the file as a whole or not at all, links stay, pipes take the bytes."""

import os
import threading

import pytest

from opnet.errors import CheckpointError
from opnet.files import write_whole


def test_directories_are_made_and_nothing_else_stays(tmp_path):
    path = tmp_path / "a" / "b"
    for data in (b"one", b"two"):
        write_whole(path, data)
        assert path.read_bytes() == data
    assert [*path.parent.iterdir()] == [path]


def test_what_a_killed_writer_has_left_is_in_nobodys_way(tmp_path):
    (tmp_path / "a.new").write_bytes(b"ha")
    write_whole(tmp_path / "a", b"whole")
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("step", ["write", "replace", "fsync"])
def test_a_fault_leaves_the_old_file_and_no_other(tmp_path, monkeypatch, step):
    path = tmp_path / "a"
    path.write_bytes(b"old")

    def full(*_):
        assert path.read_bytes() == b"old"
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, step, full)
    with pytest.raises(
        CheckpointError, match=r"a(\.new)?: cannot be written: No space left on device$"
    ):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert [*tmp_path.iterdir()] == [path]


@pytest.mark.parametrize("there", [True, False], ids=["leads to a file", "leads nowhere"])
def test_a_link_stays_and_where_it_leads_is_written(tmp_path, there):
    link, path = tmp_path / "link", tmp_path / "far" / "file"
    if there:
        path.parent.mkdir()
        path.write_bytes(b"old")
    link.symlink_to(path)
    write_whole(link, b"new")
    assert link.is_symlink()
    assert path.read_bytes() == b"new"


def test_a_pipe_takes_the_bytes_and_stays_one(tmp_path):
    path, read = tmp_path / "pipe", []
    os.mkfifo(path)
    reader = threading.Thread(target=lambda: read.append(path.read_bytes()), daemon=True)
    reader.start()
    write_whole(path, b"bytes")
    reader.join(10)
    assert read == [b"bytes"]
    assert path.is_fifo()


def test_a_directory_is_refused_in_one_line(tmp_path):
    with pytest.raises(CheckpointError, match=f"{tmp_path}: cannot be written: Is a directory$"):
        write_whole(tmp_path, b"")
