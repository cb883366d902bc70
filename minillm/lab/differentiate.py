r"""Derivatives without a backward pass: by complex step where the function allows it, by differences where it does not.

**Complex step.** For $f$ holomorphic and real on real arguments,
$f(x+ihv) = f(x) + ih\,f'(x)v - \tfrac{h^2}{2}f''(x)[v,v] - \dots$, so

$$\frac{\operatorname{Im} f(x+ihv)}{h} = f'(x)\,v + O(h^2) \tag{1}$$

Nothing is subtracted, so $h$ may be so small ($10^{-20}$ here) that the error term vanishes below rounding: the
result is right to the last digits with no step to choose (Squire & Trapp 1998, SIAM Review 40(1)). The function must
not use abs, conj, real parts or comparisons of values that depend on $x$. Applied to a *gradient* the same line is an
exact Hessian–vector product.

**Differences.** Central differences have error terms in even powers of $h$,

$$D_1(h) = \frac{f(x+hv)-f(x-hv)}{2h} = f'v + c_2h^2 + c_4h^4 + \dots \tag{2}$$

and lose $\epsilon|f|/h$ to rounding, for two nearly equal numbers are subtracted. Richardson's extrapolation

$$D_{k+1}(h) = \frac{4^k D_k(h/2) - D_k(h)}{4^k-1} \tag{3}$$

removes one term at a time. (SciPy's ``scipy.differentiate``
wants a function that is vectorised over its steps; a model's loss is not.)
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

STEP = 1e-20
Function = Callable[[np.ndarray], Any]


def complex_step(f: Function, x: np.ndarray, v: np.ndarray, h: float = STEP) -> np.ndarray:
    r"""Return the directional derivative $f'(x)\,v = \operatorname{Im} f(x+ihv)/h$.

    Parameters
    ----------
    f : callable, array → scalar or array
        Holomorphic, and real for real arguments.
    x : real ndarray
        float64, or longdouble for a derivative in longdouble.
    v : ndarray of the shape of ``x``
    h : float
        The step; its size does not matter as long as its square vanishes beside 1.

    Returns
    -------
    ndarray of the shape of f(x)
    """
    return np.asarray(f(x + 1j * (h * v))).imag / h  # (1)


def complex_gradient(f: Function, x: np.ndarray, h: float = STEP) -> np.ndarray:
    r"""Return $\partial f/\partial x$, one complex step for each entry of ``x``; further axes of ``f(x)`` come last.

    For a scalar f this is the gradient, of the shape of ``x``; for a gradient f it is the Hessian.
    """
    return _stacked(lambda unit: complex_step(f, x, unit, h), x)


def hessian_vector_product(gradient: Function, x: np.ndarray, v: np.ndarray) -> np.ndarray:
    r"""Return $\nabla^2 f(x)\,v = \operatorname{Im}\nabla f(x+ihv)/h$, exact to rounding: one complex run of the gradient.

    This is forward-over-reverse differentiation (Pearlmutter 1994, "Fast exact multiplication by the Hessian") with
    complex numbers in the place of dual ones.
    """
    return complex_step(gradient, x, v)


def central_difference(f: Function, x: np.ndarray, v: np.ndarray, h: float = 1e-5, order: int = 2) -> np.ndarray:
    r"""Return $f'(x)v$ by a symmetric difference.

    Parameters
    ----------
    f : callable, array → scalar or array
    x, v : ndarray of one shape
    h : float
    order : {2, 4}
        2: $D(h) = \frac{f(x+hv)-f(x-hv)}{2h}$. 4: $\frac{4D(h/2)-D(h)}{3}$, the five-point formula.

    Raises
    ------
    ValueError
        If ``order`` is neither 2 nor 4.
    """
    if order not in (2, 4):
        raise ValueError(f"order must be 2 or 4, got {order}")
    return _differences(f, x, v, h, order // 2)[-1][-1]


def richardson(f: Function, x: np.ndarray, v: np.ndarray, h: float = 0.1, levels: int = 8) -> tuple[np.ndarray, float]:
    r"""Return $f'(x)v$ by Richardson extrapolation of central differences, and an estimate of its error.

    The steps are $h, h/2, h/4, \dots$; of the triangular table the entry is taken whose two neighbours agree best
    with it (Ridders 1982), which balances the error terms against rounding.

    Parameters
    ----------
    f : callable, array → scalar or array
    x, v : ndarray of one shape
    h : float
        The largest step; f must be smooth on $x \pm hv$.
    levels : int, at least 2
    """
    table = _differences(f, x, v, h, levels)
    entries = [
        (max(_apart(row[k], row[k - 1]), _apart(row[k], before[k - 1])), i, k)
        for i, (before, row) in enumerate(itertools.pairwise(table), start=1)
        for k in range(1, len(row))
    ]
    error, i, k = min(entries)
    return table[i][k], error


def difference_gradient(f: Function, x: np.ndarray) -> np.ndarray:
    """Return the gradient of a scalar f by :func:`richardson`: about ten digits, sixteen calls for each entry."""
    return _stacked(lambda unit: richardson(f, x, unit)[0], x)


def per_sample_gradients(backward: Function, upstream: np.ndarray) -> np.ndarray:
    r"""Return the gradient of each sample's share of a sum, shape (B, P); their sum over B is ``backward(upstream)``.

    A backward pass is linear in the upstream gradient $u$, so the share of sample b is the pass of $u$ with all other
    rows zero.

    Parameters
    ----------
    backward : callable, upstream gradient → ndarray of shape (P,)
        ``lambda dlogits: model.backward(dlogits, cache)``.
    upstream : ndarray of shape (B, ...)
    """
    shares = np.zeros((len(upstream), *upstream.shape), upstream.dtype)
    rows = np.arange(len(upstream))
    shares[rows, rows] = upstream
    return np.stack([backward(share) for share in shares])


def fisher_from_scores(scores: np.ndarray, p: np.ndarray) -> np.ndarray:
    r"""Return the Fisher matrix $F = \sum_n p_n\,s_n s_n^\top$ of n enumerated outcomes with scores
    $s_n = \nabla\log p_n$.

    Parameters
    ----------
    scores : ndarray of shape (n, P)
    p : ndarray of shape (n,), the probabilities of *all* outcomes
    """
    return (scores * p[:, None]).T @ scores


def fisher_from_hessians(scores: Function, x: np.ndarray, p: np.ndarray) -> np.ndarray:
    r"""Return the Fisher matrix by its other definition, $F = -\sum_n p_n\,\nabla^2\log p_n$.

    The two agree because $\sum_n p_n = 1$ for all θ:
    $0 = \nabla\sum_n p_n s_n = \sum_n p_n s_n s_n^\top + \sum_n p_n\nabla s_n$.

    Parameters
    ----------
    scores : callable, θ (P,) → scores (n, P)
        Complex-safe.
    x : ndarray of shape (P,)
    p : ndarray of shape (n,)
    """
    return _stacked(lambda unit: -(p @ complex_step(scores, x, unit)), x)


def _stacked(derivative: Function, x: np.ndarray) -> np.ndarray:
    """Evaluate a directional derivative along every unit vector; the axes of ``x`` come first."""
    columns = []
    for i in range(x.size):
        unit = np.zeros(x.size, x.dtype)
        unit[i] = 1
        columns.append(derivative(unit.reshape(x.shape)))
    return np.stack(columns).reshape(*x.shape, *np.shape(columns[0])) if columns else np.zeros(x.shape, x.dtype)


def _differences(f: Function, x: np.ndarray, v: np.ndarray, h: float, levels: int) -> list[list[np.ndarray]]:
    """Richardson's triangular table: row i starts with the central difference at h/2ⁱ."""
    table: list[list[np.ndarray]] = []
    for i in range(levels):
        step = h / 2**i
        row = [(np.asarray(f(x + step * v)) - np.asarray(f(x - step * v))) / (2 * step)]  # (2)
        for k in range(1, i + 1):
            row.append((4**k * row[k - 1] - table[i - 1][k - 1]) / (4**k - 1))  # (3)
        table.append(row)
    return table


def _apart(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.max(np.abs(a - b), initial=0.0))
