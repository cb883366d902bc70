r"""One block of the transformer: what attention and MLP find is added to the residual stream, one after the other.

$$a = h + \mathrm{Attn}(\mathrm{LN}_1(h)) \tag{1}$$

$$h' = a + \mathrm{MLP}(\mathrm{LN}_2(a)) \tag{2}$$

The backward is the lines of the forward in reverse order. Each sum passes its gradient to both of its terms, so where a value
is used twice, two gradients are added; $f^\top$ is the backward of f:

$$\bar a = \bar h' + \mathrm{LN}_2^\top\,\mathrm{MLP}^\top\,\bar h' \tag{3}$$

$$\bar h = \bar a + \mathrm{LN}_1^\top\,\mathrm{Attn}^\top\,\bar a \tag{4}$$

So the gradient of the output reaches every block unchanged, together with what the blocks above add to it.

With a source of random numbers, dropout acts where GPT-2 has it: on the attention weights and on both terms that are added.

The last block may work at some positions only (``at``): queries, residual and MLP there, keys and values everywhere. Picking rows
is an embedding look-up in the matrix of activations, and its backward adds the rows' gradients where they came from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from minillm.config import GPTConfig
from minillm.ops import (
    attention,
    attention_backward,
    dropout,
    dropout_backward,
    embedding,
    embedding_backward,
    gelu,
    gelu_backward,
    gelu_new,
    gelu_new_backward,
    layernorm,
    layernorm_again,
    layernorm_backward,
    linear,
    linear_backward,
    relu,
    relu_backward,
    silu,
    silu_backward,
)
from minillm.ops.attention import causal
from minillm.ops.dropout import dropout_scale
from minillm.parameters import Parameters


class BlockCache(NamedTuple):
    """What :func:`block_backward` needs: the cache of each op, under the name of its parameters or of what it did.

    Of ``c_attn`` and ``c_fc`` it is the weight alone: what enters them, the output of a normalisation, is made again from that one's cache.
    """

    ln_1: tuple
    c_attn: np.ndarray
    factor: float
    picked: tuple | None
    attended: tuple
    attn_proj: tuple
    ln_2: tuple
    c_fc: np.ndarray
    bent: tuple
    mlp_proj: tuple
    o_drop: np.ndarray | None
    m_drop: np.ndarray | None


Write = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def activation(name: str) -> tuple[Callable, Callable]:
    """Return the activation of that name (as in ``activation_function``) and its backward."""
    return {
        "gelu_new": (gelu_new, gelu_new_backward),
        "gelu": (gelu, gelu_backward),
        "relu": (relu, relu_backward),
        "silu": (silu, silu_backward),
    }[name]


def block(
    h: np.ndarray,
    theta: Parameters,
    layer: int,
    config: GPTConfig,
    shape: tuple[int, int],
    visible: np.ndarray | None,
    at: np.ndarray | None,
    remember: Write | None,
    keep: bool,
    rng: np.random.Generator | None = None,
) -> tuple[np.ndarray, BlockCache | None]:
    """Return the residual stream after the block.

    Parameters
    ----------
    h : ndarray of shape (B·T, C)
    theta : Parameters
    layer : int
        The block's number, from 0; its parameters are named ``"h.{layer}.…"``.
    config : GPTConfig
    shape : (B, T)
    visible : bool ndarray that broadcasts to (B, H, T, keys), or None
        None: each token sees those before it and itself.
    at : integer ndarray of shape (B, n) or None
        Columns to go on with; all when None.
    remember : callable or None
        Stores new keys and values (B, H, T, D) and returns all so far; see :class:`minillm.kv_cache.KeyValueCache`.
    keep : bool
        Whether ``cache`` is made.
    rng : numpy.random.Generator or None
        Source of dropout's masks; None: no dropout.

    Returns
    -------
    h : ndarray of shape (B·T, C) or (B·n, C)
    cache : BlockCache for :func:`block_backward`, or None
    """
    B, T = shape
    name, eps, factor = f"h.{layer}.", config.layer_norm_epsilon, config.query_factor(layer)
    act, act_backward = activation(config.activation_function)
    picked = None
    resid_pdrop, attn_pdrop = (config.resid_pdrop, config.attn_pdrop) if rng is not None else (0.0, 0.0)
    x, ln_1 = layernorm(h, theta[name + "ln_1.weight"], theta[name + "ln_1.bias"], eps, keep)
    qkv, (_, c_attn) = linear(x, theta[name + "attn.c_attn.weight"], theta[name + "attn.c_attn.bias"])
    q, k, v = qkv.reshape(B, T, 3, config.n_head, -1).transpose(2, 0, 3, 1, 4)  # each (B, H, T, D)
    if factor != 1:
        q = q * factor
    if remember is not None:
        k, v = remember(k, v)
    if at is not None:
        h, q, visible, picked = pick(at, h, q, visible, k.shape[2])
    merged = np.empty((B, q.shape[2], config.n_head, q.shape[3]), h.dtype)  # heads side by side again
    scale = dropout_scale((*q.shape[:3], k.shape[2]), attn_pdrop, h.dtype, rng=rng)
    _, attended = attention(q, k, v, visible, out=merged.swapaxes(1, 2), scale=scale)
    o, attn_proj = linear(merged.reshape(h.shape), theta[name + "attn.c_proj.weight"], theta[name + "attn.c_proj.bias"])
    o, o_drop = dropout(o, resid_pdrop, rng=rng)
    a = np.add(h, o, out=o)  # (1)
    x, ln_2 = layernorm(a, theta[name + "ln_2.weight"], theta[name + "ln_2.bias"], eps, keep)
    u, (_, c_fc) = linear(x, theta[name + "mlp.c_fc.weight"], theta[name + "mlp.c_fc.bias"])
    g, bent = act(u, keep)
    m, mlp_proj = linear(g, theta[name + "mlp.c_proj.weight"], theta[name + "mlp.c_proj.bias"])
    m, m_drop = dropout(m, resid_pdrop, rng=rng)
    m += a  # (2)
    kept = BlockCache(
        ln_1, c_attn, factor, picked, attended, attn_proj, ln_2, c_fc, (act_backward, bent), mlp_proj, o_drop, m_drop
    )
    return m, kept if keep else None


def pick(
    at: np.ndarray, h: np.ndarray, q: np.ndarray, visible: np.ndarray | None, keys: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple]:
    """Return rows of the stream (B·n, C), queries (B, H, n, D) and what they see (B, 1, n, keys) at columns ``at`` (B, n), and the
    cache of picking the rows."""
    B, _, T, _ = q.shape
    h, picked = embedding((np.arange(B)[:, None] * T + at).reshape(-1), h)
    visible = causal(T, keys) if visible is None else visible
    visible = np.take_along_axis(np.broadcast_to(visible, (B, 1, *visible.shape[-2:])), at[:, None, :, None], axis=2)
    return h, np.take_along_axis(q, at[:, None, :, None], axis=2), visible, picked


def block_backward(
    dh: np.ndarray, cache: BlockCache, gradient: Mapping[str, np.ndarray], layer: int, shape: tuple[int, int]
) -> np.ndarray:
    """Return the gradient (B·T, C) of the block's input, and write those of its parameters into ``gradient``."""
    ln_1, c_attn, factor, picked, attended, attn_proj, ln_2, c_fc, (act_backward, bent), mlp_proj, o_drop, m_drop = cache
    B, T = shape

    def through(part: str, backward: Callable, dy: np.ndarray, kept: tuple) -> np.ndarray:
        return backward(dy, kept, out=(gradient[f"h.{layer}.{part}.weight"], gradient[f"h.{layer}.{part}.bias"]))[0]

    dg = through("mlp.c_proj", linear_backward, dropout_backward(dh, m_drop), mlp_proj)
    du = act_backward(dg, bent, out=dg)
    dx = through("mlp.c_fc", linear_backward, du, (layernorm_again(ln_2), c_fc))
    da = through("ln_2", layernorm_backward, dx, ln_2)
    da += dh  # (3)
    dmerged = through("attn.c_proj", linear_backward, dropout_backward(da, o_drop), attn_proj)
    H, D = attended[0].shape[1::2]
    dqkv = np.empty((B, T, 3, H, D), dh.dtype)
    q, k, v = dqkv.transpose(2, 0, 3, 1, 4)  # each (B, H, T, D), as in the forward
    dq, _, _ = attention_backward(dmerged.reshape(B, -1, H, D).swapaxes(1, 2), attended, out=(None if picked else q, k, v))
    if factor != 1:
        dq *= factor
    if picked is not None:
        da = embedding_backward(da, picked)
        dqkv[:, :, 0] = embedding_backward(dq.swapaxes(1, 2).reshape(-1, H * D), picked).reshape(B, T, H, D)
    dx = through("attn.c_attn", linear_backward, dqkv.reshape(B * T, -1), (layernorm_again(ln_1), c_attn))
    dh = through("ln_1", layernorm_backward, dx, ln_1)
    dh += da  # (4)
    return dh
