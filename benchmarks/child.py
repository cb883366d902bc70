"""The process of one entry: holds itself to its cores before anything is imported, then runs ``main`` of the entry's module."""

import argparse
import json
import sys
from importlib import import_module

from benchmarks.machine import restrict

if __name__ == "__main__":
    options = argparse.Namespace(**json.loads(sys.argv[1]))
    restrict(options.threads)
    import_module(options.module).main(options)
