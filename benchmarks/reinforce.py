"""A REINFORCE update (log-probabilities of tokens taken, coefficients, backward, AdamW) of 64 sequences of 32 tokens."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np

from benchmarks.report import show
from benchmarks.rounds import Row
from benchmarks.shapes import SHAPES, Shape, chosen
from benchmarks.steps import Task, compare_steps
from minillm.returns import advantages
from minillm.threads import recycle_memory

B, T, GROUP = 64, 32, 8
AIMS = {"micro": 2.0, "tiny": 1.2, "small": 1.1}  # with two threads, against torch eager


def task(shape: Shape) -> Task:
    """Return sequences whose every token was sampled, with the leave-one-out advantages of random rewards over N as weights."""
    ids = shape.tokens(B, T)
    rewards = np.random.default_rng(3).random(B)
    weights = advantages(rewards, np.arange(B) // GROUP, "leave_one_out") / B
    return Task(ids, np.roll(ids, -1, axis=1), np.repeat(weights[:, None], T, axis=1).astype(np.float32))


def rows(options: argparse.Namespace) -> Iterator[Row]:
    """Yield the lines shape by shape."""
    for name in chosen(options.shapes, AIMS):
        shape = SHAPES[name]
        aims = {"torch eager": AIMS[name]} if options.threads == 2 and name in AIMS else {}
        yield from compare_steps(name, lambda s=shape: s.model(max(s.T, T)), task(shape), aims, options.seconds, options.peers)


def main(options: argparse.Namespace) -> None:
    """Print the comparison at each shape."""
    recycle_memory()
    show(options, "reinforce", f"a REINFORCE update, B = {B}, T = {T}, medians of alternating rounds", rows(options))
