"""The physical limit of a training step: its matrix products alone, of the same shapes, by the same BLAS, on as many threads."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from benchmarks.rounds import Row, Side, alternate, row
from benchmarks.shapes import Shape
from benchmarks.steps import Ours, Task
from minillm.gradients import default_parts
from minillm.ops.attention import QUERIES
from minillm.threads import parallel_map, single_threaded_blas

NAME = "its matrix products alone"
AIMS = {"tiny": 1.25, "small": 1.25}
Product = tuple[np.ndarray, np.ndarray, np.ndarray]  # a, b, and where a @ b is written
Draw = Callable[..., np.ndarray]


def linear(rows: int, inner: int, outer: int, draw: Draw) -> list[Product]:
    """The products of y = x W: y itself, x̄ = ȳ Wᵀ, W̄ = xᵀ ȳ."""
    x, W, y, dx, dW = draw(rows, inner), draw(inner, outer), draw(rows, outer), draw(rows, inner), draw(inner, outer)
    return [(x, W, y), (y, W.T, dx), (x.T, y, dW)]


def attention(B: int, H: int, T: int, D: int, draw: Draw) -> list[Product]:
    """The products of causal attention, block by block: S = Q Kᵀ, O = P V, V̄ = Pᵀ Ō, P̄ = Ō Vᵀ, Q̄ = S̄ K, K̄ = S̄ᵀ Q."""
    products: list[Product] = []
    for start in range(0, T, QUERIES):
        stop = min(start + QUERIES, T)
        (q, o), (k, v, d), p = draw(2, B, H, stop - start, D), draw(3, B, H, stop, D), draw(B, H, stop - start, stop)
        turned, s = p.swapaxes(-1, -2), np.empty_like(p)
        products += [(q, k.swapaxes(-1, -2), s), (p, v, o), (turned, q, d), (q, v.swapaxes(-1, -2), s), (p, k, o), (turned, o, d)]
    return products


def products(shape: Shape, B: int) -> list[Product]:
    """Return all matrix products of a step of B sequences."""
    rng, C, rows = np.random.default_rng(0), shape.width, B * shape.T

    def draw(*size: int) -> np.ndarray:
        return rng.random(size, dtype=np.float32)

    layer = [(C, 3 * C), (C, C), (C, 4 * C), (4 * C, C)]
    maps = [product for inner, outer in layer for product in linear(rows, inner, outer, draw)]
    maps += attention(B, shape.heads, shape.T, C // shape.heads, draw)
    return maps * shape.layers + linear(rows, C, shape.V, draw)


def side(shape: Shape, parts: int) -> Side:
    """Return the products of all parts of the batch, side by side as the step's parts are."""
    sizes = [len(part) for part in np.array_split(np.arange(shape.B), parts)]
    batches = [products(shape, size) for size in sizes]

    def run(batch: list[Product]) -> None:
        for a, b, out in batch:
            np.matmul(a, b, out=out)

    def all_parts() -> None:
        with single_threaded_blas():
            parallel_map(run, batches)

    return Side(all_parts)


def compare(case: str, shape: Shape, task: Task, seconds: float) -> list[Row]:
    """Return our step as a multiple of its products."""
    model = shape.model()
    ours = Ours(model, task)
    times = alternate({"ours": Side(ours.step), NAME: side(shape, default_parts(model, task.ids))}, seconds)
    return [row(case, NAME, times["ours"], times[NAME], aim=AIMS.get(case), multiple=True)]
