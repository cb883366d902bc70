"""Models and inputs that the entries share: micro, tiny (nanoGPT's CPU setting) and small (nanoGPT's baby GPT, B = 8)."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:  # a fresh process of a peer imports nothing of ours
    from minillm import GPT, GPTConfig


@dataclasses.dataclass(frozen=True)
class Shape:
    """A model's size and the batch (B, T) that it is trained on."""

    V: int
    T: int
    B: int
    layers: int
    heads: int
    width: int

    def config(self, positions: int | None = None) -> GPTConfig:
        """Return the configuration of the model; ``positions`` defaults to T."""
        from minillm import GPTConfig

        return GPTConfig(self.V, positions or self.T, self.width, self.layers, self.heads)

    def model(self, positions: int | None = None) -> GPT:
        """Return a float32 model with weights of ordinary size and gains and shifts that are not 1 and 0."""
        from minillm import GPT

        rng = np.random.default_rng(1)
        model = GPT(self.config(positions), rng=0)
        model.parameters.vector += rng.normal(0, 0.02, model.parameters.vector.size).astype(np.float32)
        return model

    def tokens(self, B: int | None = None, T: int | None = None) -> np.ndarray:
        """Return random ids (B, T); the shape's own B and T by default."""
        return np.random.default_rng(2).integers(self.V, size=(B or self.B, T or self.T))


SHAPES = {
    "micro": Shape(V=32, T=16, B=16, layers=1, heads=4, width=16),
    "tiny": Shape(V=65, T=64, B=12, layers=4, heads=4, width=128),
    "small": Shape(V=96, T=256, B=8, layers=6, heads=6, width=384),
    "tiny-256": Shape(V=65, T=256, B=12, layers=4, heads=4, width=128),
}


def chosen(wanted: Sequence[str], default: Iterable[str]) -> list[str]:
    """Return the names of the shapes to run; an unknown one is an error with status 2."""
    for name in wanted:
        if name not in SHAPES:
            print(f"there is no shape {name!r}; there are {', '.join(SHAPES)}", file=sys.stderr)
            raise SystemExit(2)
    return list(wanted) or list(default)
