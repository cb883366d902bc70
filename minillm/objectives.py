r"""Objectives: functions of the logits at action positions that return ``(value, dlogits)``, dlogits being ∂value/∂logits.

Every objective here depends on θ only through log-probabilities of the tokens taken, $\ell_{it} = \log p(b_{it}\mid b_{i,<t})$. It
is therefore known by its coefficients $c_{it} = \partial F/\partial \ell_{it}$, and with $\partial\ell_v/\partial z_w = [v=w]-p_w$

$$\frac{\partial F}{\partial z_{it}} = c_{it}\,(\mathrm{onehot}(b_{it}) - p_{it}) \tag{1}$$

A *set* and a *sample* are two different things. Over a set of distinct actions, $p(b_i) = e^{\sum_t\ell_{it}}$ and

$$J = \sum_i r_i\,p(b_i), \qquad c_{it} = \frac{\partial J}{\partial\ell_{it}} = r_i\,p(b_i) \tag{2}$$

for every token of $b_i$. Over actions *sampled* from p the probability is already in the sampling: since $\nabla p = p\,\nabla\log p$,
$\nabla J = \sum_b r\,p\,\nabla\log p = E[r\,\nabla\log p(b)]$ is estimated by a mean (Williams 1992, REINFORCE), with a baseline $b_i$ or 0,

$$\nabla J \approx \frac1N\sum_i (r_i-b_i)\,\nabla\log p(b_i), \qquad c_{it} = (r_i-b_i)/N \tag{3}$$

Using one for the other multiplies by p twice, or not at all.

**A policy-gradient loss near zero means nothing.** Only the gradient of (3) is made to be right; its value
$\frac1N\sum_i(r_i-b_i)\log p(b_i)$ is not J. With a leave-one-out or mean baseline the advantages of a group sum to 0, so the value is 0
where all sampled actions are equally likely, as under a uniform policy, however bad; and it is 0 at an optimum, where all rewards are
equal. It does not fall when the policy improves. Watch the mean reward.

The mean negative log-likelihood of n targets is the same form,

$$L = -\frac1n\sum_{it}\ell_{it}, \qquad c_{it} = -\frac1n \tag{4}$$

Targets hold the token taken at each position, aligned with the logits that predict it; ``IGNORE`` (−100) marks positions
outside of the action, whose dlogits are exactly zero. Logits may be of any float or complex dtype.
"""

from __future__ import annotations

import numpy as np

from minillm.errors import UserError
from minillm.returns import advantages
from minillm.sampling import PLAIN, Sampling

IGNORE = -100


def token_log_probs(logits: np.ndarray, targets: np.ndarray, sampling: Sampling = PLAIN) -> np.ndarray:
    r"""Return $\ell_{it}$, the log-probability of each target; 0 where the target is ``IGNORE``.

    Parameters
    ----------
    logits : ndarray of shape (..., V)
    targets : integer ndarray of shape (...)
    sampling : Sampling
        The distribution that the targets are drawn from; one that it filters out has −inf.

    Raises
    ------
    UserError
        If a target is neither ``IGNORE`` nor an id below V; the message names its position.
    """
    taken, index = _checked(logits, targets)
    log_p = sampling.log_probs(logits)
    return np.where(taken, np.take_along_axis(log_p, index[..., None], axis=-1)[..., 0], 0)


def weighted_log_likelihood(
    logits: np.ndarray, targets: np.ndarray, coefficients: np.ndarray, sampling: Sampling = PLAIN
) -> tuple[np.generic, np.ndarray]:
    r"""Return $F = \sum_{it} c_{it}\,\ell_{it}$ and $\partial F/\partial z = c\,(\mathrm{onehot} - p)$, for constant coefficients.

    Parameters
    ----------
    logits : ndarray of shape (B, T, V)
    targets : integer ndarray of shape (B, T)
    coefficients : ndarray that broadcasts to (B, T); not looked at where the target is ``IGNORE``
    sampling : Sampling
        The distribution that the targets are drawn from: the derivative is that of *its* log-probabilities. A target that it
        filters out has none and is passed over.

    Notes
    -----
    With advantages as coefficients the *gradient* is the policy gradient, while the value means nothing: it can be zero at a
    bad policy, and does not fall when the policy improves.
    """
    taken, index = _checked(logits, targets)
    log_p = sampling.log_probs(logits)
    chosen = (*np.indices(index.shape, sparse=True), index)  # the targets' entries
    ell = log_p[chosen]
    if sampling != PLAIN:
        taken &= ell.real > -np.inf
    c = np.where(taken, coefficients, 0).astype(log_p.dtype)
    value = (np.where(c != 0, ell, 0) * c).sum()
    dlogits = np.exp(log_p)
    dlogits *= -c[..., None]  # (1) −c·p
    dlogits[~taken] = 0  # selected, not multiplied: a logit there need not even be finite
    dlogits[chosen] += c  # (1) c·onehot
    return value, sampling.temperature_backward(dlogits)


def cross_entropy(
    logits: np.ndarray, targets: np.ndarray, num_items_in_batch: int | None = None
) -> tuple[np.generic, np.ndarray]:
    r"""Return the mean negative log-likelihood $-\frac1n\sum_{it}\ell_{it}$ over the n targets that are not ``IGNORE``.

    Parameters
    ----------
    logits : ndarray of shape (B, T, V)
    targets : integer ndarray of shape (B, T)
    num_items_in_batch : int, optional
        Divide by this n instead: the number of targets of the whole batch, when it is cut into micro-batches.

    Returns
    -------
    value : scalar, in nats a token; 0 when every target is ignored
    dlogits : ndarray of shape (B, T, V)
    """
    n = int((np.asarray(targets) != IGNORE).sum()) if num_items_in_batch is None else num_items_in_batch
    return weighted_log_likelihood(logits, targets, np.asarray(-1 / max(n, 1)))  # (4)


def expected_reward(logits: np.ndarray, targets: np.ndarray, rewards: np.ndarray) -> tuple[np.generic, np.ndarray]:
    r"""Return $J = \sum_i r_i\,p(b_i)$ over a *set* of distinct actions, and its exact gradient.

    $p(b_i) = \exp\sum_t \ell_{it}$, so every token of $b_i$ has the coefficient $\partial J/\partial\ell_{it} = r_i\,p(b_i)$.

    Parameters
    ----------
    logits : ndarray of shape (B, T, V)
        Row i belongs to action $b_i$.
    targets : integer ndarray of shape (B, T)
    rewards : ndarray of shape (B,)
    """
    p = np.exp(token_log_probs(logits, targets).sum(axis=-1))
    coefficients = np.asarray(rewards) * p  # (2)
    _, dlogits = weighted_log_likelihood(logits, targets, coefficients[:, None])
    return coefficients.sum(), dlogits


def reinforce(
    logits: np.ndarray,
    targets: np.ndarray,
    rewards: np.ndarray,
    baseline: str = "leave_one_out",
    groups: np.ndarray | None = None,
) -> tuple[np.generic, np.ndarray]:
    r"""Return the surrogate $\frac1N\sum_i (r_i - b_i)\log p(b_i)$ over *sampled* actions; its gradient estimates $\nabla J$.

    Parameters
    ----------
    logits : ndarray of shape (N, T, V)
    targets : integer ndarray of shape (N, T)
        The sampled tokens, the end token among them.
    rewards : ndarray of shape (N,)
    baseline : {"leave_one_out", "mean", "none"}
        ``"none"``: unbiased (Williams 1992, eq. 11). ``"leave_one_out"``: $b_i$ is the mean reward of the *others* of the
        group, unbiased (Kool et al. 2019, "Buy 4 REINFORCE samples"; RLOO). ``"mean"``: $b_i$ is the mean with i in it; it
        estimates $(1-1/G)\,\nabla J$ for groups of G.
    groups : integer ndarray of shape (N,), optional
        Label of the group (the prompt) of each action; one group when None.

    Returns
    -------
    value : scalar
        The surrogate; its value means nothing, its gradient does.
    dlogits : ndarray of shape (N, T, V)

    Notes
    -----
    A group of one has no others: its baseline is the mean reward of the whole batch without it, and its advantage is 0 when it
    is the whole batch. Equal rewards give advantages of exactly 0.
    """
    r = np.asarray(rewards)
    if r.shape != logits.shape[:1]:
        raise UserError(f"rewards must have shape {logits.shape[:1]}, got {r.shape}")
    groups = np.zeros(len(r), dtype=np.int64) if groups is None else np.asarray(groups)
    c = advantages(r, groups, baseline) / max(len(r), 1)  # (3)
    return weighted_log_likelihood(logits, targets, c[:, None])


def _checked(logits: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mask of targets that count, and indices that are safe to gather with."""
    targets = np.asarray(targets)
    if targets.shape != logits.shape[:-1]:
        raise UserError(f"targets must have shape {logits.shape[:-1]} to fit the logits, got {targets.shape}")
    taken = targets != IGNORE
    index = np.where(taken, targets, 0)
    if index.min(initial=0) < 0 or index.max(initial=0) >= logits.shape[-1]:
        position = tuple(int(i) for i in np.argwhere((index < 0) | (index >= logits.shape[-1]))[0])
        raise UserError(f"target {targets[position]} at position {position} is neither {IGNORE} nor below {logits.shape[-1]}")
    return taken, index
