"""`import` and the first training step of a fresh process, wall time, against PyTorch."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec

from benchmarks.report import show
from benchmarks.rounds import Row, Side, absent, compare, present
from benchmarks.shapes import chosen

AIMS = {"micro": 5.0, "tiny": 5.0}


def process(side: str, shape: str) -> Callable[[], object]:
    """Return a call that runs a fresh process to its end."""
    if side != "ours" and find_spec(side) is None:
        raise ModuleNotFoundError(name=side)
    return lambda: subprocess.run([sys.executable, "-m", "benchmarks.first_step", side, shape, "import"], check=True)


def rows(options: argparse.Namespace) -> Iterator[Row]:
    """Yield the lines shape by shape."""
    for name in chosen(options.shapes, AIMS):
        there, missing = present({"torch": lambda name=name: process("torch", name)}, options.peers)
        aims = {"torch": AIMS[name]} if name in AIMS else {}
        yield from compare(name, Side(process("ours", name)), {peer: Side(run) for peer, run in there.items()}, aims, options.seconds)
        yield from absent(name, missing)


def main(options: argparse.Namespace) -> None:
    """Print the comparison at each shape."""
    show(options, "import", "import and first step of a fresh process, medians of alternating processes", rows(options))
