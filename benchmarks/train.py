"""One training step (forward, cross-entropy, backward, AdamW) against PyTorch and JAX, and against its matrix products alone."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np

from benchmarks import limit
from benchmarks.report import show
from benchmarks.rounds import Row
from benchmarks.shapes import SHAPES, Shape, chosen
from benchmarks.steps import Task, compare_steps
from minillm.threads import recycle_memory

TORCH = {1: {"micro": 2.0, "tiny": 1.15, "small": 1.1}, 2: {"micro": 2.0, "tiny": 1.2, "small": 1.1}}
JAX_MICRO = 1.1


def aims(name: str, threads: int) -> dict[str, float]:
    """Return the ratios to reach at a shape: with two threads against every peer."""
    aim = TORCH.get(threads, {}).get(name)
    if aim is None:
        return {}
    others = {"torch.compile": aim, "JAX jit": JAX_MICRO if name == "micro" else aim}
    return {"torch eager": aim} | (others if threads == 2 else {})


def task(shape: Shape) -> Task:
    """Return the shape's batch: random tokens, each row's next tokens as targets."""
    ids = shape.tokens()
    return Task(ids, np.roll(ids, -1, axis=1))


def rows(options: argparse.Namespace) -> Iterator[Row]:
    """Yield the lines shape by shape."""
    for name in chosen(options.shapes, ["micro", "tiny", "small", "tiny-256"]):
        shape = SHAPES[name]
        yield from compare_steps(name, shape.model, task(shape), aims(name, options.threads), options.seconds, options.peers)
        yield from limit.compare(name, shape, task(shape), options.seconds)


def main(options: argparse.Namespace) -> None:
    """Print the comparison at each shape."""
    recycle_memory()  # as `minillm train` does; the setting holds for all sides
    show(options, "train", "a training step, medians of alternating rounds", rows(options))
