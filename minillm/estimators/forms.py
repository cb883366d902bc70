r"""The three forms that most estimators have: a coefficient and the surrogate F that it is the derivative of.

With advantages A (constants), weights $w_{it}$ of the mean over tokens, and $x_{it} = \log\pi_\theta/\pi_{old}$ of the token taken
(or $\log\pi_\theta/\pi_{ref}$, or $\ell$ itself):

* ``constant``: $F = \sum w A\,\ell$, so $c = wA$;
* ``token_level``: $F = \sum w\,f(x_{it}, A)$, so $c = w f'(x_{it}, A)$, because $\partial x_{it}/\partial\ell_{it} = 1$;
* ``sequence_level``: $F = \frac1N\sum_i f(X_i, A_i)$ with $X_i = \sum_t x_{it}$ or its mean over the $|o_i|$ tokens, so every token of
  episode i has $c = \frac1N f'(X_i, A_i)$, over $|o_i|$ for the mean.

The three weights, for lengths 2 (A = 1) and 8 (A = −1): per episode ½ and −½ a token, the mean over each sequence ¼ and −1/16, the mean
over all tokens 1/10 and −1/10. Only the first leaves an expectation alone; the other two tie the step to the length.
Everything masked: every coefficient is 0 and F = 0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from minillm.estimators.batch import Batch
from minillm.estimators.weights import Weight


class Form(NamedTuple):
    """``coefficients`` and ``surrogate`` of an :class:`~minillm.estimators.Estimator`."""

    coefficients: Callable[[Batch], np.ndarray]
    surrogate: Callable[[Batch], Any]


def per_episode(batch: Batch) -> np.ndarray:
    """Return 1/N for every token (N, 1)."""
    return np.full((len(batch), 1), 1 / max(len(batch), 1))


def sequence_mean(batch: Batch) -> np.ndarray:
    """Return 1/(N·|o_i|) for every token of episode i (N, 1)."""
    return per_episode(batch) / np.maximum(batch.lengths(), 1)[:, None]


def token_mean(batch: Batch) -> np.ndarray:
    """Return 1/Σ|o_i|, over the whole batch, for every token (N, 1)."""
    return np.full((len(batch), 1), 1 / max(int(batch.mask.sum()), 1))


def constant(advantage: Callable[[Batch], np.ndarray], scale: Callable[[Batch], np.ndarray] = per_episode) -> Form:
    """Return the form whose coefficient does not depend on ``log_probs``; ``advantage`` gives (N,) or (N, T)."""

    def coefficients(batch: Batch) -> np.ndarray:
        return np.where(batch.mask, scale(batch) * _columns(advantage(batch)), 0)

    def surrogate(batch: Batch) -> Any:
        c = coefficients(batch)
        return (np.where(c != 0, batch.given("log_probs"), 0) * c).sum()

    return Form(coefficients, surrogate)


def token_level(
    advantage: Callable[[Batch], np.ndarray],
    weight: Weight,
    scale: Callable[[Batch], np.ndarray] = per_episode,
    log_ratio: Callable[[Batch], np.ndarray] = Batch.log_ratio,
) -> Form:
    """Return the form with a ratio for each token; ``advantage`` gives (N,) or (N, T), ``log_ratio`` x (N, T)."""

    def apply(f: Callable[[np.ndarray, np.ndarray], np.ndarray], batch: Batch) -> np.ndarray:
        A = np.broadcast_to(_columns(advantage(batch)), batch.mask.shape)
        return np.where(batch.mask, scale(batch) * f(log_ratio(batch), A), 0)

    return Form(lambda batch: apply(weight.slope, batch), lambda batch: apply(weight.value, batch).sum())


def sequence_level(
    advantage: Callable[[Batch], np.ndarray],
    weight: Weight,
    *,
    mean: bool = False,
    log_ratio: Callable[[Batch], np.ndarray] = Batch.log_ratio,
) -> Form:
    """Return the form with a ratio for each sequence, or with the geometric mean of its tokens' ratios; ``advantage`` gives (N,)."""

    def of_sequence(batch: Batch) -> tuple[np.ndarray, np.ndarray]:
        divisor = np.maximum(batch.lengths(), 1) if mean else np.ones(len(batch))
        return batch.episode_sums(log_ratio(batch)) / divisor, divisor

    def coefficients(batch: Batch) -> np.ndarray:
        x, divisor = of_sequence(batch)
        return np.where(batch.mask, per_episode(batch) * (weight.slope(x, advantage(batch)) / divisor)[:, None], 0)

    def surrogate(batch: Batch) -> Any:
        x, _ = of_sequence(batch)
        return (per_episode(batch)[:, 0] * weight.value(x, advantage(batch))).sum()

    return Form(coefficients, surrogate)


def _columns(A: np.ndarray) -> np.ndarray:
    return A[:, None] if A.ndim == 1 else A
