"""Facts about where an attempt runs: what a reader of its result may want to know.

Gathered without importing torch, which would take longer than all the rest.
"""

from __future__ import annotations

import os
import platform
import socket
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

from convoy.records import Json

PACKAGES = ("torch", "torchvision", "timm", "numpy", "ray", "convoy")


def environment(*, gpus: float = 0.0) -> dict[str, Json]:
    """Return host, device, versions and the process, as plain JSON.

    Args:
        gpus: GPUs that the attempt takes; with none, no driver is asked.
    """
    process = psutil.Process()
    return {
        "host": socket.gethostname(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
        "cpu": cpu_model(),
        "cpus": os.cpu_count() or 0,
        "memory_mib": round(psutil.virtual_memory().total / 2**20),
        "gpus": gpu_facts() if gpus else [],
        "pid": process.pid,
        "process_started_s": process.create_time(),
    }


@cache
def cpu_model() -> str:
    """Return the processor's name, or its architecture where that is not told."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()


@cache
def gpu_facts() -> list[dict[str, str]]:
    """Return name, memory and driver of every GPU that the driver shows; none without a driver."""
    fields = ("name", "memory.total", "driver_version")
    command = ["nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    rows = (line.split(",") for line in done.stdout.splitlines() if line.strip())
    names = ("name", "memory", "driver")
    return [dict(zip(names, (part.strip() for part in row), strict=False)) for row in rows]


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
