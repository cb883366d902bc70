r"""The rectifier, ``relu``: $y = \max(x, 0)$ (Nair & Hinton 2010).

Backward. $y' = 1$ for $x > 0$ and 0 for $x < 0$. At 0 there is no derivative; the rule is $y'(0) = 0$, one of the subgradients.
A complex $x$ is sorted by its real part: off the imaginary axis that is holomorphic, with the same derivative. Kept: $y'$.
"""

import numpy as np

from minillm.ops.gelu import gelu_new_backward

relu_backward = gelu_new_backward  # the derivative is kept and nothing else


def relu(x: np.ndarray, keep: bool = True) -> tuple[np.ndarray, np.ndarray | None]:
    r"""Return $\max(x, 0)$, element by element.

    Parameters
    ----------
    x : ndarray of shape (N, C)
    keep : bool
        Whether the derivative is kept, for the backward; else ``cache`` is None.

    Returns
    -------
    y : ndarray of shape (N, C)
    cache : ndarray of shape (N, C) or None
        The derivative $y'(x)$.
    """
    positive = x.real > 0
    return np.where(positive, x, 0), positive.astype(x.dtype) if keep else None
