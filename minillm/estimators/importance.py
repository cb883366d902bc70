r"""Importance weights: episodes of an old policy, the gradient at the current one.

For an episode τ of $\pi_{old}$, $J(\theta) = E_{old}[\rho(\tau)\,R]$ with $\rho(\tau) = \prod_t\pi_\theta/\pi_{old}$, for every θ.
So the gradient of $F = \frac1N\sum_i\rho_iR_i$ has expectation ∇J. With $\partial\rho_i/\partial\ell_{it} = \rho_i$

$$c_{it} = \frac1N\,\rho_i\,R_i \tag{1}$$

A reward depends on no token after it, so the product may stop at its decision k (Precup, Sutton & Singh 2000); $\ell_{it}$ is in all
products from its own decision on:

$$F = \frac1N\sum_{ik}\rho_{i,0:k}\,r_{ik}, \qquad c_{it} = \frac1N\sum_{k\ge k(t)}\rho_{i,0:k}\,r_{ik} \tag{2}$$

A product over one token alone forgets that the contexts are the old policy's.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minillm.estimators.advantages import to_go, vtrace
from minillm.estimators.batch import Batch
from minillm.estimators.estimator import Estimator, register
from minillm.estimators.forms import per_episode, sequence_level, token_level
from minillm.estimators.reinforce import unbiased
from minillm.estimators.weights import RATIO, truncated


def is_token(gamma: float = 1.0) -> Estimator:
    r"""Return the weight of each token alone: $\nabla E_{old}[\sum_t\sum_v\pi_\theta(v)\,Q^{old}(v)]$, in contexts of the old policy."""
    return Estimator(
        "is_token", "∇ of the surrogate of the old policy's contexts (at θ = θ_old: ∇J)", "c[i,t] = ρ[i,t]·G[i,t] / N",
        "Kakade & Langford 2002; Schulman et al. 2015, eq. 3", *token_level(lambda batch: to_go(batch, gamma), RATIO),
    )  # fmt: skip


def is_sequence() -> Estimator:
    """Return the weight of the whole episode."""
    return Estimator(
        "is_sequence", "∇J", "c[i,t] = Π_s ρ[i,s]·R_i / N", "Precup, Sutton & Singh 2000",
        *sequence_level(Batch.total_rewards, RATIO), factor=unbiased, off_policy=True,  # (1)
    )  # fmt: skip


def is_truncated(c: float = 1.0) -> Estimator:
    r"""Return the weight of the whole episode, at most c.

    It is $\nabla E_{old}[R\,\Phi(\rho)]$ with $\Phi = \rho$ up to c and $c\,(1+\log\rho/c)$ beyond.
    """
    return Estimator(
        "is_truncated", "∇ of E_old[R·Φ(ρ)], Φ' = min(1, c/ρ) (at θ = θ_old and c ≥ 1: ∇J)", "c[i,t] = min(Π_s ρ[i,s], c)·R_i / N",
        "Ionides 2008", *sequence_level(Batch.total_rewards, truncated(0.0, c)),
    )  # fmt: skip


def per_decision(batch: Batch) -> tuple[np.ndarray, np.ndarray]:
    r"""Return, for each decision k, $\rho_{0:k}\,r_k$ (N, K): the ratio of all tokens up to its end times its rewards; and turns (N, T)."""
    turns = np.where(batch.mask, batch.turns, 0)
    rows, _ = np.nonzero(batch.mask)
    shape = (len(batch), int(turns.max(initial=0)) + 1)
    log_ratio, rewards = batch.log_ratio(), batch.given("rewards")
    x, r = np.zeros(shape, log_ratio.dtype), np.zeros(shape, rewards.dtype)
    np.add.at(x, (rows, turns[batch.mask]), log_ratio[batch.mask])
    np.add.at(r, (rows, turns[batch.mask]), rewards[batch.mask])
    return np.exp(np.add.accumulate(x, axis=1)) * r, turns


def is_decision() -> Estimator:
    r"""Return the weight up to the end of each reward's decision: $F = \frac1N\sum_{ik}\rho_{i,0:k}\,r_{ik}$.

    $\ell_{it}$ is in every product from its own decision on, so c is the sum of those terms.
    """

    def coefficients(batch: Batch) -> np.ndarray:
        terms, turns = per_decision(batch)
        following = np.add.accumulate(terms[:, ::-1], axis=1)[:, ::-1]
        return np.where(batch.mask, per_episode(batch) * np.take_along_axis(following, turns, axis=1), 0)  # (2)

    def surrogate(batch: Batch) -> Any:
        return (per_episode(batch) * per_decision(batch)[0]).sum()

    return Estimator(
        "is_decision", "∇J", "c[i,t] = Σ_{k ≥ turn of t} ρ[i,0:k]·r[i,k] / N", "Precup, Sutton & Singh 2000",
        coefficients, surrogate, factor=unbiased, off_policy=True,
    )  # fmt: skip


def vtrace_policy_gradient(gamma: float = 1.0, lam: float = 1.0, rho_bar: float = 1.0, c_bar: float = 1.0) -> Estimator:
    """Return IMPALA's policy gradient; at θ = θ_old with γ = λ = 1 it is a2c's."""
    return Estimator(
        "vtrace", "no gradient of any function (at θ = θ_old: a2c's)", "c[i,t] = min(ρ̄, ρ)·(r + γv' − V) / N, v by V-trace",
        "Espeholt et al. 2018, eq. 1 and section 4.2",
        lambda batch: per_episode(batch) * vtrace(batch, gamma, lam, rho_bar, c_bar),
        needs=("values",),
    )  # fmt: skip


for make in (is_token, is_decision, is_sequence, is_truncated, vtrace_policy_gradient):
    register(make())
