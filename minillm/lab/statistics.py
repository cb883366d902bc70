r"""Short functions of a policy gradient's noise: how many samples count, how many groups say nothing, how large a batch is worth it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from minillm.lab.differentiate import complex_step


def effective_sample_size(weights: np.ndarray) -> float:
    r"""Return $(\sum_i w_i)^2 / \sum_i w_i^2$ (Kish 1965): n for n equal weights, 1 when a single one counts.

    Parameters
    ----------
    weights : ndarray of shape (n,)
        Importance weights, not negative; 0 is returned when all are zero.
    """
    total, squares = weights.sum(), (weights * weights).sum()
    return float(total * total / squares) if squares else 0.0


def dead_group_share(returns: np.ndarray, groups: np.ndarray) -> float:
    """Return the share of groups in which all returns are equal: their group-relative advantages are all 0.

    Parameters
    ----------
    returns, groups : ndarray of shape (N,)
        Return and group label of each episode.
    """
    _, first, group = np.unique(groups, return_index=True, return_inverse=True)
    differs = np.bincount(group, weights=returns != returns[first][group])
    return float((differs == 0).mean()) if len(differs) else 0.0


def gradient_noise_scale(trace: float, gradient: np.ndarray) -> float:
    r"""Return the simple noise scale $\operatorname{tr}(\Sigma)/|G|^2$ (McCandlish et al. 2018, eq. 2.9).

    The number of episodes at which the noise of the mean is as long as the gradient itself.

    Parameters
    ----------
    trace : float
        Trace of the covariance of a single episode's estimate.
    gradient : ndarray of shape (P,)
        The true gradient G.
    """
    return float(trace / (gradient @ gradient))


def asymmetry(field: Callable[[np.ndarray], np.ndarray], theta: np.ndarray, directions: int | None = None) -> float:
    r"""Return $\|A - A^\top\|_F / \|A\|_F$ of the Jacobian $A = \partial F/\partial\theta$, by complex step.

    A field is the gradient of some function near θ only if its Jacobian, that function's Hessian, is symmetric (Schwarz); a value
    above rounding proves that no such function exists.

    Parameters
    ----------
    field : callable, θ (P,) → F (P,)
        Complex-safe.
    theta : real ndarray of shape (P,)
    directions : int, optional
        Look at $Q^\top A\,Q$ instead, Q being that many orthonormal directions drawn with seed 0: as many evaluations of the field,
        not P, and as good a proof.
    """
    Q = np.eye(theta.size)
    if directions is not None and directions < theta.size:
        Q = np.linalg.qr(np.random.default_rng(0).normal(size=(theta.size, directions)))[0]
    A = np.stack([complex_step(field, theta, q) for q in Q.T]) @ Q
    return float(np.linalg.norm(A - A.T) / np.linalg.norm(A))
