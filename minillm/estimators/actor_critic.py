r"""Advantages from a value function, and the gradient over all actions.

With any V (a function of the context alone, and so a baseline)

$$E\Big[\sum_t (G_t - V_t)\,\nabla\ell_t\Big] = \nabla J, \qquad c_{it} = \frac1N\,(G_{it} - V_{it}) \tag{1}$$

Bootstrapping replaces what is still to come by V, and is right only as far as V is
(:func:`minillm.estimators.advantages.gae`). The expectation over the next token need not be sampled: since
$\sum_v\pi_v\,\nabla\log\pi_v\,Q_v = E[Q\,\nabla\ell_t]$ in each context,

$$C_{itv} = \frac1N\,\pi_v\,Q_v \tag{2}$$

has the same expectation and less variance.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minillm.estimators.advantages import gae as gae_advantages
from minillm.estimators.advantages import to_go
from minillm.estimators.batch import Batch
from minillm.estimators.estimator import Estimator, register
from minillm.estimators.forms import constant, per_episode
from minillm.estimators.reinforce import unbiased


def value_baseline(gamma: float = 1.0) -> Estimator:
    """Return reward-to-go minus the learned value of the context; with γ < 1 it has no objective."""
    return Estimator(
        "value_baseline", "∇J" if gamma == 1 else "no gradient of any function", "c[i,t] = (G[i,t] − V[i,t]) / N",
        "Sutton et al. 2000, theorem 1", *constant(lambda batch: to_go(batch, gamma) - batch.given("values")),  # (1)
        factor=unbiased if gamma == 1 else None, needs=("values",),
    )  # fmt: skip


def gae(gamma: float = 1.0, lam: float = 0.95) -> Estimator:
    """Return generalised advantages; exact for any V at γ = λ = 1, and for the exact V at γ = 1 and any λ.

    γ = 1 is the objective of this package, and what reward models of text are trained with; λ = 0.95 is that of the papers.
    """
    exact = gamma == 1 and lam == 1
    return Estimator(
        "gae", "∇J" if exact else "∇J where V is exact" if gamma == 1 else "no gradient of any function",
        "c[i,t] = Σ_l (γλ)^l δ[i,t+l] / N, δ = r + γV' − V", "Schulman et al. 2016, eq. 16",
        *constant(lambda batch: gae_advantages(batch, gamma, lam)), factor=unbiased if exact else None, needs=("values",),
    )  # fmt: skip


def a2c(gamma: float = 1.0) -> Estimator:
    r"""Return the advantage actor-critic: all rewards up to the end of the rollout, then V of where it was cut off, minus V.

    It is :func:`gae` at λ = 1, and :func:`value_baseline` with ``last_values`` after episodes that were cut off.
    """
    return Estimator(
        "a2c", "∇J" if gamma == 1 else "no gradient of any function", "c[i,t] = (Σ_l γ^l r[i,t+l] + γ^k V_end − V[i,t]) / N",
        "Mnih et al. 2016, section 4 and algorithm S3", *constant(lambda batch: gae_advantages(batch, gamma, 1.0)),
        factor=unbiased if gamma == 1 else None, needs=("values",),
    )  # fmt: skip


def all_action() -> Estimator:
    r"""Return the expected gradient: every token of the vocabulary at each sampled context, weighted by its probability and Q.

    $F = \frac1N\sum_{it}\sum_v \pi_v\,Q_v$ with Q constant, so $C_{itv} = \pi_v Q_v/N$. With the exact Q only the contexts are random.
    """

    def terms(batch: Batch) -> np.ndarray:
        p = np.where(batch.mask[..., None], np.exp(batch.given("full_log_probs")), 0)
        return per_episode(batch)[..., None] * p * np.where(p != 0, batch.given("q"), 0)  # (2)

    def surrogate(batch: Batch) -> Any:
        return terms(batch).sum()

    return Estimator(
        "all_action", "∇J with the exact Q", "C[i,t,v] = π(v)·Q(v) / N", "Sutton et al. 2000, theorem 1; Ciosek & Whiteson 2018",
        terms, surrogate, factor=unbiased, dense=True, needs=("full_log_probs", "q"),
    )  # fmt: skip


for make in (value_baseline, gae, a2c, all_action):
    register(make())
