r"""Policies over a finite set of candidate actions, each scored by the likelihood of its text.

In state s candidate a has the score $u_a = w_a\sum_t\ell_{at}$, with $w_a$ = 1 ("sum"), 1/number of tokens ("token_mean") or 1/number of
words ("word_mean"), and $\pi(a) = e^{u_a}/\sum_{a'}e^{u_{a'}}$. Since $\partial\log\pi(a)/\partial u_{a'} = [a'=a] - \pi(a')$,

$$\frac{\partial}{\partial\ell_{a't}}\,A\log\pi(a) = A\,([a'=a] - \pi(a'))\,w_{a'} \tag{1}$$


The tokens of *every* candidate have a coefficient, also of those not taken. Sources: Carta et al. 2023 (2302.02662) (sum);
Tan et al. 2024 (2401.14151) (the two means).

A candidate without tokens is none: π = 0 and coefficients 0. A state without candidates has coefficients 0.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from minillm.errors import UserError
from minillm.estimators.estimator import Estimator
from minillm.estimators.reinforce import unbiased

SCORES = ("sum", "token_mean", "word_mean")


@dataclasses.dataclass(frozen=True)
class ActionSets:
    r"""S decisions among A candidates of at most L tokens each.

    Attributes
    ----------
    log_probs : ndarray of shape (S, A, L)
        $\ell_{sat}$ of the tokens of each candidate, its end token among them if it is part of the score; any float or complex dtype.
    mask : bool ndarray of shape (S, A, L)
        Tokens that exist; the others are not looked at.
    taken : integer ndarray of shape (S,)
        The candidate that was sampled from π.
    advantages : ndarray of shape (S,)
        Its return minus a baseline.
    episodes : int
        Number of episodes N that the decisions come from: what the sum over decisions is divided by.
    words : integer ndarray of shape (S, A), optional
        Number of words of each candidate, for "word_mean".
    q : ndarray of shape (S, A), optional
        $Q(s, a)$, for the all-action form.
    """

    log_probs: np.ndarray
    mask: np.ndarray
    taken: np.ndarray
    advantages: np.ndarray
    episodes: int
    words: np.ndarray | None = None
    q: np.ndarray | None = None


def score_weights(sets: ActionSets, score: str) -> np.ndarray:
    """Return $w_a$ (S, A), 0 for a candidate without tokens.

    Raises
    ------
    UserError
        If there is no such score, or the number of words is missing.
    """
    if score not in SCORES:
        raise UserError(f"score must be one of {', '.join(SCORES)}, got {score!r}")
    tokens = sets.mask.sum(axis=-1)
    if score == "word_mean" and sets.words is None:
        raise UserError("score word_mean needs words, which the action sets do not have")
    number = {"sum": np.ones_like(tokens), "token_mean": tokens, "word_mean": sets.words}[score]
    return np.where(tokens > 0, 1 / np.where(tokens > 0, number, 1), 0)


def log_policy(sets: ActionSets, score: str = "sum") -> np.ndarray:
    r"""Return $\log\pi$ (S, A), −∞ for a candidate without tokens."""
    present = sets.mask.any(axis=-1)
    u = score_weights(sets, score) * np.where(sets.mask, sets.log_probs, 0).sum(axis=-1)
    shift = np.where(present, u.real, -np.inf).max(axis=-1, keepdims=True, initial=-np.inf)
    u = np.where(present, u - np.where(np.isfinite(shift), shift, 0), -np.inf)
    total = np.exp(u).sum(axis=-1, keepdims=True)
    return u - np.log(np.where(total == 0, 1, total))


def taken_action(score: str = "sum") -> Estimator:
    r"""Return REINFORCE for the action taken: $F = \frac1N\sum_s A_s\log\pi(a_s)$."""

    def coefficients(sets: ActionSets) -> np.ndarray:
        chosen = np.arange(sets.mask.shape[1]) == sets.taken[:, None]
        c = sets.advantages[:, None] * (chosen - np.exp(log_policy(sets, score)))
        return _to_tokens(sets, c * score_weights(sets, score))  # (1)

    def surrogate(sets: ActionSets) -> Any:
        log_p = np.take_along_axis(log_policy(sets, score), sets.taken[:, None], axis=1)[:, 0]
        return (sets.advantages * np.where(sets.mask.any(axis=(1, 2)), log_p, 0)).sum() / sets.episodes

    return Estimator(
        f"action_set_{score}", "∇J", "c[s,a',t] = A_s·([a'=a] − π(a'))·w_a' / N", _SOURCES[score], coefficients, surrogate,
        factor=unbiased, needs=("words",) if score == "word_mean" else (),
    )  # fmt: skip


def all_actions(score: str = "sum") -> Estimator:
    r"""Return the gradient over all candidates: $F = \frac1N\sum_s V(s)$ with $V(s) = \sum_a\pi(a)\,Q(s,a)$.

    Q is constant, so $\partial F/\partial u_a = \frac1N\pi(a)\,(Q(s,a) - V(s))$.
    """

    def policy(sets: ActionSets) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        if sets.q is None:
            raise UserError("the all-action form needs q, which the action sets do not have")
        p = np.exp(log_policy(sets, score))
        q = np.where(sets.mask.any(axis=-1), sets.q, 0)
        return p, q, (p * q).sum(axis=-1)

    def coefficients(sets: ActionSets) -> np.ndarray:
        p, q, value = policy(sets)
        return _to_tokens(sets, p * (q - value[:, None]) * score_weights(sets, score))

    def surrogate(sets: ActionSets) -> Any:
        return policy(sets)[2].sum() / sets.episodes

    return Estimator(
        f"action_set_{score}_all", "∇J with the exact Q", "c[s,a,t] = π(a)·(Q(a) − Σ π·Q)·w_a / N", _SOURCES[score], coefficients, surrogate,
        factor=unbiased, needs=("q", "words") if score == "word_mean" else ("q",),
    )  # fmt: skip


_SOURCES = {
    "sum": "Carta et al. 2023 (2302.02662)",
    "token_mean": "Tan et al. 2024 (2401.14151)",
    "word_mean": "Tan et al. 2024 (2401.14151)",
}


def _to_tokens(sets: ActionSets, c: np.ndarray) -> np.ndarray:
    return np.where(sets.mask, (c / sets.episodes)[..., None], 0)


ACTION_SET_ESTIMATORS = {e.name: e for make in (taken_action, all_actions) for e in map(make, SCORES)}
