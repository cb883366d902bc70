r"""The weights that :mod:`minillm.token_step` multiplies with: views of θ, or of a small model the same function in fewer operations.

A weight $W$ and its bias $b$ are neighbours in θ, so one below the other is a view, and an affine map is one product:

$$(y\;1)\begin{pmatrix}W\\b\end{pmatrix} = yW + b \tag{1}$$

**A plain model.** Other parameters give the same function of the tokens, and then a normalisation is nothing but a division by the
deviation. Three identities, in the notation of :mod:`minillm.token_step`:

$$\mathrm{LN}(h + a\mathbf 1) = \mathrm{LN}(h) \tag{2}$$

so everything that is added to the stream h may be centred first, $W \to W - \tfrac1C W\mathbf 1\mathbf 1^\top$ and b likewise: then
$\mu = 0$ (the stream is read by normalisations only);

$$(\gamma\circ\hat x + \beta)W + b = \hat x\,(\operatorname{diag}(\gamma)W) + (\beta W + b) \tag{3}$$

so gain and shift are constants of the map that reads them, the head too; and $f/\sqrt D$ is one of the columns that make queries. (Elhage et
al. 2021, "A Mathematical Framework for Transformer Circuits", notes on LayerNorm.) It costs a copy of θ, which a small model earns back
within a few tokens and a large one does not: ``PLAIN_PARAMETERS`` is where.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from minillm.config import GPTConfig
from minillm.ops.blocks import constants, repeated
from minillm.parameters import Parameters

PLAIN_PARAMETERS = 1 << 20
Pair = tuple[np.ndarray, np.ndarray]


class LayerWeights(NamedTuple):
    r"""Of one block: gains and shifts, affine maps (in + 1, out) and $f/\sqrt D$; None where a plain model has none."""

    ln_1: Pair | None
    c_attn: np.ndarray
    scale: np.ndarray | None
    attn_proj: np.ndarray
    ln_2: Pair | None
    c_fc: np.ndarray
    mlp_proj: np.ndarray


class TokenWeights(NamedTuple):
    """Of a model: ``head`` is (C, V), or (C + 1, V) where ``ln_f`` is None."""

    wte: np.ndarray
    wpe: np.ndarray
    layers: list[LayerWeights]
    ln_f: Pair | None
    head: np.ndarray


def token_weights(theta: Parameters, head: str, config: GPTConfig) -> TokenWeights:
    """Return views of θ; ``head`` is the name of the matrix (V, C) that gives the logits."""

    def pair(name: str) -> Pair:
        return theta[name + ".weight"], theta[name + ".bias"]

    def affine(name: str) -> np.ndarray:
        weight, bias = theta.slices[name + ".weight"], theta.slices[name + ".bias"]
        return theta.vector[weight.start : bias.stop].reshape(-1, bias.stop - bias.start)  # (1)

    layers = []
    for layer in range(config.n_layer):
        name = f"h.{layer}."
        (scale,) = constants(theta.vector.dtype, _scale(config, layer))
        layers.append(LayerWeights(
            pair(name + "ln_1"), affine(name + "attn.c_attn"), scale, affine(name + "attn.c_proj"),
            pair(name + "ln_2"), affine(name + "mlp.c_fc"), affine(name + "mlp.c_proj"),
        ))  # fmt: skip
    return TokenWeights(theta["wte.weight"], theta["wpe.weight"], layers, pair("ln_f"), theta[head].T)


def plain(weights: TokenWeights, config: GPTConfig) -> TokenWeights:
    """Return the same function without means, gains, shifts and scales."""
    layers = []
    for layer, (ln_1, c_attn, _, attn_proj, ln_2, c_fc, mlp_proj) in enumerate(weights.layers):
        qkv = _folded(ln_1, c_attn)
        qkv[:, : config.n_embd] *= _scale(config, layer)
        layers.append(LayerWeights(None, qkv, None, _centred(attn_proj), None, _folded(ln_2, c_fc), _centred(mlp_proj)))
    unbiased = np.concatenate([weights.head, np.zeros_like(weights.head[:1])])
    return TokenWeights(_centred(weights.wte), _centred(weights.wpe), layers, None, _folded(weights.ln_f, unbiased))


def _folded(ln: Any, affine: np.ndarray) -> np.ndarray:
    gain, shift = ln
    folded = np.empty(affine.shape, affine.dtype)
    np.multiply(affine[:-1], gain[:, None], folded[:-1])
    np.add(affine[-1], shift.dot(affine[:-1]), folded[-1])  # (3)
    return folded


def _centred(added: np.ndarray) -> np.ndarray:
    C = added.shape[1]
    return added - added.dot(repeated(1 / C, C, added.dtype))[:, None]  # (2)


def _scale(config: GPTConfig, layer: int) -> float:
    return config.query_factor(layer) / math.sqrt(config.n_embd // config.n_head)
