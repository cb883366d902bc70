"""What a wrong gradient looks like: ratios and patterns of the error that name the bug."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

CLOSE = 1e-6


def suggest(given: np.ndarray, expected: np.ndarray, x: np.ndarray) -> tuple[str, ...]:
    r"""Return hints on why ``given`` differs from ``expected``, the most specific first.

    Parameters
    ----------
    given, expected : ndarray of one shape
        One array of the gradient as it is and as it should be.
    x : ndarray of the same shape
        The point at which the gradient was taken.
    """
    error, scale = given - expected, float(np.abs(expected).max(initial=0))
    size = float(np.abs(error).max(initial=0))
    if not np.isfinite(given).all():
        return ("the gradient is not finite: a division by zero, a logarithm of zero, or an overflow",)
    hints = list(_ratio_hints(expected, given)) if size > CLOSE * scale else []
    if 0 < size < 3e-3 * scale and not hints:
        hints.append(_rounding_hint(size / scale))
    if np.ptp(error) <= CLOSE * size:
        hints.append("the error is the same in every entry: a constant is added, or a mean is not subtracted")
    elif error.ndim > 1 and np.ptp(error, axis=-1).max() <= CLOSE * size:
        hints.append("the error is constant along the last axis: a mean over features is missing")
    elif _parallel(error, x):
        hints.append("the error is proportional to the parameter itself: weight decay in the gradient?")
    if error.ndim > 1:
        hints += _row_hint(error, size)
    return tuple(hints)


def _ratio_hints(expected: np.ndarray, given: np.ndarray) -> Iterator[str]:
    """One hint if all entries have the same ratio to what they should be."""
    product = float((given * expected).sum())
    square = float((expected * expected).sum())
    ratio = product / square if square else math.inf
    if not square or np.abs(given - ratio * expected).max() > CLOSE * np.abs(expected).max():
        return
    for value, meaning in _meanings():
        if math.isclose(ratio, value, rel_tol=CLOSE, abs_tol=CLOSE):
            yield f"every entry is {ratio:.6g} times what it should be: {meaning}"
            return
    yield f"every entry is {ratio:.6g} times what it should be"


def _meanings() -> Iterator[tuple[float, str]]:
    yield 0.0, "the term is dropped"
    yield -1.0, "the sign is flipped"
    yield 2.0, "counted twice (a residual, a tied array, or d(x²) without ½)"
    yield 0.5, "counted half"
    for n in range(2, 1025):
        yield float(n), f"a sum where a mean over {n} is meant (or n = {n} forgotten)"
        yield 1 / n, f"a mean over {n} where a sum is meant"
        yield math.sqrt(n), f"√{n}: a scale 1/√d with d = {n} is missing"
        yield 1 / math.sqrt(n), f"1/√{n}: a scale with d = {n} is applied once too often"


def _rounding_hint(relative: float) -> str:
    for name, eps in (("float64", 1e-13), ("float32", 1e-6), ("float16 or bfloat16", 3e-3)):
        if relative < eps:
            return f"the error is {relative:.0e} of the largest entry, the size of rounding through {name}"
    return f"the error is {relative:.0e} of the largest entry"


def _parallel(error: np.ndarray, x: np.ndarray) -> bool:
    norms = float(np.linalg.norm(error) * np.linalg.norm(x))
    return error.size > 2 and norms > 0 and abs(float((error * x).sum())) > (1 - CLOSE) * norms


def _row_hint(error: np.ndarray, size: float) -> list[str]:
    rows = np.abs(error.reshape(len(error), -1)).max(axis=1) > CLOSE * size
    if 0 < rows.sum() < len(rows):
        which = np.flatnonzero(rows)
        shown = ", ".join(map(str, which[:8])) + (", …" if len(which) > 8 else "")
        return [f"only {len(which)} of {len(rows)} rows are wrong ({shown}): repeated ids, padding or one position?"]
    return []
