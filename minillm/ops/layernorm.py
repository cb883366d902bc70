r"""Layer normalisation over the features of each row (Ba, Kiros, Hinton 2016, arXiv:1607.06450, eq. 3–4).

$$\mu = \tfrac1C\sum_j x_j \tag{1}$$

$$r = \Big(\tfrac1C\sum_j (x_j-\mu)^2 + \epsilon\Big)^{-1/2} \tag{2}$$

$$\hat x_j = r\,(x_j-\mu), \qquad y_j = \gamma_j \hat x_j + \beta_j \tag{3}$$

Backward. Write $g_j = \gamma_j\bar y_j$ for the gradient that reaches $\hat x_j$. Since $\hat x = r\,(x-\mu)$,

$$\bar r = \sum_j g_j (x_j-\mu), \qquad \frac{\partial r}{\partial x_k} = -\tfrac12 r^3\cdot\tfrac2C\,(x_k-\mu) = -\tfrac{r^2}{C}\hat x_k .$$

The derivative of the mean inside the variance, which readers often miss, is identically zero:
$\partial/\partial\mu\,\sum_j (x_j-\mu)^2 = -2\sum_j (x_j-\mu) = 0$. What remains is the direct path, the path through $\mu$ in
the numerator, and the path through $r$:

$$\bar x_k = r\,g_k \;-\; r\,\tfrac1C\sum_j g_j \;-\; r\,\hat x_k\,\tfrac1C\sum_j g_j\hat x_j \tag{4}$$

Both subtracted terms are means over *features*; so $\sum_k \bar x_k = 0$: adding a constant to a row changes nothing.
The parameters are used by every row and collect over rows:

$$\bar\gamma_j = \sum_n \bar y_{nj}\hat x_{nj}, \qquad \bar\beta_j = \sum_n\bar y_{nj} \tag{5}$$

A constant row has $x-\mu = 0$; with $\epsilon = 0$ the rule is $r = 0$, hence output $\beta$ and gradient zero. Rows are shifted
by their first entry before averaging, so that a constant row is *exactly* zero after centring in any precision.
Cost: a few passes over the row in each direction. Kept for the backward: $\hat x$ (N, C) and $r$ (N, 1).
"""

from typing import Any

import numpy as np

from minillm.ops.blocks import constants, repeated, row_blocks


def layernorm(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, eps: float, keep: bool = True) -> tuple[np.ndarray, Any]:
    r"""Return $\gamma\,(x-\mu)\,/\sqrt{\operatorname{var}(x)+\epsilon} + \beta$, row by row, the variance being the biased one.

    Parameters
    ----------
    x : ndarray of shape (N, C)
    weight, bias : ndarray of shape (C,)
        The gain $\gamma$ and the shift $\beta$.
    eps : float, at least 0
    keep : bool
        Whether what the backward needs is kept; else ``cache`` is None.

    Returns
    -------
    y : ndarray of shape (N, C)
    cache : tuple for :func:`layernorm_backward`, or None
    """
    N, C = x.shape
    mean_of, (one, small) = repeated(1 / C, C, x.dtype), constants(x.dtype, 1, eps)
    y, rstd = np.empty_like(x), np.empty((N, 1), x.dtype)
    x_hat = np.empty_like(x) if keep else y
    for rows in row_blocks(N, C):
        normal, out, r = x_hat[rows], y[rows], rstd[rows]
        np.subtract(x[rows], x[rows, :1], normal)
        normal -= np.dot(normal, mean_of)[:, None]  # (1) x − μ
        variance = np.dot(np.multiply(normal, normal, out if keep else None), mean_of)
        variance += small
        if eps == 0:
            variance[variance == 0] = np.inf  # a constant row: r = 0
        np.divide(one, np.sqrt(variance, variance), r[:, 0])  # (2)
        normal *= r  # (3) x̂
        np.multiply(normal, weight, out)
        out += bias  # (3) y
    return y, (x_hat, rstd, weight, bias) if keep else None


def layernorm_again(cache: tuple) -> np.ndarray:
    r"""Return $y = \gamma\hat x + \beta$ once more, the same bits: it costs two passes, and need not be kept for the op after this one."""
    x_hat, _, weight, bias = cache
    y = np.multiply(x_hat, weight)
    y += bias
    return y


def layernorm_backward(
    dy: np.ndarray, cache: tuple, out: tuple[np.ndarray | None, np.ndarray | None] = (None, None)
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return ``(dx, dweight, dbias)`` for the upstream gradient ``dy`` of shape (N, C); the last two are written to ``out``."""
    x_hat, rstd, weight, _ = cache
    N, C = dy.shape
    dx, mean_of_gain = np.empty_like(dy), weight / C
    dweight, dbias = (np.empty_like(weight) if place is None else place for place in out)
    dweight[...], dbias[...] = 0, 0
    for rows in row_blocks(N, C):
        g, normal, d = dy[rows], x_hat[rows], dx[rows]
        ones = repeated(1, len(g), dy.dtype)
        product = np.multiply(g, normal, d)
        dweight += np.dot(ones, product)  # (5) γ̄ = Σₙ ȳ·x̂
        dbias += np.dot(ones, g)  # (5) β̄ = Σₙ ȳ
        mean_gx = np.dot(product, mean_of_gain)  # (1/C) Σⱼ gⱼ·x̂ⱼ
        mean_g = np.dot(g, mean_of_gain)  # (1/C) Σⱼ gⱼ
        np.multiply(normal, mean_gx[:, None], d)
        d += mean_g[:, None]
        np.subtract(g * weight, d, d)
        d *= rstd[rows]  # (4) x̄ = r·(g − mean(g) − x̂·mean(g·x̂))
    return dx, dweight, dbias
