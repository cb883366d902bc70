r"""Scaled dot-product attention (Vaswani et al. 2017, arXiv:1706.03762, eq. 1), every head of every sequence at once.

For one head, with queries $Q$ $(T_q, D)$, keys $K$ and values $V$ $(T_k, D)$, $c = 1/\sqrt D$ and a mask of what is visible,

$$S = c\,QK^\top \ (\text{hidden entries } -\infty), \qquad P_{tj} = \frac{e^{S_{tj}}}{\sum_k e^{S_{tk}}}, \qquad O = PV .$$

The mask comes *after* the scaling and by selection: whatever a hidden score was, its weight is exactly zero. The scores
are shifted by the largest visible one (its real part), which cancels in the quotient. A row that sees nothing has the
output zero and passes no gradient.

Backward. From $O = PV$: $\bar V = P^\top\bar O$ and $\bar P = \bar O V^\top$. The softmax has $\partial P_{tj}/\partial S_{tk} =
P_{tj}([j=k]-P_{tk})$, hence

$$\bar S_{tk} = P_{tk}\Big(\bar P_{tk} - \sum_j P_{tj}\bar P_{tj}\Big), \qquad
  \sum_j P_{tj}\bar P_{tj} = \sum_j P_{tj}\sum_d \bar O_{td}V_{jd} = \sum_d \bar O_{td}O_{td} ,$$

so the rank-one term needs only rows of length $D$ (Dao et al. 2022, arXiv:2205.14135, appendix B.2). Where $P$ is zero, $\bar S$ is
zero: hidden entries need no second mask. Last, $S = c\,QK^\top$ gives $\bar Q = c\,\bar S K$ and $\bar K = c\,\bar S^\top Q$: the factor
$1/\sqrt D$ appears in the backward as it does in the forward.

Dropout of the weights (GPT-2's ``attn_pdrop``) is a constant scale $D$ on them: $O = (D\circ P)V$. Then $\bar V = (D\circ P)^\top\bar O$ and
$\bar P = D\circ(\bar OV^\top)$; the identity $\sum_j P_{tj}\bar P_{tj} = \sum_d \bar O_{td}O_{td}$ stays true, and all else as it was.

Each row of $\bar S$ sums to zero, so a bias added to all keys ($K + \mathbf 1 b^\top$ shifts row $t$ of $S$ by $c\,q_t\!\cdot b$)
has a gradient of exactly zero. Cost: $4T_qT_kD$ operations forward, $8T_qT_kD$ backward. Kept: $Q, K, V, P, O$.
"""

import math

import numpy as np


def attention(
    q: np.ndarray, k: np.ndarray, v: np.ndarray, visible: np.ndarray, out: np.ndarray | None = None, scale: np.ndarray | None = None
) -> tuple[np.ndarray, tuple]:
    r"""Return $\operatorname{softmax}(QK^\top/\sqrt D)\,V$.

    Parameters
    ----------
    q : ndarray of shape (B, H, Tq, D)
    k, v : ndarray of shape (B, H, Tk, D)
    visible : bool ndarray that broadcasts to (B, H, Tq, Tk)
        True where a query may see a key; ``np.tri(T, dtype=bool)`` is the causal mask.
    out : ndarray of shape (B, H, Tq, D), optional
        Where the output is written; any strides.
    scale : ndarray of shape (B, H, Tq, Tk), optional
        $D$, from :func:`minillm.ops.dropout.dropout_scale`: multiplies the weights.

    Returns
    -------
    o : ndarray of shape (B, H, Tq, D)
    cache : tuple for :func:`attention_backward`
    """
    p = q @ k.swapaxes(-1, -2)
    p *= 1 / math.sqrt(q.shape[-1])
    np.copyto(p, -np.inf, where=~visible)
    top = p.real.max(axis=-1, keepdims=True)
    p -= np.where(np.isneginf(top), 0, top)
    np.exp(p, out=p)
    total = p.sum(axis=-1, keepdims=True)
    p /= np.where(total == 0, 1, total)
    o = np.matmul(p if scale is None else p * scale, v, out=out)
    return o, (q, k, v, p, o, scale)


def attention_backward(do: np.ndarray, cache: tuple) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return ``(dq, dk, dv)`` for the upstream gradient ``do`` of shape (B, H, Tq, D)."""
    q, k, v, p, o, scale = cache
    dv = (p if scale is None else p * scale).swapaxes(-1, -2) @ do
    ds = do @ v.swapaxes(-1, -2)  # P̄
    if scale is not None:
        ds *= scale
    ds -= (do * o).sum(axis=-1, keepdims=True)
    ds *= p  # S̄ = P∘(P̄ − rowsum(Ō∘O))
    ds *= 1 / math.sqrt(q.shape[-1])
    dk = ds.swapaxes(-1, -2) @ q
    dq = ds @ k
    return dq, dk, dv
