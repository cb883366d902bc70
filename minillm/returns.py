r"""Rewards → returns → advantages, as array expressions.

The return from step t on, with a discount at each step,

$$G_t = r_t + \gamma_t\,G_{t+1} \tag{1}$$

A baseline changes no expectation as long as it does not depend on the action it is subtracted from. For
$E[\nabla\log p(b)] = \sum_b p\,\nabla p/p = \nabla\sum_b p = \nabla 1 = 0$, hence $E[(r-b)\,\nabla\log p] = E[r\,\nabla\log p]$. A mean over
*other* episodes qualifies; a mean with the own one in it does not. In a group of G

$$A_i = r_i - \frac1G\sum_j r_j \tag{2}$$

$$A_i = r_i - \frac1{G-1}\sum_{j\ne i} r_j \tag{3}$$

and (2) is $(1-\frac1G)$ times (3), whatever the rewards are: the own reward stands in the mean with weight $1/G$.
"""

from __future__ import annotations

import numpy as np

from minillm.errors import UserError


def reward_to_go(
    rewards: np.ndarray, mask: np.ndarray | None = None, gamma: float | np.ndarray = 1.0
) -> np.ndarray:
    r"""Return $G_t = r_t + \gamma_t\,G_{t+1}$ along the last axis.

    Parameters
    ----------
    rewards : ndarray of shape (N, T)
    mask : bool ndarray of shape (N, T), optional
        Steps that exist. The others have return 0 and are passed over: neither their reward nor a discount counts.
    gamma : float, or ndarray of shape (N, T)
        Discount, a step.
    """
    mask = np.ones(rewards.shape, dtype=bool) if mask is None else mask
    gamma = np.broadcast_to(gamma, rewards.shape)
    returns = np.zeros(rewards.shape, np.result_type(rewards, gamma))
    following = np.zeros_like(returns[..., 0])
    for t in reversed(range(rewards.shape[-1])):
        following = np.where(mask[..., t], rewards[..., t] + gamma[..., t] * following, following)  # (1)
        returns[..., t] = np.where(mask[..., t], following, 0)
    return returns


BASELINES = ("none", "mean", "leave_one_out")


def advantages(returns: np.ndarray, groups: np.ndarray, baseline: str, episodes: np.ndarray | None = None) -> np.ndarray:
    r"""Return $r_i - b_i$ for a baseline of ``BASELINES``: none, :func:`mean_advantages`, :func:`leave_one_out_advantages`.

    Raises
    ------
    UserError
        If there is no such baseline.
    """
    if baseline == "none":
        return returns
    if baseline == "mean":
        return mean_advantages(returns, groups)
    if baseline == "leave_one_out":
        return leave_one_out_advantages(returns, groups, episodes)
    raise UserError(f"baseline must be one of {', '.join(BASELINES)}, got {baseline!r}")


def mean_advantages(returns: np.ndarray, groups: np.ndarray) -> np.ndarray:
    r"""Return $r_i - \bar r_{g(i)}$, the mean taken over the whole group of i, itself included; exactly 0 when all are equal."""
    _, first, group = np.unique(groups, return_index=True, return_inverse=True)
    deviation = returns - returns[first][group]
    return deviation - (_sums(group, deviation) / np.bincount(group))[group]  # (2)


def leave_one_out_advantages(
    returns: np.ndarray, groups: np.ndarray, episodes: np.ndarray | None = None, weights: np.ndarray | None = None
) -> np.ndarray:
    r"""Return $r_i - b_i$, where $b_i$ is the mean return of the members of i's group that come from *other* episodes.

    Parameters
    ----------
    returns : ndarray of shape (N,)
    groups : ndarray of shape (N,)
        What the baseline may depend on: the prompt, that is the state.
    episodes : ndarray of shape (N,), optional
        Which episode each member comes from; each one its own when None.
    weights : ndarray of shape (N,), optional
        Weights of the mean; all equal when None, and where those of the others sum to 0.

    Returns
    -------
    advantages : ndarray of shape (N,)
        Where the group has no other episode, $b_i$ is the mean over all other episodes of the batch; where there are none, the
        advantage is 0. Exactly 0 where all returns of the group are equal.
    """
    M = len(returns)
    _, first, group = np.unique(groups, return_index=True, return_inverse=True)
    _, episode = np.unique(np.arange(M) if episodes is None else episodes, return_inverse=True)
    _, own = np.unique(group * M + episode, return_inverse=True)  # the group's members of one episode
    anyone, members = np.zeros(M, dtype=np.int64), (group, own, first[group])
    everyone = (anyone, episode, anyone)
    result = np.zeros(M, np.result_type(returns, float))
    rules = [(everyone, np.ones(M)), (everyone, weights), (members, np.ones(M)), (members, weights)]
    for (label, own, like), weight in [(m, w) for m, w in rules if w is not None]:  # the last one that has any others counts
        total = _others(weight, label, own)
        deviation = returns - returns[like]  # equal returns become exact zeros
        mean = _others(weight * deviation, label, own) / np.where(total == 0, 1, total)
        result = np.where(total == 0, result, deviation - mean)  # (3)
    return result


def _others(values: np.ndarray, group: np.ndarray, own: np.ndarray) -> np.ndarray:
    """For each i: the sum of the values of its group without those of ``own``, its part of it."""
    return _sums(group, values)[group] - _sums(own, values)[own]


def _sums(labels: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Sum of the values under each label, added in their order; of any dtype, complex too."""
    sums = np.zeros(labels.max(initial=-1) + 1, np.result_type(values, float))
    np.add.at(sums, labels, values)
    return sums
