"""`info`: versions, devices, threads, libraries and caches, as a bug report needs them."""

import argparse
import importlib.metadata
import os
import platform
import re
import sys
from pathlib import Path
from typing import Any

import torch

from opnet.environment import environment
from opnet.threads import most_threads

from .out import Out

PACKAGES = ("numpy", "scikit-learn", "matplotlib", "tqdm")
ASKED = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "CUBLAS_WORKSPACE_CONFIG")
CACHES = Path("/sys/devices/system/cpu/cpu0/cache")


def run(chosen: argparse.Namespace, out: Out) -> int:
    told = {
        **environment(),
        **{name: _version(name) for name in PACKAGES},
        "platform": platform.platform(),
        "executable": sys.executable,
        "processors": os.cpu_count(),
        "threads at most": most_threads(),
        "devices": devices(),
        "BLAS": blas(),
        "caches": caches(),
        "environment": {key: os.environ[key] for key in ASKED if key in os.environ},
    }
    width = max(map(len, told))
    out.result("\n".join(f"{key:<{width}}  {_text(value)}" for key, value in told.items()), told)
    return 0


def devices() -> list[str]:
    """What --device may name here, with what it is."""
    cuda = range(torch.cuda.device_count()) if torch.cuda.is_available() else ()
    found = ["cpu", *(f"cuda:{number} {torch.cuda.get_device_name(number)}" for number in cuda)]
    return [*found, *(["mps"] if torch.backends.mps.is_available() else [])]


def blas() -> str:
    """The library that multiplies matrices, as torch was built with it."""
    built = re.search(r"BLAS_INFO=(\w+)", torch.__config__.show())
    return built[1] if built else "not told"


def caches() -> dict[str, str]:
    """The caches of a core, where the system tells them."""
    found = {}
    for index in sorted(CACHES.glob("index*")):
        try:
            level, kind, size = ((index / part).read_text().strip() for part in _PARTS)
        except OSError:
            continue
        found[f"L{level} {kind.lower()}"] = size
    return found


_PARTS = ("level", "type", "size")


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _text(value: Any) -> str:
    if isinstance(value, dict):
        value = [f"{key} {part}" for key, part in value.items()]
    return ", ".join(value) if isinstance(value, list) else str(value)
