r"""SiLU, also called swish: $y = x\,\sigma(x)$ with $\sigma(x) = 1/(1+e^{-x})$ (Elfwing et al. 2017, arXiv:1702.03118, eq. 3).

Backward. $\sigma' = \sigma\,(1-\sigma)$, hence $y' = \sigma + x\,\sigma\,(1-\sigma)$. Kept: $y'$.

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
        np.multiply(x[rows], s, out=y[rows])
        if derivative is not None:
            np.add(s, y[rows] * (1 - s), out=derivative[rows])  # σ + x·σ·(1−σ)
    return y, derivative
