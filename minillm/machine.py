"""What the last bits of a result depend on beside configuration and seed: the software and the processor that did the arithmetic."""

from __future__ import annotations

import functools
import os
import platform
from typing import Any

import numpy as np
import scipy

from minillm import __version__
from minillm.threads import describe


@functools.cache
def facts() -> dict[str, Any]:
    """Return versions, BLAS with the kernels that it chose, and vector instructions; ``cores`` is said, but changes no bit."""
    config: Any = np.show_config(mode="dicts")
    blas, simd = config["Build Dependencies"]["blas"], config["SIMD Extensions"]
    return {
        "minillm": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "blas": f"{blas['name']} {blas['version']}",
        "simd": [*simd.get("baseline", []), *simd.get("found", [])],
        "libc": " ".join(platform.libc_ver()),
        "machine": f"{platform.system()} {platform.machine()}",
        "environment": {name: os.environ[name] for name in ("OPENBLAS_CORETYPE", "NPY_DISABLE_CPU_FEATURES") if name in os.environ},
    } | describe()


def differences(before: Any) -> dict[str, str]:
    """Return what has changed since ``before``, which :func:`facts` returned, and may change bits: ``{"numpy": "'2.1' and was '2.0'"}``."""
    before = before if isinstance(before, dict) else {}
    now = {name: value for name, value in facts().items() if name != "cores"}
    return {name: f"{value!r:.100} and was {before.get(name)!r:.100}" for name, value in now.items() if before.get(name) != value}
