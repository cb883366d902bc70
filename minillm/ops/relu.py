r"""The rectifier, ``relu``: $y = \max(x, 0)$ (Nair & Hinton 2010).

$$y = x\,[x > 0] \tag{1}$$

Backward. The bracket is constant wherever it has a derivative, so

$$y' = [x > 0] \tag{2}$$

and $\bar x = \bar y\,y'$. At 0 there is no derivative; the rule is $y'(0) = 0$, one of the subgradients $[0, 1]$ of the convex $y$.
A complex $x$ is sorted by its real part: off the imaginary axis that is holomorphic, with the same derivative. Cost: one comparison
an entry. Kept: $y'$.
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
    y = np.where(positive, x, 0)  # (1)
    return y, positive.astype(x.dtype) if keep else None  # (2)
