"""The lock of a directory is that of one process: no child has it, and none takes it away."""

import os
import signal
import subprocess
import sys

import pytest

from opnet import CheckpointError
from opnet.checkpoint import lock

fcntl = pytest.importorskip("fcntl")

HOLDER = """
import multiprocessing, pathlib, sys, time
from opnet.checkpoint import locked
with locked(pathlib.Path(sys.argv[1])):
    child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
    child.start()
    print(child.pid, flush=True)
    time.sleep(60)
"""


def is_free(directory):
    with open(directory / ".lock") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def test_a_kill_leaves_no_lock_though_a_forked_child_lives(tmp_path):
    arguments = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as holder:
        child = int(holder.stdout.readline())
        try:
            assert not is_free(tmp_path)
            holder.kill()
            os.waitid(os.P_PID, holder.pid, os.WEXITED | os.WNOWAIT)
            assert is_free(tmp_path)
            os.kill(child, 0)  # it lives
        finally:
            os.kill(child, signal.SIGKILL)


def in_a_fork(way):
    child = os.fork()
    if not child:
        way()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_forked_child_that_leaves_does_not_unlock_what_its_parent_holds(tmp_path):
    parent, pids = os.getpid(), []
    try:
        with lock.locked(tmp_path):
            pids.append(os.fork())
            if os.getpid() == parent:
                assert os.waitpid(pids[0], 0)[1] == 0
                assert not is_free(tmp_path)
    finally:
        if os.getpid() != parent:
            os._exit(0)
    assert is_free(tmp_path)


def test_a_forked_child_waits_for_its_parent_as_others_do(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "SECONDS_TO_WAIT", 0.1)

    def enters():
        try:
            with lock.locked(tmp_path):
                os._exit(1)
        except CheckpointError:
            os._exit(0)

    with lock.locked(tmp_path):
        assert in_a_fork(enters) == 0
    assert in_a_fork(enters) == 1
