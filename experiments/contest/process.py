"""The processes of the competitors, and how they are asked."""

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
OPNET = "opnet"
COMPETITORS = {  # the name in the tables: the file in experiments/competitors
    OPNET: "opnet_runner",
    "book": "book",
    "autograd": "autograd",
    "compiled": "compiled",
    "sklearn": "mlp_classifier",
    "numpy": "numpy_loop",
    "jax": "jax_scan",
}
ON_A_GPU = (OPNET, "autograd", "compiled")
COMPILE = ("compiled", "jax")  # their first call counts apart


def environment(cores: int) -> dict[str, str]:
    """As many threads as cores, in every pool that can be told; experiments can be imported."""
    threads = {f"{pool}_NUM_THREADS": str(cores) for pool in ("OMP", "MKL", "OPENBLAS")}
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return os.environ | threads | {"PYTHONPATH": path}


class Process:
    """A competitor in a process of its own."""

    def __init__(self, name: str, cores: int, place: Path) -> None:
        self.errors = place / f"{name}.log"
        caches = {"TORCHINDUCTOR_CACHE_DIR": str(place)}  # what another run compiled does not count
        with self.errors.open("w") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "experiments.contest", COMPETITORS[name], str(cores)],
                env=environment(cores) | caches,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )

    def ask(self, order: dict[str, Any]) -> dict[str, Any]:
        """The answer to an order; how the process has ended, if it has, is a `no` from then on."""
        assert self.process.stdin
        assert self.process.stdout
        with contextlib.suppress(BrokenPipeError):
            print(json.dumps(order), file=self.process.stdin, flush=True)
        if line := self.process.stdout.readline():
            return dict(json.loads(line))
        last = (self.errors.read_text().splitlines() or ["nothing on stderr"])[-1]
        return {"no": f"ended with {self.process.wait()}: {last}"}

    def close(self) -> None:
        self.process.kill()
        with contextlib.suppress(BrokenPipeError):
            self.process.communicate()
