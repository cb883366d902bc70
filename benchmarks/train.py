"""One training step (forward, cross-entropy, backward, AdamW) against PyTorch eager: same parameters, same batch, equal gradients."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable

import numpy as np

from benchmarks.shapes import SHAPES, Shape
from minillm.optimizers import AdamW
from minillm.threads import recycle_memory, single_threaded_blas
from minillm.training import likelihood_gradient

ROUNDS = 11
STEPS = {"micro": 100, "tiny": 3, "small": 1}
TARGETS = {1: {"micro": 2.0, "tiny": 1.15, "small": 1.1}, 2: {"micro": 2.0, "tiny": 1.2, "small": 1.1}}


def ours(shape: Shape, ids: np.ndarray, targets: np.ndarray) -> Callable[[], tuple[float, np.ndarray]]:
    """Return our step, which returns loss and gradient."""
    model = shape.model()
    optimizer = AdamW(model.parameters, 1e-5)

    def step() -> tuple[float, np.ndarray]:
        with single_threaded_blas():
            loss, gradient = likelihood_gradient(model, ids, targets)
            optimizer.step(gradient)
        return loss, gradient

    return step


def theirs(shape: Shape, ids: np.ndarray, targets: np.ndarray) -> Callable[[bool], tuple[float, np.ndarray | None]]:
    """Return PyTorch's step, which returns loss and, if asked, the gradient in our layout."""
    import torch

    from benchmarks.peers import torch_gpt

    model = shape.model()
    peer = torch_gpt.from_ours(model)
    x, y = torch.from_numpy(ids), torch.from_numpy(targets)
    optimizer = torch.optim.AdamW(peer.parameters(), lr=1e-5, fused=True)

    def step(gradient: bool = False) -> tuple[float, np.ndarray | None]:
        optimizer.zero_grad(set_to_none=True)
        loss = torch_gpt.cross_entropy(peer(x)[0], y)
        loss.backward()
        optimizer.step()
        return loss.item(), torch_gpt.flat_gradient(peer, model.parameters) if gradient else None

    return step


def milliseconds(step: Callable, number: int) -> float:
    """Return the wall time of one call, from a row of ``number`` calls."""
    begin = time.perf_counter()
    for _ in range(number):
        step()
    return (time.perf_counter() - begin) / number * 1e3


def compare(name: str, threads: int) -> dict:
    """Assert that losses and gradients agree, then alternate both sides in rounds."""
    shape = SHAPES[name]
    ids = shape.tokens()
    targets = np.roll(ids, -1, axis=1)
    step, peer = ours(shape, ids, targets), theirs(shape, ids, targets)
    (loss, gradient), (peer_loss, peer_gradient) = step(), peer(True)
    np.testing.assert_allclose(loss, peer_loss, rtol=1e-5)
    assert np.abs(gradient - peer_gradient).max() <= 1e-5 * np.abs(peer_gradient).max()
    rounds = [(milliseconds(step, STEPS[name]), milliseconds(peer, STEPS[name])) for _ in range(ROUNDS + 1)][1:]
    mine, other = (statistics.median(column) for column in zip(*rounds, strict=True))
    ratio = statistics.median(b / a for a, b in rounds)
    return {"shape": name, "threads": threads, "ours_ms": mine, "torch_ms": other, "ratio": ratio, "target": TARGETS[threads][name]}


def main(options: argparse.Namespace) -> None:
    """Print the comparison at each shape, or say that the peer is missing."""
    os.sched_setaffinity(0, range(options.threads))
    recycle_memory()  # as `minillm train` does; the setting holds for both sides
    try:
        import torch
    except ImportError:
        print("train: the peer is missing: pip install '.[bench]'")
        return
    torch.set_num_threads(options.threads)
    rows = [compare(name, options.threads) for name in STEPS]
    if options.json:
        print(json.dumps({"benchmark": "train", "torch": torch.__version__, "rows": rows}))
        return
    print(f"training step against PyTorch {torch.__version__} eager, {options.threads} thread(s), medians of {ROUNDS} alternating rounds")
    for row in rows:
        print(f"{row['shape']:6}: {row['ours_ms']:9.2f} ms, peer {row['torch_ms']:9.2f} ms, ratio {row['ratio']:5.2f} (aim {row['target']})")
