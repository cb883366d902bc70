r"""Dropout (Srivastava et al. 2014, JMLR 15, section 4), in the inverted form that leaves evaluation alone.

With independent $M_j \in \{0, 1\}$, $P(M_j = 0) = p$, the scale and the output are

$$S_j = M_j/(1-p) \tag{1}$$

$$y_j = S_j\,x_j \tag{2}$$

Since $E[S_j] = (1-p)/(1-p) = 1$, $E[y] = x$: what was divided out in training need not be multiplied in later, and evaluation is
the identity, with no random number drawn.

Backward. For a given mask the map is linear and diagonal, $\partial y_j/\partial x_k = S_j[j=k]$, hence with the *same* mask

$$\bar x_j = S_j\,\bar y_j \tag{3}$$

A fresh mask in the backward would be wrong, and yet right on average for a given $\bar y$. Given the same seed the
mask is the same whatever the dtype of x: a gradient check by complex step goes through a model with dropout as through one without.
Cost: one random number and one product an entry. Kept for the backward: $S$.
"""

from typing import Any

import numpy as np

from minillm.errors import UserError


def dropout_scale(shape: tuple[int, ...], p: float, dtype: np.dtype | type, *, rng: Any) -> np.ndarray | None:
    r"""Draw $S$: entries 0 with probability p, else $1/(1-p)$; None when p is 0 (no random number is then consumed).

    Raises
    ------
    UserError
        If p is above 0 and ``rng`` is None: a mask that nobody can repeat is an error.
    """
    if p == 0:
        return None
    if rng is None:
        raise UserError(f"dropout with p = {p} needs rng: a seed or a numpy.random.Generator")
    kept = np.random.default_rng(rng).random(shape, dtype=np.float32) >= p
    return kept * np.asarray(1 / (1 - p), dtype)  # (1)


def dropout(x: np.ndarray, p: float, *, rng: Any) -> tuple[np.ndarray, np.ndarray | None]:
    r"""Return $S \circ x$ with a fresh mask.

    Parameters
    ----------
    x : ndarray of any shape
    p : float in [0, 1)
        Probability of a zero; ``GPT2Config`` names it ``resid_pdrop``, ``embd_pdrop``, ``attn_pdrop`` where it is used.
    rng : seed or numpy.random.Generator
        May be None when p is 0.

    Returns
    -------
    y : ndarray like x; x itself when p is 0
    cache : ndarray like x, or None
        $S$, for :func:`dropout_backward`.
    """
    scale = dropout_scale(x.shape, p, x.dtype, rng=rng)
    return (x, None) if scale is None else (x * scale, scale)  # (2)


def dropout_backward(dy: np.ndarray, cache: np.ndarray | None) -> np.ndarray:
    r"""Return $\bar x = S\circ\bar y$; ``dy`` itself when nothing was dropped."""
    return dy if cache is None else dy * cache  # (3)
