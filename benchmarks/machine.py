"""On what a result was measured: machine, processor, BLAS, versions, threads; said with every result."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path

PACKAGES = ("numpy", "scipy", "torch", "jax", "transformers", "gymnasium")


def facts(threads: int) -> dict:
    """Return what can be found out; what cannot says "missing" or "unknown"."""
    from minillm import machine  # not sooner: this process is to be restricted before NumPy comes in

    ours = machine.facts()
    return {
        "threads": threads,
        "processor": f"{processor()}, {os.cpu_count()} cores, {ours['cores']} used",
        "system": f"{ours['machine']}, Python {ours['python']}",
        "BLAS": f"{ours['blas']}, kernel {ours['blas_core'] or 'unknown'}",
        "versions": {name: version(name) for name in PACKAGES},
    }


def processor() -> str:
    """Return the name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


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
