r"""GELU in the form of GPT-2, ``gelu_new`` (Hendrycks & Gimpel 2016, arXiv:1606.08415, section 2).

$$\mathrm{gelu}(x) = \tfrac{x}{2}\,(1+\tanh u) = x\,\sigma(2u), \qquad u = \sqrt{2/\pi}\,(x + 0.044715\,x^3) \tag{1}$$

since $\tfrac12(1+\tanh u) = 1/(1+e^{-2u}) = \sigma(2u)$: one exponential in place of a slow tanh. (The exact form
$x\,\Phi(x)$ with erf is another function, up to 6e-4 apart, and has another name, ``gelu``.)

Backward. With $s=\sigma(2u)$, $\sigma' = \sigma(1-\sigma)$ and $u' = \sqrt{2/\pi}\,(1 + 3\cdot 0.044715\,x^2)$,

$$\frac{d}{dx}\,x\,s = s + x\,s\,(1-s)\,2u' \tag{2}$$

The derivative is computed in the forward, while the block is in cache, and is all that is kept. For $|x|$ beyond a limit
$s$ is 0 or 1 to the last bit, so the cubic is taken at $x$ clipped to the limit: no overflow in $x^3$, no warning. In real
dtypes the exponential may overflow to infinity, and $1/(1+\infty) = 0$ is exact; in complex ones it must stay finite.
Cost: one exponential an entry, in the forward.
"""

import math

import numpy as np

from minillm.ops.blocks import constants, row_blocks

CUBIC = 0.044715
SLOPE = math.sqrt(8 / math.pi)  # 2u = SLOPE·(x + CUBIC·x³)
REAL_LIMIT, COMPLEX_LIMIT = 100.0, 21.0


def gelu_new(x: np.ndarray, keep: bool = True) -> tuple[np.ndarray, np.ndarray | None]:
    r"""Return $\tfrac{x}{2}\,\big(1+\tanh(\sqrt{2/\pi}\,(x+0.044715x^3))\big)$, element by element.

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
    limit = COMPLEX_LIMIT if np.iscomplexobj(x) else REAL_LIMIT
    low, high, one, slope, cubic, slope_3 = constants(x.dtype, -limit, limit, 1, SLOPE, -SLOPE * CUBIC, 3 * CUBIC * SLOPE)
    with np.errstate(over="ignore"):
        for rows in row_blocks(*x.shape):
            u, out = x[rows], y[rows]
            clipped = np.clip(u, low, high, out)
            square = clipped * clipped if derivative is None else np.multiply(clipped, clipped, derivative[rows])
            s = np.multiply(square, cubic, square if derivative is None else None)
            s -= slope
            s *= clipped  # −2u
            np.exp(s, s)
            s += one
            np.divide(u, s, out)  # (1)
            if derivative is not None:
                np.reciprocal(s, s)  # σ(2u)
                square *= slope_3
                square += slope  # 2u′
                square *= one - s  # 0 for large x, before x·s makes the product too large
                square *= out
                square += s  # (2) s + x·s·(1−s)·2u′, in its place in the derivative
    return y, derivative


def gelu_new_backward(dy: np.ndarray, cache: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    r"""Return $\bar x = \bar y\,y'(x)$, written to ``out`` if it is given."""
    return np.multiply(dy, cache, out=out)
