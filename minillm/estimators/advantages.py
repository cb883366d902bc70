r"""What a token is worth: functions from a batch to advantages (N, T), or (N,) where all tokens of an episode share one.

$E[\nabla\log\pi(a_t\mid s_t)] = 0$ in every context, so whatever does not depend on the token itself, nor on what follows it, may be
subtracted: that is a baseline. A statistic of a group with the own episode in it (its mean, its standard deviation) does depend.

Degenerate cases, one rule each. *Group of one*: the mean with self and the normalised advantage are 0; leave-one-out takes the mean
over all other episodes of the batch, 0 if there are none. *All rewards equal*: 0, exactly. *Remainder group*: a group is what carries
one label, of whatever size. *No stop token*: an episode that was cut off is like any other; what would have followed counts as
``last_values``, where the method has values, and as 0 otherwise.
"""

from __future__ import annotations

import numpy as np

from minillm.estimators.batch import Batch
from minillm.returns import leave_one_out_advantages, mean_advantages, reward_to_go


def group_normalised(rewards: np.ndarray, groups: np.ndarray, ddof: int = 1) -> np.ndarray:
    r"""Return $(R_i - \bar R_g)/\mathrm{std}_g(R)$ (Shao et al. 2024, section 4.1.2), with no epsilon in the denominator.

    Parameters
    ----------
    rewards : float ndarray of shape (N,)
    groups : ndarray of shape (N,)
    ddof : int
        The standard deviation divides by G − ddof. The paper does not say; the implementations that people run take 1.

    Returns
    -------
    advantages : ndarray of shape (N,)
        0 where a group's rewards are equal up to rounding (:func:`all_equal`), a group of one among them.
    """
    _, group = np.unique(groups, return_inverse=True)
    dead = all_equal(rewards, group)
    deviation = np.where(dead[group], 0, mean_advantages(rewards, groups))
    squares = np.zeros(len(dead), deviation.dtype)
    np.add.at(squares, group, deviation**2)
    variance = squares / np.maximum(np.bincount(group) - ddof, 1)
    return deviation / np.sqrt(np.where(dead, 1, variance))[group]


def clearly_above(high: np.ndarray, low: np.ndarray) -> np.ndarray:
    r"""Return whether high > low by more than rounding, which is $16\,\varepsilon\max(|high|, |low|)$ with the ε of their dtype.

    0.1 + 0.2 and 0.3 are the same reward: divided by its own standard deviation, their difference would be ±1.
    """
    epsilon = np.finfo(np.result_type(high, low, np.float32)).eps
    return high - low > 16 * epsilon * np.maximum(high, -low)


def all_equal(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return for each label 0, 1, ... whether none of its values is :func:`clearly_above` another."""
    largest = np.full(labels.max(initial=-1) + 1, -np.inf, values.real.dtype)
    smallest = -largest
    np.maximum.at(largest, labels, values.real)
    np.minimum.at(smallest, labels, values.real)
    return ~clearly_above(largest, smallest)


def whitened(advantages: np.ndarray, mask: np.ndarray) -> np.ndarray:
    r"""Return $(A - \mathrm{mean})/\mathrm{std}$ over all sampled tokens of the batch (divisor: their number); 0 where all are equal."""
    result = np.zeros(advantages.shape, np.result_type(advantages, float))
    one_group = np.zeros(int(mask.sum()), dtype=np.int64)
    result[mask] = group_normalised(advantages[mask], one_group, ddof=0)
    return result


def to_go(batch: Batch, gamma: float = 1.0) -> np.ndarray:
    r"""Return $G_{it} = \sum_{s\ge t}\gamma^{s-t} r_{is}$ (N, T) over the sampled tokens, at which alone the discount counts."""
    return reward_to_go(batch.given("rewards"), batch.mask, gamma)


def optimal_baseline_advantages(batch: Batch, leave_one_out: bool) -> np.ndarray:
    r"""Return $R_i - \hat b$ (N,), $\hat b$ the mean of the group's rewards weighted by $\|\nabla\log p(b_j)\|^2$ (``score_norms``).

    The variance of $(R-b)\,s$ with $s = \nabla\log p$ is $E[(R-b)^2\|s\|^2]$ minus what b does not change; its derivative
    $-2E[(R-b)\|s\|^2]$ vanishes at $b^* = E[R\|s\|^2]/E\|s\|^2$. The estimate from all others is independent of the own sample.
    """
    R, weights = batch.total_rewards(), batch.given("score_norms")
    if leave_one_out:
        return leave_one_out_advantages(R, batch.groups, weights=weights)
    _, first, group = np.unique(batch.groups, return_index=True, return_inverse=True)
    deviation = R - R[first][group]
    total, weighted = np.zeros((2, len(first)), np.result_type(R, weights, float))
    np.add.at(total, group, weights)
    np.add.at(weighted, group, weights * deviation)
    flat = total[group] == 0  # no score, no variance: any baseline will do
    return deviation - np.where(flat, 0, weighted[group]) / np.where(flat, 1, total[group])


def at_next(batch: Batch, x: np.ndarray, last: np.ndarray | float) -> np.ndarray:
    """Return x (N, T) at the sampled token that follows each position, ``last`` (N,) where none does."""
    N, T = batch.mask.shape
    at = np.concatenate([np.where(batch.mask, np.arange(T), T), np.full((N, 1), T)], axis=1)
    following = np.minimum.accumulate(at[:, ::-1], axis=1)[:, ::-1][:, 1:]
    column = np.broadcast_to(last, N)[:, None]
    return np.take_along_axis(np.concatenate([x, column], axis=1), following, axis=1)


def next_values(batch: Batch) -> np.ndarray:
    """Return V after each token (N, T): ``values`` at the next sampled token, ``last_values`` (or 0) after the last one."""
    return at_next(batch, batch.given("values"), 0.0 if batch.last_values is None else batch.last_values)


def gae(batch: Batch, gamma: float = 1.0, lam: float = 0.95) -> np.ndarray:
    r"""Return generalised advantages (N, T): Schulman et al. 2016, eq. 16.

    $$\delta_t = r_t + \gamma V_{t+1} - V_t \tag{1}$$

    $$\hat A_t = \sum_l(\gamma\lambda)^l\,\delta_{t+l} \tag{2}$$

    With λ = 1 the values telescope, and $\hat A_t = \sum_l\gamma^l r_{t+l} + \gamma^{T-t}V_T - V_t$,
    where $V_T$ is ``last_values``.
    """
    delta = batch.given("rewards") + gamma * next_values(batch) - batch.given("values")  # (1)
    return reward_to_go(delta, batch.mask, gamma * lam)  # (2)


def vtrace(batch: Batch, gamma: float, lam: float, rho_bar: float, c_bar: float) -> np.ndarray:
    r"""Return $\rho_t\,(r_t + \gamma v_{t+1} - V_t)$ (N, T), the V-trace advantage (Espeholt et al. 2018, eq. 1 and section 4.2).

    $v_t - V_t = \rho_t\delta_t + \gamma c_t\,(v_{t+1} - V_{t+1})$ with $\rho_t = \min(\bar\rho, \pi/\pi_{old})$ and
    $c_t = \lambda\min(\bar c, \pi/\pi_{old})$; after the last token $v = V$ = ``last_values``.
    """
    ratio = np.exp(batch.log_ratio())
    rho = np.where(ratio.real > rho_bar, rho_bar, ratio)
    c = lam * np.where(ratio.real > c_bar, c_bar, ratio)
    values, after = batch.given("values"), next_values(batch)
    surprise = reward_to_go(rho * (batch.given("rewards") + gamma * after - values), batch.mask, gamma * c)
    return np.where(batch.mask, rho * (batch.given("rewards") + gamma * (after + at_next(batch, surprise, 0.0)) - values), 0)
