r"""Wrong backward passes of the transformer: an operation's backward replaced, or the whole gradient changed afterwards.

A replacement is written with the right backward where it can be, so that each shows one mistake and nothing else. The forward, and
with it f, is never touched.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

import minillm.block
import minillm.transformer
from minillm import ops
from minillm.lab.mutants.core import Mutant, Problem
from minillm.lab.standard import random_case

CASE = random_case(1, V=5, T=5, B=3, H=2, D=3)
PROBLEM = Problem(CASE.loss, CASE.gradient, CASE.theta)
MODULES = {"block": minillm.block, "transformer": minillm.transformer}


@contextlib.contextmanager
def replaced(module: Any, name: str, function: Callable) -> Iterator[None]:
    """Put another function in the place of ``module.name`` for a while."""
    kept = getattr(module, name)
    setattr(module, name, function)
    try:
        yield
    finally:
        setattr(module, name, kept)


def patched(where: str, function: Callable) -> Callable[[np.ndarray], np.ndarray]:
    """Return the case's gradient as computed with ``where`` = "module.name" replaced."""
    module, name = where.split(".")

    def gradient(theta: np.ndarray) -> np.ndarray:
        with replaced(MODULES[module], name, writing(function)):
            return CASE.gradient(theta)

    return gradient


def writing(function: Callable) -> Callable:
    """Let a backward that returns its gradients write the last of them to ``out`` too, as those of the operations do."""

    def backward(dy: np.ndarray, cache: tuple, *rest: Any, out: tuple = ()) -> Any:
        gradients = function(dy, cache, *rest)
        for place, value in zip(reversed(out), reversed(gradients), strict=False):
            if place is not None:
                place[...] = value
        return gradients

    return backward


def _weights(cache: tuple) -> np.ndarray:
    """P, queries by keys; the case is short enough for one step."""
    ((_, _, transposed),) = cache[3]
    return transposed.mT


def _attention(
    do: np.ndarray,
    cache: tuple,
    shape: Callable = lambda p, dp: p * (dp - (p * dp).sum(-1, keepdims=True)),
    weights: Callable = _weights,
) -> tuple:
    """The attention backward with a choice of what stands for the softmax's Jacobian, and for P in all of it."""
    q, k, v, *_ = cache
    p = weights(cache)
    ds = shape(p, do @ v.swapaxes(-1, -2)) / math.sqrt(q.shape[-1])
    return ds @ k, ds.swapaxes(-1, -2) @ q, p.swapaxes(-1, -2) @ do


def _scaled(do: np.ndarray, cache: tuple, a: float, b: float, c: float) -> tuple:
    dq, dk, dv = ops.attention_backward(do, cache)
    return a * dq, b * dk, c * dv


def _unmasked(do: np.ndarray, cache: tuple) -> tuple:
    q, k, *_ = cache
    p = np.exp(ops.log_softmax(q @ k.swapaxes(-1, -2) / math.sqrt(q.shape[-1]))[0])
    _, _, dv = ops.attention_backward(do, cache)
    return (*_attention(do, cache, weights=lambda cache: p)[:2], dv)


def _untransposed(do: np.ndarray, cache: tuple) -> tuple:
    dq, dk, _ = ops.attention_backward(do, cache)
    return dq, dk, _weights(cache) @ do


def _swapped(do: np.ndarray, cache: tuple) -> tuple:
    dq, dk, dv = ops.attention_backward(do, cache)
    return dk, dq, dv


def _heads_reversed(do: np.ndarray, cache: tuple) -> tuple:
    dq, dk, dv = ops.attention_backward(do, cache)
    return dq, dk, dv[:, ::-1]


D = CASE.config.n_embd // CASE.config.n_head
ROOT = math.sqrt(D)
Rows = list[tuple[str, str, Callable]]
ATTENTION: Rows = [
    ("no-scale", "1/√d missing in the backward", partial(_scaled, a=ROOT, b=ROOT, c=1)),
    ("scale-d", "1/d in place of 1/√d", partial(_scaled, a=1 / ROOT, b=1 / ROOT, c=1)),
    ("scale-queries", "1/√d missing for the keys", partial(_scaled, a=1, b=ROOT, c=1)),
    ("no-queries", "the queries' gradient dropped", partial(_scaled, a=0, b=1, c=1)),
    ("no-keys", "the keys' gradient dropped", partial(_scaled, a=1, b=0, c=1)),
    ("no-values", "the values' gradient dropped", partial(_scaled, a=1, b=1, c=0)),
    ("detached", "attention weights taken as constants", partial(_scaled, a=0, b=0, c=1)),
    ("no-rank-one", "softmax without its rank-one term", partial(_attention, shape=lambda p, dp: p * dp)),
    ("diagonal", "softmax's Jacobian by its diagonal p(1-p)", partial(_attention, shape=lambda p, dp: p * (1 - p) * dp)),
    ("plain-sum", "rank-one term without p", partial(_attention, shape=lambda p, dp: p * (dp - dp.sum(-1, keepdims=True)))),
    ("plain-mean", "rank-one term by a mean", partial(_attention, shape=lambda p, dp: p * (dp - dp.mean(-1, keepdims=True)))),
    ("wrong-axis", "rank-one term over queries", partial(_attention, shape=lambda p, dp: p * (dp - (p * dp).sum(-2, keepdims=True)))),
    ("unmasked", "the mask missing in dS", _unmasked),
    ("untransposed", "dV = P dO in place of Pᵀ dO", _untransposed),
    ("swapped", "queries' and keys' gradients exchanged", _swapped),
    ("heads", "the heads of dV in reverse order", _heads_reversed),
]  # fmt: skip


def _layernorm(
    dy: np.ndarray, cache: tuple, *, a: float = 1, b: float = 1, axis: int = -1, gain: float = 1, power: int = 1, eps: float = 0.0
) -> tuple:
    """The LayerNorm backward with a weight on each of its mean terms, a power of the gain and of 1/σ, and a shifted eps."""
    x_hat, rstd, weight, _ = cache
    _, dweight, dbias = ops.layernorm_backward(dy, cache)
    r = 1 / np.sqrt(1 / rstd**2 + eps)
    x_hat = x_hat * r / rstd
    g = dy * weight**gain
    means = a * g.mean(axis, keepdims=True) + b * x_hat * (g * x_hat).mean(axis, keepdims=True)
    return r**power * (g - means), dweight, dbias


def _of_layernorm(change: Callable) -> Callable:
    return lambda dy, cache: change(dy, cache, *ops.layernorm_backward(dy, cache))


C = CASE.config.n_embd
LAYERNORM: Rows = [
    ("no-mean", "without the mean of g", partial(_layernorm, a=0)),
    ("no-projection", "without the mean of g·x̂", partial(_layernorm, b=0)),
    ("no-means", "without either mean term", partial(_layernorm, a=0, b=0)),
    ("rows", "means over rows in place of features", partial(_layernorm, axis=0)),
    ("no-gain", "the gain missing in dx", partial(_layernorm, gain=0)),
    ("gain-twice", "the gain applied twice in dx", partial(_layernorm, gain=2)),
    ("no-rstd", "1/σ missing in dx", partial(_layernorm, power=0)),
    ("rstd-twice", "1/σ² in dx", partial(_layernorm, power=2)),
    ("unbiased", "the unbiased variance's C-1 in the backward", partial(_layernorm, b=C / (C - 1))),
    ("eps", "eps 1e-6 in the backward, 1e-5 in the forward", partial(_layernorm, eps=-0.9e-5)),
    ("centred", "dγ from x-μ in place of x̂", _of_layernorm(lambda dy, c, dx, dw, db: (dx, (dy * c[0] / c[1]).sum(0), db))),
    ("dgain-mean", "dγ as a mean over rows", _of_layernorm(lambda dy, c, dx, dw, db: (dx, dw / len(dy), db))),
    ("dgain-dx", "dγ multiplied by γ", _of_layernorm(lambda dy, c, dx, dw, db: (dx, dw * c[2], db))),
    ("no-dbias", "dβ dropped", _of_layernorm(lambda dy, c, dx, dw, db: (dx, dw, 0 * db))),
    ("identity", "dx = dy", _of_layernorm(lambda dy, c, dx, dw, db: (dy.copy(), dw, db))),
]  # fmt: skip


def _of_linear(change: Callable) -> Callable:
    return lambda dy, cache: change(dy, *cache, *ops.linear_backward(dy, cache))


B, T = CASE.ids.shape
LINEAR: Rows = [
    ("bias-batch", "the bias summed over the batch, not over time", _of_linear(lambda dy, x, W, dx, dW, db: (dx, dW, dy[::T].sum(0)))),
    ("bias-time", "the bias summed over time, not over the batch", _of_linear(lambda dy, x, W, dx, dW, db: (dx, dW, dy[:T].sum(0)))),
    ("bias-mean", "the bias as a mean over rows", _of_linear(lambda dy, x, W, dx, dW, db: (dx, dW, db / len(dy)))),
    ("weight-mean", "dW as a mean over the batch", _of_linear(lambda dy, x, W, dx, dW, db: (dx, dW / B, db))),
    ("shifted", "dW from the inputs of the row before", _of_linear(lambda dy, x, W, dx, dW, db: (dx, np.roll(x, 1, 0).T @ dy, db))),
    ("first-sample", "dW from the first sequence alone", _of_linear(lambda dy, x, W, dx, dW, db: (dx, x[:T].T @ dy[:T], db))),
    ("no-dx", "the input's gradient dropped", _of_linear(lambda dy, x, W, dx, dW, db: (0 * dx, dW, db))),
    ("decay", "1e-4·W added to dW", _of_linear(lambda dy, x, W, dx, dW, db: (dx, dW + 1e-4 * W, db))),
    ("dy-float32", "the upstream gradient through float32", lambda dy, c: ops.linear_backward(dy.astype(np.float32).astype(float), c)),
]  # fmt: skip


def _mutants() -> Iterator[Mutant]:
    for family, where, rows in (
        ("attention", "block.attention_backward", ATTENTION),
        ("layernorm", "block.layernorm_backward", LAYERNORM),
        ("linear", "block.linear_backward", LINEAR),
    ):
        for id, text, function in rows:
            yield Mutant(f"{family}-{id}", text, PROBLEM, patched(where, function))
    final = LAYERNORM[0][2]
    yield Mutant("layernorm-final", "the last LayerNorm without the mean of g", PROBLEM, patched("transformer.layernorm_backward", final))


def _recomputed_attention(do: np.ndarray, cache: tuple) -> tuple:
    """Right: the rank-one term from P∘dP in place of O∘dO."""
    return _attention(do, cache)


def _variance_of_mean(dy: np.ndarray, cache: tuple) -> tuple:
    """Right: with the term through the mean inside the variance, which is zero."""
    dx, dweight, dbias = ops.layernorm_backward(dy, cache)
    x_hat, rstd, weight, _ = cache
    zero = rstd * (dy * weight * x_hat).mean(-1, keepdims=True) * x_hat.mean(-1, keepdims=True)
    return dx + zero, dweight, dbias


CATALOGUE = [
    *_mutants(),
    Mutant("control-attention", "rank-one term from P and dP", PROBLEM, patched("block.attention_backward", _recomputed_attention), True),
    Mutant("control-layernorm", "the zero term through the mean", PROBLEM, patched("block.layernorm_backward", _variance_of_mean), True),
]  # fmt: skip
