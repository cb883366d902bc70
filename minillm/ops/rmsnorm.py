r"""Root-mean-square normalisation of each row (Zhang & Sennrich 2019, arXiv:1910.07467, eq. 4): LayerNorm without its mean and shift.

$$r = \Big(\tfrac1C\sum_j x_j^2 + \epsilon\Big)^{-1/2}, \qquad \hat x_j = r\,x_j, \qquad y_j = \gamma_j\hat x_j \tag{1}$$

Backward. Write $g_j = \gamma_j\bar y_j$ for the gradient that reaches $\hat x_j$. Since
$\partial r/\partial x_k = -\tfrac12 r^3\cdot\tfrac2C\,x_k = -\tfrac{r^2}{C}\hat x_k$, the product rule on $\hat x = r\,x$ gives the direct
path and the path through $r$:

$$\bar x_k = r\,g_k + \frac{\partial r}{\partial x_k}\sum_j g_j x_j = r\,g_k - r\,\hat x_k\,\tfrac1C\sum_j g_j\hat x_j \tag{2}$$

Without $\epsilon$ the output does not change when a row is scaled, so $\sum_k x_k\bar x_k = 0$ there; with it,
$\sum_k x_k\bar x_k = \epsilon\,r^2\sum_j g_j\hat x_j$, which is small and not zero.
The gain is used by every row and collects over them:

$$\bar\gamma_j = \sum_n\bar y_{nj}\hat x_{nj} \tag{3}$$

A row of zeros with $\epsilon = 0$ has $r = 0$ by rule, hence output and gradient zero. Kept for the backward: $\hat x$ (N, C) and $r$ (N, 1).
"""

import numpy as np

from minillm.ops.blocks import repeated, row_blocks


def rmsnorm(x: np.ndarray, weight: np.ndarray, eps: float) -> tuple[np.ndarray, tuple]:
    r"""Return $\gamma\,x\,/\sqrt{\operatorname{mean}(x^2)+\epsilon}$, row by row.

    Parameters
    ----------
    x : ndarray of shape (N, C)
    weight : ndarray of shape (C,)
        The gain $\gamma$.
    eps : float, at least 0

    Returns
    -------
    y : ndarray of shape (N, C)
    cache : tuple for :func:`rmsnorm_backward`
    """
    N, C = x.shape
    mean_of = repeated(1 / C, C, x.dtype)
    y, x_hat, rrms = np.empty_like(x), np.empty_like(x), np.empty((N, 1), x.dtype)
    for rows in row_blocks(N, C):
        mean_square = np.multiply(x[rows], x[rows], out=y[rows]) @ mean_of + eps
        zero = mean_square == 0
        rrms[rows, 0] = np.where(zero, 0, 1 / np.sqrt(np.where(zero, 1, mean_square)))
        np.multiply(x[rows], rrms[rows], out=x_hat[rows])
        np.multiply(x_hat[rows], weight, out=y[rows])  # (1)
    return y, (x_hat, rrms, weight)


def rmsnorm_backward(dy: np.ndarray, cache: tuple) -> tuple[np.ndarray, np.ndarray]:
    """Return ``(dx, dweight)`` for the upstream gradient ``dy`` of shape (N, C)."""
    x_hat, rrms, weight = cache
    N, C = dy.shape
    mean_of = repeated(1 / C, C, dy.dtype)
    dx, dweight = np.empty_like(dy), np.zeros_like(weight)
    for rows in row_blocks(N, C):
        product = np.multiply(dy[rows], x_hat[rows], out=dx[rows])
        dweight += repeated(1, len(product), dy.dtype) @ product  # (3) γ̄ = Σₙ ȳ·x̂
        mean_gx = product @ (weight * mean_of)  # (1/C) Σⱼ gⱼ·x̂ⱼ
        d = np.multiply(x_hat[rows], -mean_gx[:, None], out=dx[rows])
        d += dy[rows] * weight
        d *= rrms[rows]  # (2) x̄ = r·(g − x̂·mean(g·x̂))
    return dx, dweight
