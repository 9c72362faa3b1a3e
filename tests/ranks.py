"""Starts ranks, each a process of its own, and says how each ended.

They come from one process that has imported torch already, and talk over loopback only.
"""

import multiprocessing
import os
import socket
import sys
import time
import traceback
from typing import Any, NamedTuple

WORKSHOP = multiprocessing.get_context("forkserver")
WORKSHOP.set_forkserver_preload(["torch", "sklearn.datasets", "opnet.parallel", "runners.run"])
os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # torch's own warnings of lost connections
DEADLINE = 40  # seconds: no test of ranks takes as long


class End(NamedTuple):
    """Of one rank: its exit code, what its job gave back, its error in one line, seconds."""

    code: int
    result: Any
    error: str
    seconds: float


def free_port():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


def on_ranks(count, job, *arguments, seconds=20.0, hung=()):
    """An End for each of `count` ranks that do `job(*arguments)`; they wait `seconds` at most.

    Nobody waits for those that are `hung`: they are killed once the others have ended.
    """
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    shared = place | {"WORLD_SIZE": str(count), "OPNET_TIMEOUT": str(seconds)}
    shared |= {"GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    started, ranks = time.monotonic(), []
    for rank in range(count):
        ours, theirs = WORKSHOP.Pipe(duplex=False)
        environment = shared | {"RANK": str(rank)}
        process = WORKSHOP.Process(target=_work, args=(theirs, environment, job, arguments))
        process.start()
        theirs.close()
        ranks.append((process, ours))
    try:
        waited = {n: _end(*rank, started) for n, rank in enumerate(ranks) if n not in hung}
        for n in hung:
            ranks[n][0].kill()
        return [waited.get(n) or _end(*rank, started) for n, rank in enumerate(ranks)]
    finally:
        for process, _ in ranks:
            process.kill()
            process.join()


def _end(process, ours, started):
    result, error = None, ""
    try:
        if ours.poll(max(0.0, started + DEADLINE - time.monotonic())):
            result, error = ours.recv()
    except EOFError:  # it was killed
        pass
    process.join(max(0.0, started + DEADLINE - time.monotonic()))
    return End(process.exitcode, result, error, time.monotonic() - started)


def _work(theirs, environment, job, arguments):
    import torch

    os.environ.update(environment)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    try:
        theirs.send((job(*arguments), ""))
    except BaseException as error:
        if os.environ.get("SHOW"):
            traceback.print_exc()
        theirs.send((None, f"{type(error).__name__}: {error}"))
        sys.exit(130 if isinstance(error, KeyboardInterrupt) else 1)
