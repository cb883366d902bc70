r"""The objectives that the labels of the estimators name, as exact functions of a policy's table, without any estimator.

Each takes a setting, the table $L = \log\pi(v\mid k)$ (K, V) and the group size G, and returns a scalar that is holomorphic in L, so that
its gradient comes by complex step. What is *frozen* in a label is taken from the setting and does not move with L: the visits of the
contexts, the episodes drawn from an older policy, advantages. The parameters are the defaults of the registered estimators.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minillm.lab.moments import tuples
from minillm.lab.setting import Setting

Objective = Callable[[Setting, np.ndarray, int], Any]
SUCCESS, CLIP, LAMBDA, BETA = 0.5, 0.2, 0.95, 0.1  # c of P(R ≥ c), ε of PPO, λ of GAE, β of DPO


def taken(setting: Setting, table: np.ndarray) -> np.ndarray:
    """Return the entries of a table (K, V) at the tokens taken, (E, T), 0 off the mask."""
    return np.where(setting.bed.mask, table.reshape(-1)[setting.bed.flat], 0)


def success(setting: Setting, L: np.ndarray, G: int) -> Any:
    r"""$P(R \ge c) = \sum_i p_i\,[R_i \ge c]$."""
    return (setting.probabilities(L) * (setting.bed.returns >= SUCCESS)).sum()


def squared(setting: Setting, L: np.ndarray, G: int) -> Any:
    r"""$\sum_i \frac12 R_i\,\kappa_i\,(p_i/\kappa_i)^2$: what $R\,p\,\nabla\log p$ is the gradient of, on samples."""
    p = setting.probabilities(L)
    return (setting.bed.returns * p * p / setting.bed.chance).sum() / 2


def log_likelihood(setting: Setting, L: np.ndarray, G: int) -> Any:
    """The mean log-likelihood of the episodes that are drawn."""
    return (setting.drawn * taken(setting, L).sum(axis=1)).sum()


def frozen(per_context: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Objective:
    r"""Return $\sum_k d_k\,f(L_k, \log\pi_{ref,k})$ with the expected number of visits $d_k$ of each context frozen."""

    def objective(setting: Setting, L: np.ndarray, G: int) -> Any:
        bed, visits = setting.bed, np.zeros(len(L), setting.drawn.dtype)
        np.add.at(visits, bed.context[bed.mask], np.broadcast_to(setting.drawn[:, None], bed.mask.shape)[bed.mask])
        return (visits * per_context(L, setting.log_ref)).sum()

    return objective


def episodes(per_episode: Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], np.ndarray]) -> Objective:
    r"""Return $\sum_i f(p_i, p_{ref,i}, \log p_i, \log p_{ref,i})$, nothing frozen; the environment's chances are left out of the logs."""

    def objective(setting: Setting, L: np.ndarray, G: int) -> Any:
        tables = (L, setting.log_ref)
        p, p_ref = (setting.probabilities(table) for table in tables)
        return per_episode(p, p_ref, *(taken(setting, table).sum(axis=1) for table in tables)).sum()

    return objective


def contexts_of_old(setting: Setting, L: np.ndarray, G: int) -> Any:
    r"""$E_{old}\big[\sum_t\sum_v \pi(v\mid k_t)\,Q^{old}(v)\big]$ (Kakade & Langford 2002)."""
    pi = np.exp(L)[setting.bed.context]
    return (setting.drawn * np.where(setting.bed.mask, (pi * setting.whole.q).sum(axis=-1), 0).sum(axis=1)).sum()


def clipped(setting: Setting, L: np.ndarray, G: int) -> Any:
    r"""$E_{old}[\sum_t\min(\rho_tA_t, \mathrm{clip}(\rho_t)A_t)]$, $A_t = \sum_l\lambda^l\delta_{t+l}$ with the old policy's V."""
    bed, V = setting.bed, setting.whole.given("values")
    rho = np.exp(taken(setting, L) - taken(setting, setting.log_old))
    total = np.zeros_like(rho[:, 0])
    for i, steps in enumerate(map(np.flatnonzero, bed.mask)):
        A, following = 0.0, 0.0
        for t in steps[::-1]:
            A = bed.rewards[i, t] + following - V[i, t] + LAMBDA * A
            following = V[i, t]
            bound = (1 + CLIP if rho[i, t].real > 1 else 1 - CLIP) if abs(rho[i, t].real - 1) > CLIP else rho[i, t]
            total[i] += rho[i, t] * A if (rho[i, t] * A).real < (bound * A).real else bound * A
    return (setting.drawn * total).sum()


def truncated(setting: Setting, L: np.ndarray, G: int) -> Any:
    r"""$E_{old}[R\,\Phi(\rho)]$ of the whole episode's ratio with $\Phi(\rho) = \rho$ up to 1 and $1 + \log\rho$ beyond."""
    log_rho = (taken(setting, L) - taken(setting, setting.log_old)).sum(axis=1)
    return (setting.drawn * setting.bed.returns * np.where(log_rho.real > 0, 1 + log_rho, np.exp(log_rho))).sum()


def preferences(setting: Setting, L: np.ndarray, G: int) -> Any:
    r"""The mean over groups of the mean over their pairs $R_w > R_l$ of $\log\sigma(\beta(X_w - X_l))$, $X = \sum_t\log\pi/\pi_{ref}$."""
    rows, weights = tuples(setting, G)
    R, X = setting.bed.returns[rows], (taken(setting, L) - taken(setting, setting.log_ref)).sum(axis=1)[rows]
    wins = R[:, :, None] > R[:, None, :]
    log_sigmoid = -np.log1p(np.exp(-BETA * (X[:, :, None] - X[:, None, :])))
    return (weights * (wins * log_sigmoid).sum(axis=(1, 2)) / np.maximum(wins.sum(axis=(1, 2)), 1)).sum()


def negative(objective: Objective) -> Objective:
    """Return minus the objective."""
    return lambda setting, L, G: -objective(setting, L, G)


def difference(one: Objective, other: Objective) -> Objective:
    """Return one objective minus another."""
    return lambda setting, L, G: one(setting, L, G) - other(setting, L, G)


TOKEN_ENTROPY = frozen(lambda L, ref: -(np.exp(L) * L).sum(axis=1))
TOKEN_KL = frozen(lambda L, ref: (np.exp(L) * (L - ref)).sum(axis=1))
TOKEN_KL_REVERSED = frozen(lambda L, ref: (np.exp(ref) * (ref - L)).sum(axis=1))
TOKEN_HALF_SQUARE = frozen(lambda L, ref: (np.exp(L) * (L - ref) ** 2 / 2).sum(axis=1))
ENTROPY = episodes(lambda p, p_ref, x, ref: -p * x)
KL = episodes(lambda p, p_ref, x, ref: p * (x - ref))
KL_REVERSED = episodes(lambda p, p_ref, x, ref: p_ref * (ref - x))
HALF_SQUARE = episodes(lambda p, p_ref, x, ref: p * (x - ref) ** 2 / 2)
