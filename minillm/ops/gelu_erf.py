r"""GELU in its exact form, named ``gelu`` in configurations: BERT's (Hendrycks & Gimpel 2016, arXiv:1606.08415, eq. 1).

$$\mathrm{gelu}(x) = x\,\Phi(x), \qquad \Phi(x) = \tfrac12\big(1+\operatorname{erf}(x/\sqrt2)\big) = \int_{-\infty}^x \varphi(t)\,dt \tag{1}$$

$$\varphi(t) = \frac{e^{-t^2/2}}{\sqrt{2\pi}} \tag{2}$$

Backward. $\Phi' = \varphi$ by definition, so the product rule gives

$$\frac{d}{dx}\,x\,\Phi = \Phi + x\,\varphi \tag{3}$$

$\Phi$ is entire, so a complex argument is no special case. SciPy computes it in single and double precision, real and complex, with
a small relative error in the left tail too, where $1+\operatorname{erf}$ would cancel. For wider dtypes, integrating $\Phi'=\varphi$ by
parts again and again gives

$$\Phi(x) - \tfrac12 = \varphi(x)\,\Big(x + \tfrac{x^3}{3} + \tfrac{x^5}{3\cdot5} + \dots\Big) \tag{4}$$

All terms have one sign, and up to $|x|=10$, beyond which $1-\Phi < 10^{-23}$, 240 of them give every digit of a longdouble.

For $|x|$ beyond the limit $\Phi$ is 0 or 1 and $\varphi$ is 0 to the last bit, so both are taken at $x$ clipped to it: no overflow.
Cost: one $\Phi$ and one exponential an entry, in the forward. Kept: the derivative.
"""

import numpy as np
from scipy import special

from minillm.ops.blocks import row_blocks
from minillm.ops.gelu import gelu_new_backward

LIMIT, WIDE_LIMIT, TERMS = 40.0, 10.0, 240
gelu_backward = gelu_new_backward  # both keep the derivative and nothing else


def gelu(x: np.ndarray, keep: bool = True) -> tuple[np.ndarray, np.ndarray | None]:
    r"""Return $x\,\Phi(x)$, element by element.

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
    wide = np.finfo(x.dtype).eps < np.finfo(np.float64).eps
    limit = WIDE_LIMIT if wide else LIMIT
    for rows in row_blocks(*x.shape):
        clipped = np.clip(x[rows], -limit, limit)
        cdf = _wide_cdf(clipped) if wide else special.ndtr(clipped)
        np.multiply(x[rows], cdf, out=y[rows])  # (1)
        if derivative is not None:
            np.add(cdf, clipped * _density(clipped), out=derivative[rows])  # (3) Φ + x·φ
    return y, derivative


def _density(x: np.ndarray) -> np.ndarray:
    return np.exp(x * x / -2) / np.sqrt(2 * np.arccos(-np.ones((), x.real.dtype)))  # (2) π in the dtype of x


def _wide_cdf(x: np.ndarray) -> np.ndarray:
    square, series = x * x, np.ones_like(x)
    for n in reversed(range(1, TERMS)):
        series = 1 + series * square / (2 * n + 1)
    return np.where(x.real > -WIDE_LIMIT, 0.5 + x * _density(x) * series, 0)  # (4)
