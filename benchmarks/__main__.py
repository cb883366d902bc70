"""Run each entry with each number of threads in a fresh process, so that libraries see its environment from their start."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from benchmarks.options import names, parse

VARIABLES = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


def main() -> int:
    """Run all; return the largest status of an entry."""
    options, modules, status = vars(parse()), names(), 0
    for name in options.pop("names"):
        for threads in options["threads"]:
            environment = {key: value for key, value in os.environ.items() if key != "OPENBLAS_CORETYPE"}  # it slows NumPy
            environment |= dict.fromkeys(VARIABLES, str(threads))
            told = json.dumps({**options, "threads": threads, "module": modules[name]})
            status = max(status, abs(subprocess.run([sys.executable, "-m", "benchmarks.child", told], env=environment).returncode))
    return status


if __name__ == "__main__":
    sys.exit(main())
