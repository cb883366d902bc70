r"""How a log-ratio enters: pairs of a value and its slope, $\mathrm{slope} = \partial\,\mathrm{value}/\partial x$ at advantage A.

$x = \log\pi_\theta/\pi_{old}$ of a token, of a whole sequence, or the mean over a sequence; $\rho = e^x$. Comparisons look at real
parts, so both run in complex128 and are holomorphic. At $\pi_\theta = \pi_{old}$ every slope is exactly A, because $e^0 = 1$ exactly.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class Weight(NamedTuple):
    """``value(x, A)`` and its derivative by x, ``slope(x, A)``; arrays of the same shape."""

    value: Callable[[np.ndarray, np.ndarray], np.ndarray]
    slope: Callable[[np.ndarray, np.ndarray], np.ndarray]


RATIO = Weight(lambda x, A: np.exp(x) * A, lambda x, A: np.exp(x) * A)


def ppo_clipped(low: float, high: float) -> Weight:
    r"""Return $\min(\rho A, \mathrm{clip}(\rho, low, high)\,A)$ (Schulman et al. 2017, eq. 7).

    It is constant, with slope 0, where $A > 0$ and $\rho > high$ or $A < 0$ and $\rho < low$, and $\rho A$ elsewhere: a bad token that
    has become *likelier* is not clipped.
    """

    def clipped(rho: np.ndarray, A: np.ndarray) -> np.ndarray:
        return ((A.real > 0) & (rho.real > high)) | ((A.real < 0) & (rho.real < low))

    def value(x: np.ndarray, A: np.ndarray) -> np.ndarray:
        rho = np.exp(x)
        return np.where(clipped(rho, A), np.where(A.real > 0, high, low), rho) * A

    def slope(x: np.ndarray, A: np.ndarray) -> np.ndarray:
        rho = np.exp(x)
        return np.where(clipped(rho, A), 0, rho) * A

    return Weight(value, slope)


def truncated(low: float, high: float) -> Weight:
    r"""Return the weight with slope $\mathrm{clip}(\rho, low, high)\,A$: no token's slope vanishes.

    Its value is the integral, $\rho A$ between the bounds and, continued with a constant slope, $b\,(1 + x - \log b)\,A$ beyond a bound b.
    """

    def value(x: np.ndarray, A: np.ndarray) -> np.ndarray:
        rho = np.exp(x)
        above, below = rho.real > high, rho.real < low
        with_slope = np.where(above, high, np.where(below, low, 1.0))
        return np.where(above | below, with_slope * (1 + x - np.log(with_slope)), rho) * A

    def slope(x: np.ndarray, A: np.ndarray) -> np.ndarray:
        rho = np.exp(x)
        return np.where(rho.real > high, high, np.where(rho.real < low, low, rho)) * A

    return Weight(value, slope)
