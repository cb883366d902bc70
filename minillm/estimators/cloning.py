r"""Likelihood methods: cloning of all episodes, of the good ones, and of preferences between two."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minillm.estimators.advantages import clearly_above
from minillm.estimators.batch import Batch
from minillm.estimators.estimator import Estimator, register
from minillm.estimators.forms import constant, per_episode


def behaviour_cloning(scale: Callable[[Batch], np.ndarray] = per_episode) -> Estimator:
    """Return the gradient of the mean log-likelihood of the episodes; 0 in expectation on the policy's own."""
    return Estimator(
        "behaviour_cloning", "∇ of the data's mean log-likelihood (0 on own samples)", "c[i,t] = 1 / N", "Pomerleau 1989",
        *constant(lambda batch: np.ones(len(batch)), scale),
    )  # fmt: skip


def filtered_cloning(c: float = 0.5) -> Estimator:
    r"""Return cloning of the episodes with R ≥ c, divided by the number of *all*: on own samples REINFORCE with reward $[R\ge c]$."""
    return Estimator(
        "filtered_cloning", "∇P(R ≥ c)", "c[i,t] = [R_i ≥ c] / N", "Zelikman et al. 2022 (2203.14465), eq. 1 and 2",
        *constant(lambda batch: (batch.total_rewards().real >= c).astype(float)),
    )  # fmt: skip


def dpo(beta: float = 0.1) -> Estimator:
    r"""Return direct preference optimisation over all pairs of a group of which one has the higher reward.

    $F = \frac1P\sum_{(w,l)}\log\sigma(\beta(X_w - X_l))$ with $X_i = \sum_t\log\pi/\pi_{ref}$ and P pairs; hence
    $\frac\beta P\,\sigma(\beta(X_l - X_w))$ for each token of w, and minus that for each of l. Equal rewards are no pair; without
    any pair all coefficients and F are 0.
    """

    def margins(batch: Batch) -> tuple[np.ndarray, np.ndarray, int]:
        x, R = beta * batch.episode_sums(batch.ref_log_ratio()), batch.total_rewards().real
        wins = (batch.groups[:, None] == batch.groups) & clearly_above(R[:, None], R[None, :])
        return np.where(wins, x[:, None] - x, 0), wins, max(int(wins.sum()), 1)

    def coefficients(batch: Batch) -> np.ndarray:
        margin, wins, P = margins(batch)
        pull = beta / P * np.where(wins, np.exp(_log_sigmoid(-margin)), 0)
        return np.where(batch.mask, (pull.sum(axis=1) - pull.sum(axis=0))[:, None], 0)

    def surrogate(batch: Batch) -> Any:
        margin, wins, P = margins(batch)
        return np.where(wins, _log_sigmoid(margin), 0).sum() / P

    return Estimator(
        "dpo", "∇ of the log-likelihood of preferences", "c[i,t] = β·(Σ_l σ(β(X_l − X_i)) − Σ_w σ(β(X_i − X_w))) / P",
        "Rafailov et al. 2023 (2305.18290), eq. 7", coefficients, surrogate, coupled=True, needs=("ref_log_probs",),
    )  # fmt: skip


def _log_sigmoid(x: np.ndarray) -> np.ndarray:
    r"""Return $\log\sigma(x) = \min(x, 0) - \log(1 + e^{-|x|})$, the absolute value that of the real part."""
    negative = x.real < 0
    return np.where(negative, x, 0) - np.log1p(np.exp(np.where(negative, x, -x)))


for make in (behaviour_cloning, filtered_cloning, dpo):
    register(make())
