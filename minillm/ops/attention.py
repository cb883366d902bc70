r"""Scaled dot-product attention (Vaswani et al. 2017, arXiv:1706.03762, eq. 1), every head of every sequence at once.

For one head, with queries $Q$ $(T_q, D)$, keys $K$ and values $V$ $(T_k, D)$, $c = 1/\sqrt D$ and a mask of what is visible,

$$S = c\,QK^\top \ (\text{hidden entries } -\infty) \tag{1}$$

$$P_{tj} = \frac{e^{S_{tj}}}{\sum_k e^{S_{tk}}} \tag{2}$$

$$O = PV \tag{3}$$

The mask comes *after* the scaling and by selection: whatever a hidden score was, its weight is exactly zero, and nothing is ever
multiplied with $-\infty$ (in complex numbers $c\cdot(-\infty)$ has a NaN in it). A row whose largest visible score (its real part) is beyond
±``REACH``, so that exponentials could be too large or all too small, is shifted by it, which cancels in the quotient. That depends on the
row alone, whatever is beside it; to see that no row needs it is cheaper than to shift. A row that sees nothing has the output zero and
passes no gradient.

Backward, from the last line to the first. $O = PV$ is a product:

$$\bar V = P^\top\bar O \tag{4}$$

$$\bar P = \bar O V^\top \tag{5}$$

The softmax has $\partial P_{tj}/\partial S_{tk} = P_{tj}([j=k]-P_{tk})$, and summing $\bar P_{tj}\,\partial P_{tj}/\partial S_{tk}$ over j

$$\bar S_{tk} = P_{tk}\Big(\bar P_{tk} - \sum_j P_{tj}\bar P_{tj}\Big) \tag{6}$$

$$\sum_j P_{tj}\bar P_{tj} = \sum_j P_{tj}\sum_d \bar O_{td}V_{jd} = \sum_d \bar O_{td}O_{td} \tag{7}$$

so the rank-one term needs only rows of length $D$ (Dao et al. 2022, arXiv:2205.14135, appendix B.2). Where $P$ is zero, $\bar S$ is
zero: hidden entries need no second mask. Last, $S = c\,QK^\top$ gives

$$\bar Q = c\,\bar S K, \qquad \bar K = c\,\bar S^\top Q, \qquad c = 1/\sqrt D \tag{8}$$

**The factor** $1/\sqrt D$ appears in the backward as it does in the forward, once on each way: in $\bar Q$ and in $\bar K$, not in
$\bar V$. The code multiplies $\bar S$ by it, which serves both.

Dropout of the weights (GPT-2's ``attn_pdrop``) is a constant scale $M$ on them: $O = (M\circ P)V$. Then $\bar V = (M\circ P)^\top\bar O$ and
$\bar P = M\circ(\bar OV^\top)$; the identity $\sum_j P_{tj}\bar P_{tj} = \sum_d \bar O_{td}O_{td}$ stays true, and all else as it was.

**The key bias has no gradient.** A bias $b$ added to all keys, $K + \mathbf 1 b^\top$, adds the same number $c\,q_t\!\cdot b$ to every
score of row $t$, and the softmax of a row does not change when a constant is added to it. So $b$ changes nothing, and its gradient is
exactly zero. The backward says the same: with $\sum_k P_{tk} = 1$ each row of (6) sums to zero, and
$\bar b = \sum_j\bar K_j = c\sum_t q_t\sum_j\bar S_{tj} = 0$. What a run shows for it is rounding.

Cost: $4T_qT_kD$ operations forward, $8T_qT_kD$ backward. Kept: $Q, K, V, P^\top, O$.

The code holds $S^\top$ and $P^\top$, keys by queries: a maximum or a sum over keys then takes row after row, eight numbers at a time.
Without a mask the attention is causal (the queries are the last $T_q$ of $T_k$ tokens), and is done for up to ``QUERIES`` queries at
a time with the keys up to the last of them: what lies above such a step of the diagonal is never computed.
"""

import functools
import math
from collections.abc import Iterable, Iterator

import numpy as np

from minillm.ops.blocks import constants

QUERIES = 64
REACH = 30.0


def attention(
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    visible: np.ndarray | None = None,
    out: np.ndarray | None = None,
    scale: np.ndarray | None = None,
) -> tuple[np.ndarray, tuple]:
    r"""Return $\operatorname{softmax}(QK^\top/\sqrt D)\,V$.

    Parameters
    ----------
    q : ndarray of shape (B, H, Tq, D)
    k, v : ndarray of shape (B, H, Tk, D)
    visible : bool ndarray that broadcasts to (B, H, Tq, Tk), optional
        True where a query may see a key; :func:`causal` when None.
    out : ndarray of shape (B, H, Tq, D), optional
        Where the output is written; any strides.
    scale : ndarray of shape (B, H, Tq, Tk), optional
        $M$, from :func:`minillm.ops.dropout.dropout_scale`: multiplies the weights.

    Returns
    -------
    o : ndarray of shape (B, H, Tq, D)
    cache : tuple for :func:`attention_backward`
    """
    (B, H, Tq, _), (*_, Tk, D) = q.shape, v.shape
    o = np.empty((B, H, Tq, D), q.dtype) if out is None else out
    weights = []
    steps = _causal_steps(Tq, Tk, H, q.dtype) if visible is None else _masked_step(visible, Tq, q.dtype)
    (c,) = constants(q.dtype, 1 / math.sqrt(q.shape[-1]))
    for rows, keys, new, bound in steps:
        p = _in_rows(k[:, :, keys], q[:, :, rows])
        p *= c
        far, some = not within_reach(p), p[:, :, new]
        np.fmin(some, bound, some)  # (1) −∞ where hidden, NaN or not
        if far:
            p -= shift(p.real.max(axis=-2, keepdims=True, initial=np.finfo(p.dtype).min))  # finite, also where nothing is seen
        np.exp(p, p)
        p /= p.sum(axis=-2, keepdims=True, initial=np.finfo(p.dtype).tiny)  # (2) not 0, also where nothing is seen
        np.matmul(_dropped(p, scale, rows, keys).mT, v[:, :, keys], out=o[:, :, rows])  # (3)
        weights.append((rows, keys, p))
    return o, (q, k, v, weights, o, scale)


def attention_backward(
    do: np.ndarray, cache: tuple, out: tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None] = (None, None, None)
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return ``(dq, dk, dv)`` for the upstream gradient ``do`` of shape (B, H, Tq, D), written to ``out`` where it has an array."""
    q, k, v, weights, o, scale = cache
    dq, dk, dv = (np.empty(x.shape, x.dtype) if place is None else place for x, place in zip((q, k, v), out, strict=True))
    rest = np.einsum("bhtd,bhtd->bht", do, o)[:, :, None]  # (7) rowsum(Ō∘O)
    (c,) = constants(q.dtype, 1 / math.sqrt(q.shape[-1]))  # (8) 1/√D
    put = _write
    for rows, keys, p in reversed(weights):  # the last queries see all keys: they write what the others add to
        do_rows = do[:, :, rows]
        put(dv[:, :, keys], _dropped(p, scale, rows, keys), do_rows)  # (4)
        ds = _dropped(_in_rows(v[:, :, keys], do_rows), scale, rows, keys)  # (5) P̄
        ds -= rest[..., rows]
        ds *= p  # (6) S̄ = P∘(P̄ − rowsum(Ō∘O))
        ds *= c  # (8), for both
        put(dk[:, :, keys], ds, q[:, :, rows])  # (8) K̄
        np.matmul(ds.mT, k[:, :, keys], out=dq[:, :, rows])  # (8) Q̄
        put = _add
    return dq, dk, dv


def within_reach(scores: np.ndarray) -> bool:
    """Whether all real parts are numbers between −``REACH`` and ``REACH``: then no row of them needs a shift."""
    real = scores.real
    return bool(np.maximum.reduce(real, None, initial=0) < REACH and np.minimum.reduce(real, None, initial=0) > -REACH)


def shift(top: np.ndarray) -> np.ndarray:
    """Return what is taken from the scores of rows with these largest ones: 0 within ``REACH``, else the largest."""
    return np.where((top < REACH) & (top > -REACH), 0, top)


def attention_weights(cache: tuple) -> np.ndarray:
    """Return $P$ of shape (B, H, Tq, Tk), before dropout, from what :func:`attention` kept."""
    q, k, _, weights, *_ = cache
    (B, H, Tq, _), (*_, Tk, _) = q.shape, k.shape
    P = np.zeros((B, H, Tq, Tk), q.dtype)
    for rows, keys, p in weights:
        P[:, :, rows, keys] = p.mT
    return P


def causal(queries: int, keys: int) -> np.ndarray:
    """Return the mask (Tq, Tk) with which each of the last Tq of Tk tokens sees those before it and itself."""
    return np.tri(queries, keys, keys - queries, dtype=bool)


Step = tuple[slice, slice, slice, np.ndarray]  # queries; keys that they may see; keys of which some are hidden; a bound on these scores


def _masked_step(visible: np.ndarray, queries: int, dtype: np.dtype) -> Iterable[Step]:
    """All queries at once. The bound, keys by queries, is −∞ where hidden, ∞ where visible: the smaller of it and a score is the
    score or −∞, whatever the score was."""
    hidden, seen = constants(dtype, -np.inf, np.inf)
    return ((slice(queries), slice(None), slice(None), np.where(np.ascontiguousarray(visible.mT), seen, hidden)),)


def _causal_steps(queries: int, keys: int, heads: int, dtype: np.dtype) -> Iterator[Step]:
    """The last ``queries`` of ``keys`` tokens, up to ``QUERIES`` at a time."""
    if not queries:
        return
    before, size = keys - queries, math.ceil(queries / math.ceil(queries / QUERIES))
    for start in range(0, queries, size):
        stop = min(start + size, queries)
        yield slice(start, stop), slice(before + stop), slice(before + start, before + stop), _triangle(stop - start, heads, dtype)


@functools.lru_cache
def _triangle(n: int, heads: int, dtype: np.dtype) -> np.ndarray:
    """The bound on the scores of n keys by their own n queries, once for each head and in memory as the scores are."""
    bound = np.empty((n, heads, n), dtype)
    bound[...] = np.where(causal(n, n).T, np.inf, -np.inf)[:, None]
    return bound.swapaxes(0, 1)


def _in_rows(k: np.ndarray, q: np.ndarray) -> np.ndarray:
    r"""Return $KQ^\top$ of shape (B, H, Tk, Tq), in memory so that there are long rows to work on.

    The heads of one key lie side by side; of a single query, the keys do.
    """
    (B, H, Tk, _), (*_, Tq, _) = k.shape, q.shape
    if Tq == 1:
        return k @ q.mT
    return np.matmul(k, q.mT, out=np.empty((B, Tk, H, Tq), k.dtype).swapaxes(1, 2))


def _dropped(p: np.ndarray, scale: np.ndarray | None, rows: slice, keys: slice) -> np.ndarray:
    return p if scale is None else p * scale[:, :, rows, keys].mT


def _write(total: np.ndarray, a: np.ndarray, b: np.ndarray) -> None:
    np.matmul(a, b, out=total)


def _add(total: np.ndarray, a: np.ndarray, b: np.ndarray) -> None:
    total += a @ b
