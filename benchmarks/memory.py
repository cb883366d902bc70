"""Memory at the peak of a training step, each side in a process of its own; what is kept for the backward, by name and bytes."""

from __future__ import annotations

import argparse
import collections
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec

from benchmarks.report import show
from benchmarks.rounds import Row, absent, present, row
from benchmarks.shapes import SHAPES, chosen

TORCH = "torch eager"
AIM = 1.0  # no more than torch
PROCESSES = 5  # the allocator makes the peak of one differ from the next


def measure(side: str, shape: str) -> dict[str, float]:
    """Return what a process of that side says of itself, in MB."""
    if side != "ours" and find_spec(side) is None:
        raise ModuleNotFoundError(name=side)
    command = [sys.executable, "-m", "benchmarks.first_step", side, shape, "memory"]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def rows(options: argparse.Namespace) -> Iterator[Row]:
    """Yield the lines shape by shape."""
    for name in chosen(options.shapes, ["tiny", "small", "tiny-256"]):
        there, missing = present({TORCH: lambda name=name: measure("torch", name)}, options.peers)
        ours = [measure("ours", name) for _ in range(PROCESSES)]
        for peer, first in there.items():
            theirs = [first] + [measure("torch", name) for _ in range(PROCESSES - 1)]
            for case, key in ((f"{name}, the step", "step"), (f"{name}, the process", "peak")):
                yield row(case, peer, [run[key] for run in ours], [run[key] for run in theirs], aim=AIM, unit="MB", multiple=True)
        yield from absent(name, missing)
        yield Row(f"{name}, our arrays", "(tracemalloc)", ours[0]["traced"], unit="MB")
        shape, kept = SHAPES[name], collections.Counter[str]()
        for part, size in shape.model().activation_ledger(shape.B, shape.T).items():
            kept[re.sub(r"^h\.\d+", "h.*", part)] += size
        yield Row(f"{name}, kept in all", "(activation ledger)", kept.total() / 2**20, unit="MB")
        yield from (Row(f"{name}, kept of", part, size / 2**20, unit="MB") for part, size in kept.items())


def main(options: argparse.Namespace) -> None:
    """Print the comparison at each shape."""
    show(options, "memory", "peak of a training step, above what was there before it; and of its process", rows(options))
