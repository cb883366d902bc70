r"""One block of a Llama: attention and a gated MLP, each added to the residual stream.

$$a = h + \mathrm{Attn}(\mathrm{RMS}_1(h)) \tag{1}$$

$$h' = a + \mathrm{MLP}(\mathrm{RMS}_2(a)), \qquad \mathrm{MLP}(x) = W_{down}\,(\mathrm{silu}(W_{gate}x)\circ W_{up}x) \tag{2}$$

Backward, as in :mod:`minillm.block`: a sum passes its gradient to both terms,

$$\bar a = \bar h' + \mathrm{RMS}_2^\top\,\mathrm{MLP}^\top\,\bar h' \tag{3}$$

$$\bar h = \bar a + \mathrm{RMS}_1^\top\,\mathrm{Attn}^\top\,\bar a \tag{4}$$

Attention turns queries and keys by their positions and lets groups of heads share keys and values; no map has a bias. Weights are
(out, in) as in the checkpoint, $y = xW^\top$, hence $\bar x = \bar y W$ and $\bar W = \bar y^\top x$.

The last block may work at some positions only (``at``), as in :mod:`minillm.block`: what is picked is the *turned* query, so the
rotation's backward comes after the rows are back in their places.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from minillm.block import pick
from minillm.llama_config import LlamaConfig
from minillm.ops import (
    embedding_backward,
    grouped_attention,
    grouped_attention_backward,
    rmsnorm,
    rmsnorm_backward,
    rotary,
    rotary_backward,
    swiglu,
    swiglu_backward,
)
from minillm.parameters import Parameters

QKV, GATE_UP = ("self_attn.q_proj", "self_attn.v_proj"), ("mlp.gate_proj", "mlp.up_proj")  # first and last of those in one product


class LlamaCache(NamedTuple):
    """What :func:`llama_block_backward` needs: caches of the ops, and inputs of the linear maps."""

    norm_1: tuple
    x: np.ndarray
    turned: tuple
    picked: tuple | None
    attended: tuple
    merged: np.ndarray
    norm_2: tuple
    z: np.ndarray
    gated: tuple
    opened: np.ndarray


def stacked(theta: Parameters, layer: int, ends: tuple[str, str]) -> np.ndarray:
    """Return the weights of a layer that lie from the first to the last name as one matrix, a view: their rows one below the other."""
    first, last = (f"model.layers.{layer}.{name}.weight" for name in ends)
    return theta.vector[theta.slices[first].start : theta.slices[last].stop].reshape(-1, theta.shapes[first][1])


def llama_block(
    h: np.ndarray,
    theta: Parameters,
    layer: int,
    config: LlamaConfig,
    shape: tuple[int, int],
    tables: tuple[np.ndarray, np.ndarray],
    visible: np.ndarray | None,
    at: np.ndarray | None,
    remember: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]] | None,
    keep: bool,
) -> tuple[np.ndarray, LlamaCache | None]:
    """Return the residual stream after the block.

    Parameters
    ----------
    tables : (cos, sin)
        Of shape (B, 1, T, D/2), or (1, 1, T, D/2), from :func:`minillm.ops.rotary.rotary_tables`.
    h, theta, layer, config, shape, visible, at, remember, keep
        As in :func:`minillm.block.block`.

    Returns
    -------
    h : ndarray of shape (B·T, C) or (B·n, C)
    cache : LlamaCache for :func:`llama_block_backward`, or None
    """
    (B, T), (H, K, D), name, picked = shape, config.heads, f"model.layers.{layer}.", None
    x, norm_1 = rmsnorm(h, theta[name + "input_layernorm.weight"], config.rms_norm_eps)
    qkv = (x @ stacked(theta, layer, QKV).T).reshape(B, T, H + 2 * K, D).swapaxes(1, 2)
    qk, turned = rotary(qkv[:, : H + K], *tables)
    q, k, v = qk[:, :H], qk[:, H:], qkv[:, H + K :]
    if remember is not None:
        k, v = remember(k, v)
    if at is not None:
        h, q, visible, picked = pick(at, h, q, visible, k.shape[2])
    o, attended = grouped_attention(q, k, v, visible)
    merged = o.swapaxes(1, 2).reshape(len(h), H * D)  # heads side by side again
    a = merged @ theta[name + "self_attn.o_proj.weight"].T
    a += h  # (1)
    z, norm_2 = rmsnorm(a, theta[name + "post_attention_layernorm.weight"], config.rms_norm_eps)
    gate, up = np.split(z @ stacked(theta, layer, GATE_UP).T, 2, axis=1)
    opened, gated = swiglu(gate, up, keep)
    m = opened @ theta[name + "mlp.down_proj.weight"].T
    m += a  # (2)
    if gated is None:
        return m, None
    return m, LlamaCache(norm_1, x, turned, picked, attended, merged, norm_2, z, gated, opened)


def llama_block_backward(
    dh: np.ndarray, cache: LlamaCache, theta: Parameters, gradient: Parameters, layer: int, shape: tuple[int, int]
) -> np.ndarray:
    """Return the gradient (B·T, C) of the block's input, and write those of its parameters into ``gradient``."""
    norm_1, x, turned, picked, attended, merged, norm_2, z, gated, opened = cache
    (B, T), name = shape, f"model.layers.{layer}."

    def through(part: str, dy: np.ndarray, entered: np.ndarray) -> np.ndarray:
        gradient[name + part][...] = dy.T @ entered
        return dy @ theta[name + part]

    dgate_up = np.concatenate(swiglu_backward(through("mlp.down_proj.weight", dh, opened), gated), axis=1)
    stacked(gradient, layer, GATE_UP)[...] = dgate_up.T @ z
    da, gradient[name + "post_attention_layernorm.weight"][...] = rmsnorm_backward(dgate_up @ stacked(theta, layer, GATE_UP), norm_2)
    da += dh  # (3)
    dmerged = through("self_attn.o_proj.weight", da, merged)
    D = attended[0].shape[-1]
    dq, dk, dv = grouped_attention_backward(dmerged.reshape(B, -1, merged.shape[1] // D, D).swapaxes(1, 2), attended)
    if picked is not None:
        da = embedding_backward(da, picked)
        dq = embedding_backward(dq.swapaxes(1, 2).reshape(len(merged), -1), picked).reshape(B, T, *dq.shape[1::2]).swapaxes(1, 2)
    dqk = rotary_backward(np.concatenate([dq, dk], axis=1), turned)
    dqkv = np.concatenate([dqk, dv], axis=1).swapaxes(1, 2).reshape(B * T, -1)
    stacked(gradient, layer, QKV)[...] = dqkv.T @ x
    dh, gradient[name + "input_layernorm.weight"][...] = rmsnorm_backward(dqkv @ stacked(theta, layer, QKV), norm_1)
    dh += da  # (4)
    return dh
