r"""SwiGLU, the gated unit of Llama's MLP (Shazeer 2020, arXiv:2002.05202, eq. 6): $y = \mathrm{silu}(g)\circ u$.

$g$ (gate) and $u$ (up) are two linear maps of the same input:

$$y = \mathrm{silu}(g)\circ u \tag{1}$$

Backward, by the product rule, element by element:

$$\bar u = \bar y\circ\mathrm{silu}(g) \tag{2}$$

$$\bar g = \bar y\circ u\circ\mathrm{silu}'(g) \tag{3}$$

Kept for the backward: $u$, $\mathrm{silu}(g)$ and $\mathrm{silu}'(g)$ (:mod:`minillm.ops.silu`).
"""

import numpy as np

from minillm.ops.silu import silu


def swiglu(gate: np.ndarray, up: np.ndarray, keep: bool = True) -> tuple[np.ndarray, tuple | None]:
    r"""Return $\mathrm{silu}(g)\circ u$.

    Parameters
    ----------
    gate, up : ndarray of shape (N, C)
    keep : bool
        Whether what the backward needs is kept; else ``cache`` is None.

    Returns
    -------
    y : ndarray of shape (N, C)
    cache : tuple for :func:`swiglu_backward`, or None
    """
    opened, slope = silu(gate, keep)
    if not keep:
        opened *= up
        return opened, None
    return opened * up, (up, opened, slope)  # (1)


def swiglu_backward(dy: np.ndarray, cache: tuple) -> tuple[np.ndarray, np.ndarray]:
    """Return ``(dgate, dup)`` for the upstream gradient ``dy`` of shape (N, C)."""
    up, opened, slope = cache
    dgate = dy * up
    dgate *= slope  # (3)
    return dgate, dy * opened  # (2)
