"""On what a result was measured: machine, processor, BLAS, versions, threads; said with every result."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path

PACKAGES = ("numpy", "scipy", "torch", "jax", "transformers", "gymnasium")


def facts(threads: int) -> dict:
    """Return what can be found out; what cannot says "missing"."""
    return {
        "threads": threads,
        "processor": f"{processor()}, {os.cpu_count()} cores, {cores()} used",
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "BLAS": blas(),
        "versions": {name: version(name) for name in PACKAGES},
    }


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processor() -> str:
    """Return the name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def blas() -> str:
    """Return NumPy's BLAS, its kernel and its number of threads, by threadpoolctl."""
    import numpy as np

    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        return "kernel unknown: threadpoolctl is missing"
    home = str(Path(np.__file__).parent)
    found = [f"{pool['internal_api']} {pool['version']}, kernel {pool.get('architecture', 'unknown')}, {pool['num_threads']} thread(s)"
             for pool in threadpool_info() if pool["user_api"] == "blas" and pool["filepath"].startswith(home)]  # fmt: skip
    return found[0] if found else "unknown"


def version(package: str) -> str:
    """Return the version that is installed, or "missing"."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "missing"


def restrict(threads: int) -> None:
    """Hold this process, and those that it starts, to the first cores that it may use."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
