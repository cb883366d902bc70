r"""Log-probabilities from logits: $\ell_v = z_v - \log\sum_w e^{z_w}$.

Backward. $\partial\ell_v/\partial z_w = [v=w] - p_w$ with $p = e^\ell$, hence for coefficients $C_v = \partial F/\partial\ell_v$

$$\bar z_w = C_w - p_w\sum_v C_v .$$

Each row of $\bar z$ sums to zero: adding a constant to all logits changes no probability. The shift by the largest logit (by
its real part, a constant) cancels in $\ell$ and keeps every exponential at most 1. Kept for the backward: $\ell$.
A logit of $-\infty$ has probability 0, log-probability $-\infty$ and, with a coefficient of 0, gradient 0.
"""

import numpy as np


def log_softmax(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    r"""Return $\log\operatorname{softmax}(z)$ over the last axis, and it again as the cache.

    Parameters
    ----------
    z : ndarray of shape (…, V)
        At least one entry of each row must be finite.

    Returns
    -------
    log_p : ndarray of shape (…, V)
    cache : the same array, for :func:`log_softmax_backward`
    """
    log_p = z - z.real.max(axis=-1, keepdims=True)
    log_p -= np.log(np.exp(log_p).sum(axis=-1, keepdims=True))
    return log_p, log_p


def log_softmax_backward(dlog_p: np.ndarray, cache: np.ndarray) -> np.ndarray:
    r"""Return $\bar z = C - p\sum C$ for the coefficients ``dlog_p`` $= C$ of shape (…, V)."""
    return dlog_p - np.exp(cache) * dlog_p.sum(axis=-1, keepdims=True)
