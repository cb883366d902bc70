"""Inputs on which a gradient check is blind: a wrong gradient can be right there by accident."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np


def blind_spots(arrays: Mapping[str, np.ndarray], inputs: Mapping[str, Any]) -> tuple[str, ...]:
    """Return a warning for each feature that hides mistakes.

    Parameters
    ----------
    arrays : mapping of str to ndarray
        What is differentiated by.
    inputs : mapping of str to anything
        Data by the names ``ids`` (B, T), ``mask`` or ``targets`` (−100 ignores), ``upstream``, ``n_head``,
        ``n_layer``; others are ignored.
    """
    return (*_in_arrays(arrays), *_in_inputs(inputs))


def _in_arrays(arrays: Mapping[str, np.ndarray]) -> Iterator[str]:
    for name, array in arrays.items():
        if array.dtype.itemsize < 8:
            yield f"{name} is {array.dtype}: values were given in low precision"
        if array.size == 1:
            yield f"{name} has one entry: sums, means and transposes over it cannot be told apart"
        elif array.size and np.all(array == array.flat[0]):
            value = f"{array.flat[0]:g}"
            why = {"1": "a factor left out is not seen", "0": "a product with it is not seen"}.get(value, "permutations are not seen")
            yield f"{name} is all {value}: {why}; use random values"
        if array.ndim == 2 and array.shape[0] == array.shape[1] > 1:
            yield f"{name} is square: a missing transpose fits; use different sizes"


def _in_inputs(inputs: Mapping[str, Any]) -> Iterator[str]:
    ids = inputs.get("ids")
    if ids is not None:
        rows = np.atleast_2d(ids)
        if len(rows) == 1:
            yield "batch of 1: sums over the batch are not seen"
        if rows.shape[1] == 1:
            yield "one position (T = 1): attention and masks are not seen"
        if len(np.unique(rows)) == rows.size:
            yield "no repeated tokens: assignment in place of accumulation is not seen"
    for name in ("mask", "targets"):
        if name in inputs and not _has_padding(name, np.asarray(inputs[name])):
            yield f"no padding in {name}: means over padded tokens are not seen"
    if "upstream" in inputs and np.ptp(np.asarray(inputs["upstream"])) == 0:
        yield "the upstream gradient is constant (a summed output): zero after softmax or LayerNorm; use random values"
    for name, unit in (("n_head", "head"), ("n_layer", "layer")):
        if inputs.get(name) == 1:
            yield f"one {unit}: mistakes in splitting or stacking {unit}s are not seen"


def _has_padding(name: str, array: np.ndarray) -> bool:
    return bool((array < 0).any() if name == "targets" else (array == 0).any())


def kink(f: Callable[[np.ndarray], np.ndarray], x: np.ndarray, v: np.ndarray) -> tuple[str, ...]:
    r"""Return a warning if the slopes of f along $v$ and $-v$ differ at ``x``: f then has no derivative there.

    For a smooth f the one-sided slopes differ by $h\,v^\top\nabla^2f\,v$, which shrinks with h; at a kink the gap
    stays.
    """
    unit = v / (np.abs(v).max(initial=0) or 1.0)
    middle = float(f(x))
    gaps, slopes = [], []
    for h in (1e-5, 1e-6):
        ahead, behind = float(f(x + h * unit)) - middle, middle - float(f(x - h * unit))
        gaps.append(abs(ahead - behind) / h)
        slopes.append(max(abs(ahead), abs(behind)) / h)
    rounding = 1e-9 * max(abs(middle), 1.0)
    if gaps[1] > 0.5 * gaps[0] and gaps[1] > max(1e-4 * slopes[1], rounding):
        return ("f has a kink here: its slopes along v and -v differ; move x away from it",)
    return ()
