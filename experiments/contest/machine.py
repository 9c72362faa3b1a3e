"""What the figures depend on besides the code: CPU, load, versions, memory of this process."""

import contextlib
import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

STATUS = Path("/proc/self/status")
PACKAGES = ("torch", "numpy", "scikit-learn", "jax", "jaxlib")


def pin(cores: int) -> None:
    """Keep this process, and what it starts, on the last `cores` of the cores that it may use.

    Thread pools that read no OMP_NUM_THREADS are held by this too. Only Linux can.
    """
    if hasattr(os, "sched_setaffinity"):
        chosen = sorted(os.sched_getaffinity(0))[-cores:]
        for thread in os.listdir("/proc/self/task"):
            os.sched_setaffinity(int(thread), chosen)


def described() -> dict[str, Any]:
    """CPU, cores, system, versions."""
    found = {}
    for name in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return {
        "cpu": cpu(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": found,
    }


def cpu() -> str:
    """The CPU's name, where the system tells."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def load() -> float:
    """How many processes wanted to run in the last minute, on average."""
    return round(os.getloadavg()[0], 2)


def memory(field: str) -> float:
    """A line of /proc/self/status in MB: VmHWM the most, VmRSS, RssAnon; nan elsewhere."""
    with contextlib.suppress(OSError):
        for line in STATUS.read_text().splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) / 1000 * 1.024
    return float("nan")


def forget_peak() -> None:
    """VmHWM counts from here on: from what is resident now."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
