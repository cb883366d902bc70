r"""Each operation on a tiny input: the forward, the backward, and the complex step beside it.

With a random upstream gradient $u$ the loss is $L = \sum u\circ y$; the backward of $u$ is $\partial L/\partial x$, and so is
$\operatorname{Im} L(x + ihe)/h$, entry by entry.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from minillm import ops
from minillm.lab.differentiate import complex_gradient
from minillm.lab.gate_cases import ADJOINT
from minillm.lessons.tables import beside, facts

CAUSAL = np.tri(3, dtype=bool)
ACTIVATION = np.array([[-2.0, -0.5, 0.5, 1.0, 3.0]])
SHAPES: dict[str, list[tuple[int, ...]]] = {
    "linear": [(2, 3), (3, 2), (2,)], "embedding": [(3, 2)], "layernorm": [(2, 4), (4,), (4,)], "attention": [(1, 1, 3, 2)] * 3,
    "log_softmax": [(2, 3)], "dropout": [(2, 4)], "rmsnorm": [(2, 4), (4,)], "swiglu": [(2, 3), (2, 3)], "rotary": [(1, 1, 6, 4)],
    "grouped_attention": [(1, 2, 6, 2), (1, 1, 6, 2), (1, 1, 6, 2)],
}  # fmt: skip
FIXED: dict[str, tuple[str, Callable[..., Any]]] = {
    "embedding": ("ids = [1 0 1]", lambda weight: ops.embedding(np.array([1, 0, 1]), weight)),
    "layernorm": ("eps = 1e-05", lambda x, weight, bias: ops.layernorm(x, weight, bias, 1e-5)),
    "attention": ("visible = the causal mask", lambda q, k, v: ops.attention(q, k, v, CAUSAL)),
    "dropout": ("p = 0.5, rng = 0", lambda x: ops.dropout(x, 0.5, rng=0)),
}


def names() -> list[str]:
    """Return the operations: every pair ``op``, ``op_backward`` of :mod:`minillm.ops` for which there is an input."""
    return [name for name in ops.__all__ if f"{name}_backward" in ops.__all__ and (name in SHAPES or name in ADJOINT)]


def live(name: str) -> str:
    """Run an operation and its backward, and say what was found."""
    op, backward = getattr(ops, name), getattr(ops, f"{name}_backward")
    fixed = FIXED[name][0] if name in FIXED else ""
    call: Callable[..., Any] = FIXED[name][1] if name in FIXED else ADJOINT[name][0]  # type: ignore[assignment]
    rng = np.random.default_rng(0)
    inputs = _inputs(name, rng)
    labels = [label for label in inspect.signature(op).parameters if label not in ("ids", "visible")][: len(inputs)]
    y, cache = call(*inputs)
    u = rng.normal(size=y.shape).round(2)
    gradients = backward(u, cache)
    gradients = gradients if isinstance(gradients, tuple) else (gradients,)
    parts = ["Input" + (f" ({fixed})" if fixed else ""), beside(dict(zip(labels, inputs, strict=True)))]
    parts += ["Forward, and the upstream gradient u = ∂L/∂y", beside({"y": y, "u": u})]
    parts.append("Backward, and beside it the complex step Im L(x + ihe)/h")
    worst = 0.0
    for i, (label, gradient) in enumerate(zip(labels, gradients, strict=True)):
        exact = complex_gradient(_loss(call, inputs, i, u), inputs[i])
        worst = max(worst, float(np.abs(gradient - exact).max()))
        parts.append(beside({f"d{label}": gradient, "complex step": exact}))
    parts.append(facts({"largest difference of the two": worst, **FACTS.get(name, lambda *_: {})(inputs, y, u, gradients)}))
    return "\n\n".join(parts)


def _inputs(name: str, rng: np.random.Generator) -> list[np.ndarray]:
    if name in SHAPES:
        return [rng.normal(size=shape).round(2) for shape in SHAPES[name]]
    inputs = ADJOINT[name][2](rng)
    return [ACTIVATION] if len(inputs) == 1 else [array.round(2) for array in inputs]


def _loss(call: Callable[..., Any], inputs: list[np.ndarray], i: int, u: np.ndarray) -> Callable[[np.ndarray], Any]:
    return lambda moved: (u * call(*(moved if k == i else x.astype(moved.dtype) for k, x in enumerate(inputs)))[0]).sum()


def _attention(inputs: list[np.ndarray], y: np.ndarray, u: np.ndarray, gradients: tuple) -> dict[str, object]:
    q, k, v = inputs
    weights = ops.attention(q, k, np.eye(3)[None, None], CAUSAL, out=np.empty((1, 1, 3, 3)))[0][0, 0]  # V = 1 leaves P
    biased = ops.attention(q, k + np.array([5.0, -3.0]), v, CAUSAL)[0]
    return {
        "weights P of the last query": weights[-1], "weights P of the first query: hidden ones are 0": weights[0],
        "1/√D, a factor of dq and dk": 1 / np.sqrt(q.shape[-1]),
        "Σ over the keys of dk: the gradient of a key bias": gradients[1].sum(axis=(0, 1, 2)),
        "change of y when (5, -3) is added to all keys": np.abs(biased - y).max(),
    }


FACTS: dict[str, Callable[..., dict[str, object]]] = {
    "attention": _attention,
    "layernorm": lambda inputs, y, u, gradients: {
        "Σ over features of dx, row by row": gradients[0].sum(axis=-1),
        "Σ over features of x − μ (why dμ of the variance is 0)": (inputs[0] - inputs[0].mean(axis=-1, keepdims=True)).sum(axis=-1),
    },
    "log_softmax": lambda inputs, y, u, gradients: {
        "Σ of the probabilities, row by row": np.exp(y).sum(axis=-1), "Σ over the vocabulary of dz, row by row": gradients[0].sum(axis=-1),
    },
    "embedding": lambda inputs, y, u, gradients: {
        "row 1 was used by tokens 0 and 2; u[0] + u[2]": u[0] + u[2], "row 2 was not used": gradients[0][2],
    },
    "linear": lambda inputs, y, u, gradients: {"dbias is the sum over the rows of u": u.sum(axis=0)},
    "dropout": lambda inputs, y, u, gradients: {
        "x": inputs[0][0, 0],
        "mean of y over 100,000 masks": ops.dropout(np.full(100_000, inputs[0][0, 0]), 0.5, rng=1)[0].mean(),
    },
}  # fmt: skip
