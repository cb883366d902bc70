r"""Entropy: of each token's distribution in a frozen context, and of whole sequences.

$H = -E[\ell]$ and $E[\nabla\ell] = 0$, so $\nabla H = -E[\ell\,\nabla\ell]$. With $L = \sum_t\ell_t$ this is the sequence's entropy; token
by token it is the sum of token entropies with the contexts held fixed, which is another thing: it is blind to a token's leading to
contexts of higher entropy. Lower variance has the dense form, which sums over the vocabulary instead of sampling from it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minillm.estimators.batch import Batch
from minillm.estimators.estimator import Estimator, register
from minillm.estimators.forms import per_episode, sequence_level, token_level
from minillm.estimators.weights import Weight

SQUARE = Weight(lambda x, A: A * x**2 / 2, lambda x, A: A * x)


def _log_probs(batch: Batch) -> np.ndarray:
    return batch.given("log_probs")


def token_entropy(beta: float = 1.0) -> Estimator:
    r"""Return the gradient of $\beta H = -\beta\sum_v\pi_v\log\pi_v$ at each sampled context; a token of probability 0 has 0."""

    def terms(batch: Batch, one: float) -> np.ndarray:
        p = np.where(batch.mask[..., None], np.exp(batch.given("full_log_probs")), 0)
        return -beta * per_episode(batch)[..., None] * p * (np.where(p != 0, batch.given("full_log_probs"), 0) + one)

    def surrogate(batch: Batch) -> Any:
        return terms(batch, 0.0).sum()

    return Estimator(
        "token_entropy", "∇ of the frozen-context entropy", "C[i,t,v] = −β·π(v)·(log π(v) + 1) / N",
        "Williams & Peng 1991; Mnih et al. 2016, section 4",
        lambda batch: terms(batch, 1.0), surrogate, dense=True, needs=("full_log_probs",),
    )  # fmt: skip


def token_entropy_sampled(beta: float = 1.0, scale: Callable[[Batch], np.ndarray] = per_episode) -> Estimator:
    """Return the same expectation from the tokens taken alone."""
    return Estimator(
        "token_entropy_sampled", "∇ of the frozen-context entropy", "c[i,t] = −β·ℓ[i,t] / N", "Williams & Peng 1991",
        *token_level(lambda batch: np.full(len(batch), -beta), SQUARE, scale, _log_probs),
    )  # fmt: skip


def sequence_entropy(beta: float = 1.0) -> Estimator:
    r"""Return the gradient of the entropy of whole sequences (episodes): $F = -\frac\beta{2N}\sum_i L_i^2$."""
    return Estimator(
        "sequence_entropy", "∇ of the sequence entropy", "c[i,t] = −β·Σ_s ℓ[i,s] / N", "Williams & Peng 1991",
        *sequence_level(lambda batch: np.full(len(batch), -beta), SQUARE, log_ratio=_log_probs),
    )  # fmt: skip


for make in (token_entropy, token_entropy_sampled, sequence_entropy):
    register(make())
