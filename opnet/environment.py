"""What the last bits of a run depend on, besides its settings."""

import platform
from typing import Any

import torch

from . import __version__


def environment(device: torch.device | None = None) -> dict[str, Any]:
    """Versions, threads, the kind of CPU, the device: two runs alike in them give the same bits."""
    device = device or torch.device("cpu")
    return {
        "opnet": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "cpu": f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}",
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
    }
