r"""The affine map $y = xW + b$, rows of $x$ being tokens; the weight is stored (in, out) as GPT-2's ``Conv1D`` does.

$$y_{nj} = \sum_i x_{ni}W_{ij} + b_j \tag{1}$$

Backward. With $L$ the loss and $\bar y = \partial L/\partial y$, the chain rule sums over all $y_{nj}$ in which an entry is used.
$x_{ni}$ is used in row n, with the factors $W_{ij}$; $W_{ij}$ in column j, with the factors $x_{ni}$; $b_j$ in column j, with the
factor 1:

$$\bar x_{ni} = \sum_j \bar y_{nj} W_{ij} \tag{2}$$

$$\bar W_{ij} = \sum_n x_{ni}\bar y_{nj} \tag{3}$$

$$\bar b_j = \sum_n \bar y_{nj} \tag{4}$$

A weight is used by every row, so its gradient is a sum over all rows: over batch *and* time. Cost: one product forward,
two backward, $2N\,C_{in}C_{out}$ operations each. Kept for the backward: $x$ (and $W$, by reference).
"""

import numpy as np

from minillm.ops.blocks import repeated


def linear(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, tuple]:
    r"""Return $xW + b$.

    Parameters
    ----------
    x : ndarray of shape (N, C_in)
    weight : ndarray of shape (C_in, C_out)
    bias : ndarray of shape (C_out,)

    Returns
    -------
    y : ndarray of shape (N, C_out)
    cache : tuple for :func:`linear_backward`
    """
    y = np.dot(x, weight)
    y += bias  # (1)
    return y, (x, weight)


def linear_backward(
    dy: np.ndarray, cache: tuple, out: tuple[np.ndarray | None, np.ndarray | None] = (None, None)
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return ``(dx, dweight, dbias)`` for the upstream gradient ``dy`` of shape (N, C_out); the last two are written to ``out``."""
    x, weight = cache
    dx = np.dot(dy, weight.T)  # (2)
    dweight = np.dot(x.T, dy, out=out[0])  # (3)
    dbias = np.dot(repeated(1, len(dy), dy.dtype), dy, out=out[1])  # (4) a sum over rows: BLAS is faster than .sum(0)
    return dx, dweight, dbias
