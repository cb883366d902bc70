r"""SiLU, also called swish: $y = x\,\sigma(x)$ with the logistic $\sigma$ (Elfwing et al. 2017, arXiv:1702.03118, eq. 3).

$$y = x\,\sigma(x), \qquad \sigma(x) = \frac1{1+e^{-x}} \tag{1}$$

Backward. $\sigma' = e^{-x}/(1+e^{-x})^2 = \sigma\,(1-\sigma)$, so the product rule gives

$$y' = \sigma + x\,\sigma\,(1-\sigma) = \sigma + y\,(1-\sigma) \tag{2}$$

and $\bar x = \bar y\,y'$. Below $x \approx -1.28$ the slope is negative: $y$ is not monotone. Cost: one exponential an entry, in the
forward; there $y'$ is computed too, and is all that is kept.

In real dtypes $e^{-x}$ may overflow to infinity, and $1/(1+\infty) = 0$ is exact. A complex exponential must stay finite, so there the
real part of $x$ is bounded from below first, where $\sigma$ is smaller than the square of the smallest relative step.
"""

import numpy as np

from minillm.ops.blocks import row_blocks
from minillm.ops.gelu import gelu_new_backward

COMPLEX_LIMIT = 80.0
silu_backward = gelu_new_backward  # the derivative is kept and nothing else


def silu(x: np.ndarray, keep: bool = True) -> tuple[np.ndarray, np.ndarray | None]:
    r"""Return $x\,\sigma(x)$, element by element.

    Parameters
    ----------
    x : ndarray of shape (N, C)
    keep : bool
        Whether the derivative is computed too, for the backward; else ``cache`` is None.

    Returns
    -------
    y : ndarray of shape (N, C)
    cache : ndarray of shape (N, C) or None
        The derivative $y'(x)$.
    """
    y = np.empty_like(x)
    derivative = np.empty_like(x) if keep else None
    for rows in row_blocks(*x.shape):
        s = np.negative(np.maximum(x[rows], -COMPLEX_LIMIT) if np.iscomplexobj(x) else x[rows])
        with np.errstate(over="ignore"):
            np.exp(s, out=s)
        s += 1
        np.reciprocal(s, out=s)  # σ(x)
        np.multiply(x[rows], s, out=y[rows])  # (1)
        if derivative is not None:
            np.add(s, y[rows] * (1 - s), out=derivative[rows])  # (2) σ + x·σ·(1−σ)
    return y, derivative
