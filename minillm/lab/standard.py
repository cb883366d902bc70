r"""The case on which gradients are judged: small, and blind to nothing.

Weights of ordinary scale, gains and biases random (never 1 and 0), two layers, two heads, a batch of three, repeated tokens, padding, a
context longer than the text, a tied head. The loss is a cross-entropy over the real positions plus $\langle U, z\rangle$ with a random $U$:
so no row of the upstream gradient sums to zero.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from minillm.config import GPTConfig
from minillm.objectives import IGNORE, cross_entropy
from minillm.parameters import Parameters
from minillm.transformer import GPT


@dataclasses.dataclass(frozen=True)
class Case:
    """A model, its inputs and a loss; ``theta`` (P,) float64, ``ids`` and ``targets`` (B, T), ``upstream`` U (B, T, V)."""

    config: GPTConfig
    theta: np.ndarray
    ids: np.ndarray
    targets: np.ndarray
    upstream: np.ndarray

    def layout(self, vector: np.ndarray) -> Parameters:
        """Return named views into a vector of the size of θ."""
        return Parameters(self.config.shapes(), vector)

    def dlogits(self, logits: np.ndarray) -> tuple[np.generic, np.ndarray]:
        """Return the loss and its gradient by the logits."""
        value, dlogits = cross_entropy(logits, self.targets)
        U = self.upstream.astype(logits.dtype)
        return value + (U * logits).sum(), dlogits + U

    def loss(self, theta: np.ndarray) -> np.generic:
        """Return the loss at θ, in its dtype."""
        logits, _ = GPT.from_vector(self.config, theta).forward(self.ids, keep=False)
        return self.dlogits(logits)[0]

    def gradient(self, theta: np.ndarray) -> np.ndarray:
        """Return the gradient (P,) of the loss at θ by the backward pass, in its dtype."""
        model = GPT.from_vector(self.config, theta)
        logits, cache = model.forward(self.ids)
        return model.backward(self.dlogits(logits)[1], cache)


def random_case(rng: Any, *, V: int = 7, T: int = 6, B: int = 3, H: int = 2, D: int = 4, tied: bool = True) -> Case:
    """Draw a case with a two-layer model of width H·D; parameters have a standard deviation of 0.3."""
    rng = np.random.default_rng(rng)
    config = GPTConfig(vocab_size=V, n_positions=T + 3, n_embd=H * D, n_layer=2, n_head=H, n_inner=H * D + 4, tie_word_embeddings=tied)
    parameters = Parameters(config.shapes())
    parameters.vector[:] = rng.normal(0, 0.3, parameters.vector.size)
    for name, view in parameters.items():
        if view.ndim == 1 and name.endswith("weight"):
            view += 1
    ids = rng.integers(V, size=(B, T))
    ids[:, -1] = ids[:, 0]
    targets = np.roll(ids, -1, axis=1)
    lengths = np.maximum(T - np.arange(B) % 3, 1)
    padding = np.arange(T) >= lengths[:, None]
    targets[padding] = IGNORE
    upstream = np.where(padding[..., None], 0, rng.normal(0, 1 / V, (B, T, V)))
    return Case(config, parameters.vector, ids, targets, upstream)


def block_error(given: np.ndarray, expected: Parameters) -> float:
    r"""Return the worst over named arrays of $\max|err| / \max(\max|g_{block}|, 10^{-3}\max|g|)$."""
    top = float(np.abs(expected.vector).max())
    return max(
        float(np.abs(given[span] - expected.vector[span]).max(initial=0))
        / max(float(np.abs(expected.vector[span]).max(initial=0)), 1e-3 * top)
        for span in expected.slices.values()
    )
