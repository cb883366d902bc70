r"""The landscape of exact J along two directions, and the path of exact gradient ascent through it.

No sampling anywhere: each step of the path is an AdamW step along the exact ∇J, and J is computed on a grid of points
$\theta_{end} + x\,u + y\,v$. The directions are the first two principal components of the path (singular vectors of
$\theta_t - \theta_{end}$; Li et al. 2018, arXiv:1712.09913, section 7): of all planes through the end, the one nearest the path.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from minillm.config import GPTConfig
from minillm.lab.exact import expected_return, expected_return_gradient
from minillm.optimizers import AdamW
from minillm.tokenizer import CharTokenizer
from minillm.transformer import GPT

MARGIN = 0.3  # of the path's extent, on each side


@dataclasses.dataclass(frozen=True)
class Landscape:
    """J on a grid of a plane, and the path in it.

    Attributes
    ----------
    x, y : ndarray of shape (n,)
        Coordinates along the two directions, in units of θ's length.
    J : ndarray of shape (n, n)
        Exact J at ``(y[i], x[j])``.
    path : ndarray of shape (steps + 1, 2)
        The path's shadow on the plane.
    values : ndarray of shape (steps + 1,)
        Exact J on the path itself.
    inside : float
        The share of the path's squared extent that lies in the plane.
    """

    x: np.ndarray
    y: np.ndarray
    J: np.ndarray
    path: np.ndarray
    values: np.ndarray
    inside: float


def small_agent(mdp: Any, seed: int = 0) -> tuple[GPT, CharTokenizer]:
    """Return a float64 model of one layer, 16 wide, that reads the states of an environment, and its tokenizer."""
    tokenizer = CharTokenizer.from_texts([*mdp.state_texts, *mdp.action_texts])
    longest = sum(int(np.char.str_len(texts).max()) for texts in (mdp.state_texts, mdp.action_texts))
    config = GPTConfig(tokenizer.vocab_size, longest + 2, 16, 1, 2, initializer_range=0.1)
    return GPT(config, rng=seed, dtype=np.float64), tokenizer


def ascend(
    mdp: Any, steps: int = 150, lr: float = 0.01, seed: int = 0, on_step: Callable[[float], None] = lambda J: None
) -> tuple[GPT, CharTokenizer, np.ndarray, np.ndarray]:
    """Climb along the exact ∇J; return the model and its tokenizer, all θ (steps + 1, P), and exact J at each (steps + 1,)."""
    model, tokenizer = small_agent(mdp, seed)
    optimizer = AdamW(model.parameters, lr, weight_decay=0.0)
    path, values = [], []
    for step in range(steps + 1):
        J, gradient = expected_return_gradient(model, tokenizer, mdp)
        path.append(model.parameters.vector.copy())
        values.append(float(J))
        on_step(float(J))
        if step < steps:
            optimizer.step(-gradient)
    return model, tokenizer, np.array(path), np.array(values)


def landscape(
    mdp: Any, steps: int = 150, n: int = 31, seed: int = 0, on_step: Callable[[float], None] = lambda J: None
) -> Landscape:
    """Return J around the path of exact gradient ascent; ``on_step`` is called with J after each step and each point of the grid."""
    model, tokenizer, thetas, values = ascend(mdp, steps, seed=seed, on_step=on_step)
    end = thetas[-1]
    _, extent, directions = np.linalg.svd(thetas - end, full_matrices=False)
    path = (thetas - end) @ directions[:2].T
    x, y = (np.linspace(*_extent(path[:, axis]), n) for axis in (0, 1))

    def at(a: float, b: float) -> float:
        J = float(expected_return(GPT.from_vector(model.config, end + a * directions[0] + b * directions[1]), tokenizer, mdp))
        on_step(J)
        return J

    J = np.array([[at(a, b) for a in x] for b in y])
    return Landscape(x, y, J, path, values, float((extent[:2] ** 2).sum() / (extent**2).sum()))


def _extent(along: np.ndarray) -> tuple[float, float]:
    low, high = along.min(), along.max()
    return low - MARGIN * (high - low), high + MARGIN * (high - low)
