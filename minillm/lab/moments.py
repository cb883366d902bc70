r"""Mean and covariance of an estimator's $\hat g$ in a :class:`~minillm.lab.setting.Setting`, by enumeration.

An estimator that is not coupled treats each episode alone, so its moments are those of batches of one: G = 1 in what follows. A
coupled one is evaluated on every multiset of G episodes with the same start, each with the multinomial number of its orders,

$$E[\hat g] = \sum_s \mu(s) \sum_{\{i_1,\dots,i_G\}} \frac{G!}{\prod_i m_i!}\prod_j p(i_j\mid s)\;\hat g(i_1,\dots,i_G),$$

which takes the estimator to be indifferent to the order of the episodes (a test sees to that).
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from minillm.estimators import Estimator
from minillm.lab.setting import Setting

PROBES = 16  # batches that are evaluated alone, to compare with all evaluated together
CHUNK = 128  # batches in one call


@dataclasses.dataclass(frozen=True)
class Moments:
    r"""What is known of $\hat g$ from a batch of n episodes.

    Attributes
    ----------
    mean : ndarray of shape (P,)
        $E[\hat g]$.
    second : scalar
        $E\|\hat g\|^2$.
    episodes : int
        n.
    dead : scalar
        The probability that every coefficient of the batch is exactly 0.
    """

    mean: np.ndarray
    second: Any
    episodes: int
    dead: Any

    @property
    def variance(self) -> float:
        r"""$n\cdot\operatorname{tr}\operatorname{Cov}[\hat g] = n\,(E\|\hat g\|^2 - \|E\hat g\|^2)$, comparable between batch sizes."""
        return float(self.episodes * (self.second - self.mean @ self.mean))


def moments(setting: Setting, estimator: Estimator, G: int) -> Moments:
    r"""Return the moments of an estimator over batches of G episodes of one start; of one episode if it is not coupled.

    Raises
    ------
    ValueError
        If a coefficient off the mask is not exactly 0.
    """
    W, weights, dead = enumerate_estimates(setting, estimator, G)
    mean = weights @ W
    second = (weights * ((W @ setting.gram) * W).sum(axis=1)).sum()
    return Moments(mean @ setting.scores, second, G if estimator.coupled else 1, (weights * dead).sum())


def enumerate_estimates(setting: Setting, estimator: Estimator, G: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return all M values of an estimate as rows (M, K·V) over the scores, their probabilities (M,), and which are exactly 0."""
    rows, weights = tuples(setting, G if estimator.coupled else 1)
    c = tuple_coefficients(setting, estimator, rows)
    W = setting.spread(c.reshape(-1, *c.shape[2:]), rows.reshape(-1)).reshape(*rows.shape, -1).sum(axis=1)
    return W, weights, np.asarray((c == 0).reshape(len(rows), -1).all(axis=1))


def tuples(setting: Setting, G: int) -> tuple[np.ndarray, np.ndarray]:
    """Return every multiset of G episodes with the same start (M, G), and the probability of drawing it in any order (M,)."""
    start = setting.bed.start
    rows, orders = _multisets(tuple(start.tolist()), G)
    starts = start[rows[:, 0]]
    return rows, orders * setting.drawn[rows].prod(axis=1) / setting.bed.mdp.start[starts] ** (G - 1)


def tuple_coefficients(setting: Setting, estimator: Estimator, rows: np.ndarray) -> np.ndarray:
    """Return the coefficients of M batches of G episodes, ``rows`` (M, G): (M, G, T), or (M, G, T, V) if dense.

    Many batches are evaluated in one call, as groups of one batch, if the estimator couples no more than the members of a group
    (some of the batches, evaluated alone, tell); one by one otherwise.
    """
    some = {m: _checked(estimator, setting, rows[m]) for m in np.linspace(0, len(rows) - 1, min(len(rows), PROBES)).astype(int)}
    together = np.concatenate([_together(setting, estimator, rows[m : m + CHUNK]) for m in range(0, len(rows), CHUNK)])
    if all(np.abs(together[m] - c).max() <= 1e-12 * np.abs(c).max(initial=1) for m, c in some.items()):
        return together
    return np.stack([_checked(estimator, setting, i) for i in rows])


def _together(setting: Setting, estimator: Estimator, rows: np.ndarray) -> np.ndarray:
    M, G = rows.shape
    c = M * _checked(estimator, setting, rows.reshape(-1), np.repeat(np.arange(M), G))
    return c.reshape(M, G, *c.shape[1:])


def field(setting: Setting, estimator: Estimator, G: int) -> Callable[[np.ndarray], np.ndarray]:
    r"""Return $\theta \mapsto E_\theta[\hat g(\theta)]$, complex-safe if the estimator is."""
    return lambda theta: moments(setting.at(theta), estimator, G).mean


def _checked(estimator: Estimator, setting: Setting, rows: np.ndarray, groups: np.ndarray | None = None) -> np.ndarray:
    batch = setting.batch(rows, estimator.needs)
    c = estimator.coefficients(batch if groups is None else dataclasses.replace(batch, groups=groups))
    if c[~setting.bed.mask[rows]].any():
        raise ValueError(f"{estimator.name}: coefficients off the mask of episodes {rows.tolist()} are not 0")
    return c


def _multisets(start: tuple[int, ...], G: int) -> tuple[np.ndarray, np.ndarray]:
    rows = [
        chosen
        for s in sorted(set(start))
        for chosen in itertools.combinations_with_replacement([i for i, other in enumerate(start) if other == s], G)
    ]  # fmt: skip
    orders = [math.factorial(G) // math.prod(math.factorial(m) for m in Counter(chosen).values()) for chosen in rows]
    return np.array(rows), np.array(orders, dtype=float)
