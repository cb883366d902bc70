r"""Wrong policy gradients and wrong exact gradients, on a table of logits where every episode can be written down.

Three tokens, 0 ends the episode, at most three tokens: 7 contexts, 15 episodes, θ the 7 × 3 logits. Each gradient is the
*expectation* of an estimator, a sum over all episodes: with a weight $w_{it}$ on $\ell_{it} = \log p(b_{it}\mid b_{i,<t})$ it is
$\sum_{it} w_{it}\nabla\ell_{it}$. The right weight for $J = \sum_i p_i R_i$ is $p_i R_i$ for each token of episode i.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial

import numpy as np

from minillm.lab.mutants.core import Problem
from minillm.ops import log_softmax, log_softmax_backward

V, LONGEST, STOP = 3, 3, 0
BETA, CLIP, GAMMA, TEMPERATURE = 0.7, 0.2, 0.6, 0.5
CONTEXTS = [c for n in range(LONGEST) for c in itertools.product((1, 2), repeat=n)]
EPISODES = [(*c, STOP) for c in CONTEXTS] + list(itertools.product((1, 2), repeat=LONGEST))
LENGTHS = np.array([len(e) for e in EPISODES])
TAKEN = np.arange(LONGEST) < LENGTHS[:, None]
TOKENS = np.array([(*e, *[STOP] * (LONGEST - len(e))) for e in EPISODES])
CONTEXT = np.array([[CONTEXTS.index(e[:t]) if t < len(e) else 0 for t in range(LONGEST)] for e in EPISODES])
_rng = np.random.default_rng(2024)
THETA = _rng.normal(size=len(CONTEXTS) * V)
OLD = THETA + 0.8 * _rng.normal(size=THETA.size)  # another policy: behaviour, reference
PREFIX_REWARDS = {p: _rng.normal() + 0.5 for p in sorted({e[: t + 1] for e in EPISODES for t in range(len(e))})}
REWARDS = np.array([[PREFIX_REWARDS[e[: t + 1]] if t < len(e) else 0 for t in range(LONGEST)] for e in EPISODES])
RETURNS = REWARDS.sum(axis=1)
TO_GO = np.where(TAKEN, REWARDS[:, ::-1].cumsum(axis=1)[:, ::-1], 0)
DISCOUNTS = GAMMA ** np.arange(LONGEST)
TOP_TWO = np.where(np.argsort(np.argsort(THETA.reshape(-1, V))) == 0, -np.inf, 0)

Weights = Callable[[np.ndarray], np.ndarray]


def ell(theta: np.ndarray) -> np.ndarray:
    """Log-probabilities (15, 3) of the tokens taken; 0 past the end."""
    return np.where(TAKEN, log_softmax(theta.reshape(-1, V))[0][CONTEXT, TOKENS], 0)


def chances(theta: np.ndarray) -> np.ndarray:
    """Probabilities (15,) of the episodes; they sum to one."""
    return np.exp(ell(theta).sum(axis=1))


def pull(weights: Weights, theta: np.ndarray) -> np.ndarray:
    """Return Σ w ∇ℓ for the weights (15, 3) or (15, 1) at θ."""
    sums = np.zeros((len(CONTEXTS), V), theta.dtype)
    np.add.at(sums, (CONTEXT, TOKENS), np.where(TAKEN, weights(theta), 0))
    return log_softmax_backward(sums, log_softmax(theta.reshape(-1, V))[0]).reshape(-1)


def J(theta: np.ndarray) -> np.generic:
    """Expected return."""
    return (chances(theta) * RETURNS).sum()


def _each(values: np.ndarray) -> np.ndarray:
    return values[:, None]


def _weights_of_J(theta: np.ndarray) -> np.ndarray:
    return _each(chances(theta) * RETURNS)


def _discounted(theta: np.ndarray) -> np.generic:
    return (chances(theta) * (REWARDS * DISCOUNTS).sum(axis=1)).sum()


def _cooled(theta: np.ndarray) -> np.generic:
    return J(theta / TEMPERATURE)


def _cooled_gradient(theta: np.ndarray) -> np.ndarray:
    return pull(_weights_of_J, theta / TEMPERATURE) / TEMPERATURE


def _filtered(theta: np.ndarray) -> np.ndarray:
    return (theta.reshape(-1, V) + TOP_TWO).reshape(-1)


def filtered_weights(theta: np.ndarray) -> np.ndarray:
    """Weights pᵢRᵢ under top-k sampling, k = 2; zero for episodes that it cannot write."""
    p = np.where((TOP_TWO[CONTEXT, TOKENS] == 0) | ~TAKEN, 1, 0).prod(axis=1)
    ell_kept = np.where(_each(p == 1), ell(_filtered(theta)), 0)
    return _each(p * np.exp(ell_kept.sum(axis=1)) * RETURNS)


def _top_two(theta: np.ndarray) -> np.generic:
    return filtered_weights(theta).sum()


def _ratio(theta: np.ndarray) -> np.ndarray:
    return np.exp(ell(theta) - ell(OLD))


def pessimistic(theta: np.ndarray) -> np.ndarray:
    """Mask of the terms ρA that PPO keeps: the unclipped one is the smaller."""
    rho = _ratio(theta).real
    return rho * ADVANTAGES <= np.clip(rho, 1 - CLIP, 1 + CLIP) * ADVANTAGES


def _ppo(theta: np.ndarray) -> np.generic:
    rho = _ratio(theta)
    clipped = np.clip(rho.real, 1 - CLIP, 1 + CLIP)
    terms = np.where(pessimistic(theta), rho, clipped) * ADVANTAGES
    return (_each(chances(OLD)) * np.where(TAKEN, terms, 0)).sum()


def ppo_weights(theta: np.ndarray, keep: Callable[[np.ndarray], np.ndarray] = pessimistic) -> np.ndarray:
    """Weights qᵢρᵢₜA of PPO's surrogate, where ``keep`` says that the unclipped term counts."""
    return _each(chances(OLD)) * np.where(keep(theta), _ratio(theta) * ADVANTAGES, 0)


def inside(theta: np.ndarray) -> np.ndarray:
    """Mask of the ratios within the clip range."""
    return np.abs(_ratio(theta) - 1) <= CLIP


def _surprise(theta: np.ndarray) -> np.ndarray:
    """log p − log p_ref of whole episodes."""
    return (ell(theta) - ell(OLD)).sum(axis=1)


def _kl(theta: np.ndarray) -> np.generic:
    return BETA * (chances(theta) * _surprise(theta)).sum() - J(theta)


def _kl_weights(theta: np.ndarray) -> np.ndarray:
    return _each(chances(theta) * (BETA * _surprise(theta) - RETURNS))


def frozen_kl_weights(theta: np.ndarray) -> np.ndarray:
    """Each token's KL with the contexts' frequencies held fixed."""
    return _each(chances(theta)) * (BETA * (ell(theta) - ell(OLD)) - _each(RETURNS))


def _entropy(theta: np.ndarray) -> np.generic:
    return -(chances(theta) * ell(theta).sum(axis=1)).sum()


def _entropy_weights(theta: np.ndarray) -> np.ndarray:
    return _each(-chances(theta) * ell(theta).sum(axis=1))


ADVANTAGES = _each(RETURNS - (chances(OLD) * RETURNS).sum())
PROBLEMS = {
    "J": Problem(J, partial(pull, _weights_of_J), THETA),
    "discounted": Problem(_discounted, partial(pull, lambda z: _each(chances(z)) * discounted_to_go()), THETA),
    "temperature": Problem(_cooled, _cooled_gradient, THETA),
    "top_k": Problem(_top_two, lambda z: pull(filtered_weights, _filtered(z)), THETA),
    "ppo": Problem(_ppo, partial(pull, ppo_weights), THETA),
    "kl": Problem(_kl, partial(pull, _kl_weights), THETA),
    "entropy": Problem(_entropy, partial(pull, _entropy_weights), THETA),
}


def discounted_to_go() -> np.ndarray:
    """Σ γᵗrₜ from each token on, discounted from the start of the episode."""
    rewards = REWARDS * DISCOUNTS
    return np.where(TAKEN, rewards[:, ::-1].cumsum(axis=1)[:, ::-1], 0)
