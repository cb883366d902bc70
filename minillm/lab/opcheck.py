r"""Is this pair ``op``, ``op_backward`` right and well behaved? The adjoint test, and what a backward pass owes its
caller.

For $y = f(x)$ with Jacobian $J$, the backward computes $J^\top u$. For random $v, u$

$$\langle Jv, u\rangle = \langle v, J^\top u\rangle, \qquad Jv = \operatorname{Im} f(x+ihv)/h ,$$

which tests every entry of $J$ with one forward and one backward.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from minillm.lab.differentiate import STEP

Op = Callable[..., tuple[np.ndarray, Any]]
Backward = Callable[[np.ndarray, Any], Any]


def adjoint_error(op: Op, backward: Backward, inputs: Sequence[Any], *, rng: Any) -> float:
    r"""Return $|\langle Jv,u\rangle - \langle v,J^\top u\rangle| / (\|Jv\|\|u\|)$ for one random pair of $v$, over
    all float inputs, and $u$.

    Parameters
    ----------
    op : callable, ``(*inputs) → (y, cache)``
    backward : callable, ``(dy, cache) → gradient`` or a tuple of gradients, one for each float array among the inputs
    inputs : sequence
        Float arrays are differentiated by; everything else is passed on.
    rng : seed or numpy.random.Generator
    """
    rng = np.random.default_rng(rng)
    directions = [rng.normal(size=a.shape) if _is_float(a) else None for a in inputs]
    moved = [a if v is None else a + 1j * (STEP * v) for a, v in zip(inputs, directions, strict=True)]
    Jv = op(*moved)[0].imag / STEP
    y, cache = op(*inputs)
    u = rng.normal(size=y.shape)
    gradients = _tuple(backward(u, cache))
    by_input = sum(float((v * g).sum()) for v, g in zip((v for v in directions if v is not None), gradients, strict=True))
    scale = float(np.linalg.norm(Jv) * np.linalg.norm(u))
    return abs(float((Jv * u).sum()) - by_input) / (scale or 1.0)


def check_operation(op: Op, backward: Backward, inputs: Sequence[Any], *, rng: Any = 0, tolerance: float = 1e-14) -> list[str]:
    """Return what is wrong with an operation and its backward; an empty list when nothing is.

    Checked: the adjoint test; equal calls give equal bits; the backward is linear in the upstream gradient, and
    exactly zero for zero; neither writes to its inputs (they are made read-only); what is returned shares no memory
    with inputs, upstream gradient or a second call; two forwards in a row keep their caches apart; non-contiguous and
    reversed inputs give the same result.

    Parameters are those of :func:`adjoint_error`; ``tolerance`` bounds relative errors.
    """
    rng = np.random.default_rng(rng)
    inputs = [np.array(a) if isinstance(a, np.ndarray) else a for a in inputs]
    return list(_problems(op, backward, inputs, rng, tolerance))


def _problems(op: Op, backward: Backward, inputs: list[Any], rng: np.random.Generator, tolerance: float) -> Iterator[str]:
    error = adjoint_error(op, backward, inputs, rng=rng)
    if not error <= tolerance:
        yield f"the adjoint test fails: {error:.1e} above {tolerance:.0e}"
    for a in inputs:
        if isinstance(a, np.ndarray):
            a.setflags(write=False)
    y, cache = op(*inputs)
    u, w = rng.normal(size=y.shape), rng.normal(size=y.shape)
    u.setflags(write=False)
    try:
        first = _tuple(backward(u, cache))
    except ValueError as problem:
        yield f"the backward writes to its inputs: {problem}"
        return
    yield from _shape_problems(first, inputs)
    yield from _repeat_problems(op, backward, inputs, (y, cache, u, first))
    yield from _linearity_problems(backward, cache, u, w, first, tolerance)
    yield from _alias_problems(y, first, u, inputs)
    yield from _layout_problems(op, backward, inputs, u, first, tolerance)


def _shape_problems(gradients: tuple, inputs: list[Any]) -> Iterator[str]:
    for i, (gradient, a) in enumerate(zip(gradients, filter(_is_float, inputs), strict=True)):
        if gradient.shape != a.shape:
            yield f"gradient {i} has shape {gradient.shape}, its input {a.shape}"


def _repeat_problems(op: Op, backward: Backward, inputs: list[Any], known: tuple) -> Iterator[str]:
    y, cache, u, first = known
    before = y.copy()
    other = [a * 2 if _is_float(a) else a for a in inputs]
    op(*other)  # a second forward between forward and backward
    if not np.array_equal(y, before):
        yield "a later forward changes an earlier output"
    again = _tuple(backward(u, cache))
    if not all(map(np.array_equal, first, again)):
        yield "a later forward or backward changes an earlier cache, or the backward is not deterministic"
    if not np.array_equal(op(*inputs)[0], before):
        yield "the forward is not deterministic"


def _linearity_problems(backward: Backward, cache: Any, u: np.ndarray, w: np.ndarray, first: tuple, tolerance: float) -> Iterator[str]:
    second, both = _tuple(backward(w, cache)), _tuple(backward(2 * u - 3 * w, cache))
    for i, (a, b, c) in enumerate(zip(first, second, both, strict=True)):
        scale = max(float(np.abs(a).max(initial=0)), float(np.abs(b).max(initial=0))) or 1.0
        if not np.abs(2 * a - 3 * b - c).max(initial=0) <= 100 * tolerance * scale:
            yield f"gradient {i} is not linear in the upstream gradient"
    if any(np.any(gradient != 0) for gradient in _tuple(backward(np.zeros_like(u), cache))):
        yield "a zero upstream gradient does not give an exact zero"


def _alias_problems(y: np.ndarray, gradients: tuple, u: np.ndarray, inputs: list[Any]) -> Iterator[str]:
    arrays = [a for a in inputs if isinstance(a, np.ndarray)]
    for i, gradient in enumerate(gradients):
        others = [*arrays, u, y, *gradients[:i]]
        if any(np.shares_memory(gradient, other) for other in others):
            yield f"gradient {i} shares memory with an input, the upstream gradient or another gradient"
    if any(np.shares_memory(y, a) for a in arrays):
        yield "the output shares memory with an input"


def _layout_problems(op: Op, backward: Backward, inputs: list[Any], u: np.ndarray, first: tuple, tolerance: float) -> Iterator[str]:
    for name, change in (("non-contiguous", _spread), ("negative-stride", _reversed)):
        _, cache = op(*(change(a) if _is_float(a) else a for a in inputs))
        for i, (a, b) in enumerate(zip(first, _tuple(backward(change(u), cache)), strict=True)):
            if not np.abs(a - b).max(initial=0) <= 10 * tolerance * max(1.0, float(np.abs(a).max(initial=0))):
                yield f"gradient {i} differs for {name} inputs"


def _spread(a: np.ndarray) -> np.ndarray:
    wide = np.zeros((*a.shape[:-1], 2 * a.shape[-1]), a.dtype)
    wide[..., ::2] = a
    return wide[..., ::2]


def _reversed(a: np.ndarray) -> np.ndarray:
    return a[..., ::-1].copy()[..., ::-1]


def _is_float(a: Any) -> bool:
    return isinstance(a, np.ndarray) and a.dtype.kind == "f"


def _tuple(result: Any) -> tuple:
    return result if isinstance(result, tuple) else (result,)
