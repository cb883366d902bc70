"""The process of one entry: holds itself to its cores before anything is imported, then runs ``main`` of the entry's module."""

import argparse
import json
import sys
from importlib import import_module

from benchmarks.machine import restrict

if __name__ == "__main__":
    options = argparse.Namespace(**json.loads(sys.argv[1]))
    restrict(options.threads)
    from minillm.errors import UserError  # imports NumPy, so not before

    try:
        import_module(options.module).main(options)
    except UserError as error:  # a package, a file or an environment that is missing
        sys.exit(f"{options.module}: {error}")
