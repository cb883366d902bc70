r"""Grouped-query attention (Ainslie et al. 2023, arXiv:2305.13245): H heads of queries share K ≤ H heads of keys and values.

Head $h$ looks at keys and values number $\lfloor h/G\rfloor$, $G = H/K$:

$$O_h = \operatorname{softmax}\big(Q_h K_{\lfloor h/G\rfloor}^\top/\sqrt D\big)\,V_{\lfloor h/G\rfloor} \tag{1}$$

A row of attention knows nothing of the other rows: each query has its own softmax. So the G heads of a group are laid one below the other,
$G\,T_q$ queries in place of $T_q$, and that *is* ordinary attention with K heads (:mod:`minillm.ops.attention`). Keys and values are never
repeated in memory: a cache of them is read once a group, not once a head.

Backward. Written with repeated keys, $\tilde K_h = K_{\lfloor h/G\rfloor}$, the chain rule is a sum over who uses a key head,

$$\bar K_j = \sum_{h:\,\lfloor h/G\rfloor = j}\bar{\tilde K}_h \tag{2}$$

and so for $V$. Stacked, the sum is done by the matrix product itself:
$\bar K_j = c\,\bar S^\top Q$ runs over all $G\,T_q$ rows of the group. K = H is attention, K = 1 multi-query attention (Shazeer 2019).
"""

import numpy as np

from minillm.ops.attention import attention, attention_backward, causal


def grouped_attention(q: np.ndarray, k: np.ndarray, v: np.ndarray, visible: np.ndarray | None) -> tuple[np.ndarray, tuple]:
    r"""Return $O_h$ for every head and sequence.

    Parameters
    ----------
    q : ndarray of shape (B, H, Tq, D)
    k, v : ndarray of shape (B, K, Tk, D)
        K divides H; head h has the keys and values of number h // (H/K).
    visible : bool ndarray of shape (…, Tq, Tk) that broadcasts to (B, 1, Tq, Tk), or None
        True where a query may see a key, the same for all heads; causal when None.

    Returns
    -------
    o : ndarray of shape (B, H, Tq, D)
    cache : tuple for :func:`grouped_attention_backward`
    """
    B, H, T, D = q.shape
    K = k.shape[1]
    visible = causal(T, k.shape[2]) if visible is None else visible
    stacked = q.reshape(B, K, H // K * T, D)
    o, cache = attention(stacked, k, v, np.concatenate([visible] * (H // K), axis=-2))  # (1)
    return o.reshape(q.shape), cache


def grouped_attention_backward(do: np.ndarray, cache: tuple) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return ``(dq, dk, dv)`` for the upstream gradient ``do`` of shape (B, H, Tq, D)."""
    dq, dk, dv = attention_backward(do.reshape(cache[0].shape), cache)  # (2)
    return dq.reshape(do.shape), dk, dv
