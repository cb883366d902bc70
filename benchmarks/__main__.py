"""`python -m benchmarks NAME [--json] [--threads N]`: run one benchmark, whose module has `main(options)`."""

import argparse
import os
from importlib import import_module

NAMES = ("envs", "families", "fit", "train")


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", choices=NAMES)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--threads", type=int, choices=(1, 2), default=1, help="threads of the linear algebra library")
    return parser.parse_args()


if __name__ == "__main__":
    options = parse()
    os.environ["OPENBLAS_NUM_THREADS"] = str(options.threads)
    os.environ.pop("OPENBLAS_CORETYPE", None)
    import_module(f"benchmarks.{options.name}").main(options)
