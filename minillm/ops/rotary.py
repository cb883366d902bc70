r"""Rotary position embedding (Su et al. 2021, arXiv:2104.09864, eq. 34): a query or key at position $t$ is turned by angles in $t$.

The features of a head are taken in pairs $(a_i, b_i)$, $i = 0 … D/2-1$, and each pair is rotated in its plane:

$$\begin{pmatrix} a_i' \\ b_i' \end{pmatrix} =
  \begin{pmatrix} \cos t\omega_i & -\sin t\omega_i \\ \sin t\omega_i & \cos t\omega_i \end{pmatrix}
  \begin{pmatrix} a_i \\ b_i \end{pmatrix}, \qquad \omega_i = \vartheta^{-2i/D} \tag{1}$$

With $R_t$ for the whole rotation, $(R_s q)\cdot(R_t k) = q\cdot R_{t-s}k$: scores depend on the distance alone.

**Which features are a pair** is a convention. Here it is Hugging Face's: $a$ is the first half of the head's features, $b$ the second,
two contiguous pieces for an array expression, and the tensors of a checkpoint are the parameters as they are. The paper, Meta's files
and GGUF pair neighbours, $(x_{2i}, x_{2i+1})$. The two differ by one permutation of the features of a head, and $q\cdot k$ does not
change when it is applied to both: so a file of the other kind is read by permuting the *rows* of the weights that make q and k, once
(:func:`halves_from_pairs`), and nothing else. Unpermuted weights are wrong without any error: only the first position is right.

Backward. The map is linear and orthogonal, $R_t^{-1} = R_t^\top$, so its transpose is the rotation by the opposite angles,

$$\bar x = R_t^\top\bar y = R_{-t}\bar y \tag{2}$$

It keeps lengths in both directions. Kept for the backward: the cosines and sines.

Angles are computed in float64 at least: at $t = 8000$ an angle in float32 is off by 5e-4 before the cosine is taken.
"""

import numpy as np


def rotary_tables(positions: np.ndarray, width: int, theta: float, dtype: np.dtype | type) -> tuple[np.ndarray, np.ndarray]:
    r"""Return $\cos t\omega_i$ and $\sin t\omega_i$.

    Parameters
    ----------
    positions : integer ndarray of shape (…, T)
    width : int
        D, even.
    theta : float
        The base $\vartheta$; ``rope_theta`` in configurations.
    dtype : dtype
        Of the model; the tables are real.

    Returns
    -------
    cos, sin : ndarray of shape (…, T, D/2)
    """
    real = np.finfo(dtype).dtype
    wide = np.result_type(real, np.float64)
    frequencies = wide.type(theta) ** (np.arange(0, width, 2) / wide.type(-width))
    angles = positions[..., None] * frequencies
    return np.cos(angles).astype(real), np.sin(angles).astype(real)


def rotary(x: np.ndarray, cos: np.ndarray, sin: np.ndarray) -> tuple[np.ndarray, tuple]:
    r"""Return $R_t x$ for every head and position.

    Parameters
    ----------
    x : ndarray of shape (B, H, T, D)
    cos, sin : ndarray that broadcasts to (B, H, T, D/2)
        From :func:`rotary_tables`.

    Returns
    -------
    y : ndarray of shape (B, H, T, D)
    cache : tuple for :func:`rotary_backward`
    """
    a, b = np.split(x, 2, axis=-1)
    y = np.empty(x.shape, x.dtype)
    first, second = np.split(y, 2, axis=-1)
    np.multiply(a, cos, out=first)
    first -= b * sin  # (1) first row
    np.multiply(b, cos, out=second)
    second += a * sin  # (1) second row
    return y, (cos, sin)


def rotary_backward(dy: np.ndarray, cache: tuple) -> np.ndarray:
    r"""Return $\bar x = R_{-t}\bar y$."""
    cos, sin = cache
    dx, _ = rotary(dy, cos, -sin)  # (2)
    return dx


def halves_from_pairs(weight: np.ndarray, heads: int) -> np.ndarray:
    """Return the rows of a weight (heads·D, C) that makes queries or keys in the order of halves, from that of neighbouring pairs."""
    rows, C = weight.shape
    return weight.reshape(heads, rows // heads // 2, 2, C).swapaxes(1, 2).reshape(rows, C)
