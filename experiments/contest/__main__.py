"""A competitor's own process: `python -m experiments.contest NAME CORES`, a job a line of stdin.

{"prepare": the file of a pickled Problem} makes ready, {} runs; each is answered by a line of JSON
on stdout. A `no` in the answer says why a competitor cannot.
"""

import gc
import importlib
import json
import os
import pickle
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from experiments.contest import machine
from experiments.contest.problem import Histories, Unfit


def prepared(competitor: Any, file: str) -> Callable[[], Any]:
    problem = pickle.loads(Path(file).read_bytes())  # of the process that started this one
    return (competitor.train if problem.case.epochs else competitor.predict)(problem)


def timed(job: Callable[[], Any]) -> dict[str, Any]:
    """Seconds on the wall and on the CPU, MB at the peak over what is there now, what came out."""
    gc.collect()
    machine.forget_peak()
    before, cpu, start = machine.memory("VmRSS"), time.process_time(), time.perf_counter()
    came = job()
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    peak = machine.memory("VmHWM") - before
    histories = came._asdict() if isinstance(came, Histories) else {"mean": [float(came.mean())]}
    return {"seconds": seconds, "cpu": cpu, "peak": peak, "histories": histories}


def serve(name: str, cores: int) -> None:
    """Answer orders until stdin ends. What a library prints goes to stderr."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    warnings.simplefilter("ignore")  # of competitors, that a run has not converged
    competitor: Any = None
    absent, job = "", None
    try:
        competitor = importlib.import_module(f"experiments.competitors.{name}")
    except Unfit as reason:
        absent = str(reason)
    machine.pin(cores)  # before a thread pool is made, which comes with the first work
    for line in sys.stdin:
        order, answer = json.loads(line), {"no": absent}
        try:
            if not absent and "prepare" in order:
                job = None  # the last one's memory goes first
                job, answer = prepared(competitor, order["prepare"]), {}
            elif job:
                answer = timed(job)
        except (Unfit, MemoryError) as reason:
            job, answer = None, {"no": str(reason) or "out of memory"}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
