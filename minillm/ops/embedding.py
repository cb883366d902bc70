r"""Rows of a table, $y_n = W_{i_n}$, as ids pick them.

$$y_n = W_{i_n} \tag{1}$$

Backward. $y = EW$ with the one-hot matrix $E_{nv} = [i_n = v]$, hence $\bar W = E^\top \bar y$, that is

$$\bar W_v = \sum_{n:\, i_n = v} \bar y_n \tag{2}$$

Repeated ids *add up*; assignment, and ``dW[ids] += dy`` (which NumPy buffers, so that of repeated rows only the last
arrives), are the classic mistakes. $E^\top$ is sparse with one entry a column, so the sum is a sparse product:
$NC$ additions. Where $E$ is small it is cheaper to write it out than to describe it: then the product is an ordinary one. Kept for
the backward: the ids.
"""

import numpy as np
from scipy import sparse

WRITTEN_OUT = 1 << 14  # entries of E up to which it is an ordinary matrix


def embedding(ids: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, tuple]:
    r"""Return the rows ``weight[ids]``.

    Parameters
    ----------
    ids : integer ndarray of shape (N,), each in [0, V)
    weight : ndarray of shape (V, C)

    Returns
    -------
    y : ndarray of shape (N, C), a copy
    cache : tuple for :func:`embedding_backward`
    """
    return weight.take(ids, axis=0), (ids, len(weight))  # (1)


def embedding_backward(dy: np.ndarray, cache: tuple) -> np.ndarray:
    """Return ``dweight`` of shape (V, C): row v sums the rows of ``dy`` whose id is v; unused rows are exactly 0."""
    ids, rows = cache
    if rows * len(ids) <= WRITTEN_OUT:
        return np.dot((np.arange(rows)[:, None] == ids).astype(dy.dtype), dy)  # (2)
    one_hot_transposed = sparse.csc_array(
        (np.ones(len(ids), dy.dtype), ids, np.arange(len(ids) + 1)), shape=(rows, len(ids))
    )
    return one_hot_transposed @ dy  # (2)
