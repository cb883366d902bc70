r"""One new token a row of a GPT whose earlier tokens lie in a key/value cache: the forward pass of :mod:`minillm.block` for T = 1.

Token x of a row stands at position t, and the row's keys $K$ $(t, D)$ and values $V$ $(t, D)$ of each head are known. Then

$$h = W_{te}[x] + W_{pe}[t] \tag{1}$$

and in each block, for attention and for the MLP, with the normalisation of :mod:`minillm.ops.layernorm`,

$$y = \gamma\,\frac{h-\mu}{\sqrt{\sigma^2+\epsilon}} + \beta \tag{2}$$

$$(q\;k\;v) = (y\;1)\begin{pmatrix}W\\b\end{pmatrix}, \qquad k \to K_t,\; v \to V_t \tag{3}$$

$$s_j = \frac{f}{\sqrt D}\,q\cdot K_j, \qquad e_j = e^{s_j-m} \tag{4}$$

$$o = \Big(\sum_{j\le t} e_j V_j\Big)\Big/\sum_{j\le t} e_j \tag{5}$$

$$h \leftarrow h + (o\;1)\begin{pmatrix}W\\b\end{pmatrix} \tag{6}$$

$$u = (y\;1)\begin{pmatrix}W\\b\end{pmatrix}, \qquad h \leftarrow h + (\mathrm{act}(u)\;1)\begin{pmatrix}W\\b\end{pmatrix} \tag{7}$$

$$z = \mathrm{LN}_f(h)\,W_{head}^\top \tag{8}$$

with $f$ the layer's ``query_factor`` and $m$ the row's $\max_i s_i$, or 0 as in :mod:`minillm.ops.attention`. For one token there is so
little to compute that the number of NumPy calls decides, and their form:

- What no token changes is made once: buffers, and views of the weights (:mod:`minillm.token_weights`) and of the cache.
- The rows that a weight multiplies have a 1 behind them, for the bias.
- Keys lie one a column in the cache, so that $q\cdot K_j$ for all j is a sum of D long rows.
- The sum in (5) is a product with a matrix of ones: it stands in all D columns, where it is needed.
- A single row is a vector and its mean a scalar: NumPy does that three times as fast as a matrix of one row and a column.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy import add, divide, exp, fmin, matmul, multiply, sqrt, subtract

from minillm.block import activation
from minillm.config import GPTConfig
from minillm.language_model import long_columns
from minillm.ops.attention import shift, within_reach
from minillm.ops.blocks import BLOCK_ELEMENTS, constants
from minillm.ops.gelu import CUBIC, SLOPE
from minillm.token_weights import Pair, TokenWeights

if TYPE_CHECKING:
    from minillm.kv_cache import KeyValueCache

largest: Any = np.maximum.reduce


class TokenStep:
    """A function that reads one more token of each row into ``past`` and returns the logits after it.

    An exponential of the activation may overflow to infinity, which is right there: call it under ``np.errstate(over="ignore")``.

    Parameters
    ----------
    weights : TokenWeights
        Of real dtype.
    config : GPTConfig
        With ``layer_norm_epsilon`` above 0.
    past : KeyValueCache
        With room for each token that is read; nobody else may change it meanwhile.
    """

    def __init__(self, weights: TokenWeights, config: GPTConfig, past: KeyValueCache) -> None:
        B, C, M, V, dtype = len(past.ids), config.n_embd, config.inner, config.vocab_size, weights.wte.dtype
        rows = () if B == 1 else (B,)
        self.weights, self.h, self.added = weights, *(np.empty((*rows, C), dtype) for _ in range(2))
        self.y_1, self.g_1 = (np.ones((*rows, n + 1), dtype) for n in (C, M))
        self.y = self.y_1[..., :C]
        final = self.y_1 if weights.ln_f is None else self.y
        self.qkv, self.u = (np.empty((*rows, n), dtype) for n in (3 * C, M))
        self.h_rows = self.h.reshape(B, C)
        columns = long_columns(B, V)
        product = np.empty((V, B) if columns else (*rows, V), dtype)
        self.last = (weights.head.T, final.T, product) if columns else (final, weights.head, product)
        self.logits = product.T if columns else product.reshape(B, V)
        self.normalise = _Normalise(rows, C, config.layer_norm_epsilon, dtype)
        self.attend = (_Attend if rows else _AttendAlone)(self.qkv, self.y, config, past)
        self.bend = _activation(config.activation_function, self.u, self.g_1[..., :M])

    def __call__(self, tokens: np.ndarray) -> np.ndarray:
        """Read tokens (B,), each in [0, V); return the logits (B, V), which the next call overwrites."""
        weights, h, y, y_1, g_1, added, normalise = self.weights, self.h, self.y, self.y_1, self.g_1, self.added, self.normalise
        weights.wte.take(tokens, 0, self.h_rows, "clip")
        add(h, self.attend.place(tokens, weights.wpe), h)  # (1)
        for layer, (ln_1, c_attn, scale, attn_proj, ln_2, c_fc, mlp_proj) in enumerate(weights.layers):
            normalise(h, ln_1, y)  # (2)
            y_1.dot(c_attn, self.qkv)
            self.attend(layer, scale)  # (3) to (5)
            y_1.dot(attn_proj, added)
            add(h, added, h)  # (6)
            normalise(h, ln_2, y)  # (2)
            y_1.dot(c_fc, self.u)
            self.bend()
            g_1.dot(mlp_proj, added)
            add(h, added, h)  # (7)
        normalise(h, weights.ln_f, y)
        a, b, product = self.last
        a.dot(b, product)  # (8)
        return self.logits


class _Normalise:
    """(2), to ``out``; the weights of a plain model leave neither a mean nor gain and shift (``ln`` None)."""

    def __init__(self, rows: tuple[int, ...], C: int, eps: float, dtype: np.dtype) -> None:
        one = (1,) if rows else ()
        self.mean_of = np.full((C, *one), 1 / C, dtype)
        self.mean, self.variance, self.deviation = (np.empty((*rows, *one), dtype) for _ in range(3))
        self.centred, self.square = (np.empty((*rows, C), dtype) for _ in range(2))
        self.alone, self.eps, self.share, (self.eps_array,) = not rows, dtype.type(eps), dtype.type(1 / C), constants(dtype, eps)

    def __call__(self, h: np.ndarray, ln: Pair | None, out: np.ndarray) -> None:
        centred, mean, deviation = self.centred, self.mean, self.deviation
        if ln is None:
            centred = h
        else:
            h.dot(self.mean_of, mean)
            subtract(h, mean, centred)
        if self.alone:
            deviation[()] = (centred.dot(centred) * self.share + self.eps) ** 0.5
        else:
            multiply(centred, centred, self.square)
            self.square.dot(self.mean_of, mean)
            add(mean, self.eps_array, self.variance)
            sqrt(self.variance, deviation)
        if ln is None:
            divide(h, deviation, out)
            return
        divide(centred, deviation, centred)
        multiply(centred, ln[0], centred)
        add(centred, ln[1], out)


class _Attend:
    """(3) to (5) for many rows: from ``qkv`` (B, 3·C) to ``out`` (B, C)."""

    def __init__(self, qkv: np.ndarray, out: np.ndarray, config: GPTConfig, past: KeyValueCache) -> None:
        (B, capacity), (_, H, D), dtype = past.ids.shape, config.key_value_shape, qkv.dtype
        self.past, self.length = past, int(past.lengths.max(initial=0))
        self.caches = list(zip(past.keys, past.values, strict=True))
        self.new_q, self.k, self.v = qkv.reshape(B, 3, H, D).swapaxes(0, 1)
        self.out, (self.q, self.o, self.total) = out.reshape(B, H, D), np.empty((3, B, H, D), dtype)
        self.total_rows, self.top, self.ones = self.total.reshape(B * H, D), np.empty((B * H, 1), dtype), np.ones((capacity, D), dtype)
        self.key_at: tuple[Any, ...] = ()
        self.value_at: tuple[Any, ...] = ()
        self.bound: np.ndarray | None = None
        if (past.lengths != self.length).any():
            self.every = np.arange(B)
            self.bound = np.where(np.arange(capacity) < past.lengths[:, None, None, None], np.inf, -np.inf).astype(dtype)

    def place(self, tokens: np.ndarray, wpe: np.ndarray) -> np.ndarray:
        """Write the tokens into the cache, behind those before; return $W_{pe}[t]$, one row of it if they all stand at the same t."""
        past, t = self.past, self.length
        self.length = t + 1
        if self.bound is None:
            past.ids[:, t] = tokens
            self.key_at, self.value_at = (..., t), (..., t, slice(None))
            past.lengths.fill(t + 1)
            return wpe[t]
        at = past.lengths.copy()
        past.ids[self.every, at] = tokens
        self.key_at, self.value_at = (self.every, slice(None), slice(None), at), (self.every, slice(None), at)
        self.bound[self.every, ..., at] = np.inf
        past.lengths += 1
        return wpe[at]

    def __call__(self, layer: int, scale: np.ndarray | None) -> None:
        n, q, (keys, values) = self.length, self.new_q, self.caches[layer]
        keys[self.key_at] = self.k
        values[self.value_at] = self.v  # (3)
        if scale is not None:
            q = multiply(q, scale, self.q)
        scores = matmul(q[:, :, None], keys[..., :n])
        far = not within_reach(scores)
        if self.bound is not None:
            fmin(scores, self.bound[..., :n], scores)
        s = scores.reshape(len(self.top), n)
        if far:
            largest(s, 1, None, self.top, True)
            subtract(s, shift(self.top), s)
        exp(s, s)  # (4)
        matmul(scores, values[:, :, :n], self.o[:, :, None])
        s.dot(self.ones[:n], self.total_rows)
        divide(self.o, self.total, self.out)  # (5)


class _AttendAlone:
    r"""(3) to (5) for one row: from ``qkv`` (3·C,) to ``out`` (C,), all heads in two products.

    The queries stand on the diagonal of a matrix of blocks, $\operatorname{diag}(q_1 \dots q_H)$, that is 0 elsewhere: times the keys of
    all heads it gives the scores (H, n). Their exponentials times the values of all heads give blocks too, and those on the diagonal
    count. This is H times the operations and, being two products and not 2·H, takes less time.
    """

    def __init__(self, qkv: np.ndarray, out: np.ndarray, config: GPTConfig, past: KeyValueCache) -> None:
        capacity, (L, H, D), dtype = past.ids.shape[1], config.key_value_shape, qkv.dtype
        self.past, self.length = past, int(past.lengths[0])
        keys, values = past.keys.reshape(L, H * D, capacity), past.values.swapaxes(2, 3).reshape(L, capacity, H * D)
        self.caches = list(zip(keys, values, strict=True))
        self.new_q, self.k, self.v = qkv.reshape(3, H, D)[0], *qkv.reshape(3, H * D)[1:]
        self.out, self.total = out.reshape(H, D), np.empty((H, D), dtype)
        self.all_q, self.all_o = np.zeros((2, H, H * D), dtype)
        self.q, self.o = (a.reshape(H * H, D)[:: H + 1] for a in (self.all_q, self.all_o))  # the blocks of the diagonal
        self.top, self.ones = np.empty((H, 1), dtype), np.ones((capacity, D), dtype)

    def place(self, tokens: np.ndarray, wpe: np.ndarray) -> np.ndarray:
        """See :meth:`_Attend.place`."""
        past, t = self.past, self.length
        self.length = t + 1
        past.ids[:, t] = tokens
        past.lengths.fill(t + 1)
        return wpe[t]

    def __call__(self, layer: int, scale: np.ndarray | None) -> None:
        n, q, (keys, values) = self.length, self.new_q, self.caches[layer]
        keys[:, n - 1] = self.k
        values[n - 1] = self.v  # (3)
        if scale is not None:
            multiply(q, scale, self.q)
        else:
            self.q[...] = q
        s = self.all_q.dot(keys[:, :n])
        largest(s, 1, None, self.top, True)  # of few rows: a shift is cheaper than to ask whether it is needed
        subtract(s, self.top, s)
        exp(s, s)  # (4)
        s.dot(values[:n], self.all_o)
        s.dot(self.ones[:n], self.total)
        divide(self.o, self.total, self.out)  # (5)


def _activation(name: str, u: np.ndarray, out: np.ndarray) -> Callable[[], None]:
    """A function that writes act(u) to ``out``, both (…, M)."""
    if name != "gelu_new" or u.size > BLOCK_ELEMENTS:
        act, _ = activation(name)
        table = u.reshape(-1, u.shape[-1])
        return lambda: np.copyto(out, act(table, False)[0].reshape(u.shape))
    slope, cubic, one = constants(u.dtype, SLOPE, -SLOPE * CUBIC, 1)
    s = np.empty_like(u)

    def gelu_new() -> None:
        multiply(u, u, s)
        multiply(s, cubic, s)
        subtract(s, slope, s)
        multiply(s, u, s)
        exp(s, s)
        add(s, one, s)
        divide(u, s, out)  # x·σ(2u) of minillm.ops.gelu

    return gelu_new
