r"""Log-probabilities from logits: $\ell = z - \log\sum e^z$ (Bridle 1990 named the softmax).

Row by row, with the largest logit $m = \max_w \operatorname{Re} z_w$,

$$\ell_v = (z_v - m) - \log\sum_w e^{z_w - m} \tag{1}$$

The shift cancels, so it may be any constant; with this one every exponential is at most 1 and one is 1: nothing overflows, and the
logarithm never sees 0. It is taken from the real part because a constant has no derivative.

Backward. $\partial\ell_v/\partial z_w = [v=w] - e^{z_w}/\sum_u e^{z_u} = [v=w] - p_w$ with $p = e^\ell$, hence for coefficients
$C_v = \partial F/\partial\ell_v$

$$\bar z_w = \sum_v C_v\,([v=w] - p_w) = C_w - p_w\sum_v C_v \tag{2}$$

Each row of $\bar z$ sums to zero, because $\sum_w p_w = 1$: adding a constant to all logits changes no probability. Cost: one
exponential an entry in each direction. Kept for the backward: $\ell$.
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
    log_p -= np.log(np.exp(log_p).sum(axis=-1, keepdims=True))  # (1)
    return log_p, log_p


def log_softmax_backward(dlog_p: np.ndarray, cache: np.ndarray) -> np.ndarray:
    r"""Return $\bar z = C - p\sum C$ for the coefficients ``dlog_p`` $= C$ of shape (…, V)."""
    return dlog_p - np.exp(cache) * dlog_p.sum(axis=-1, keepdims=True)  # (2)
