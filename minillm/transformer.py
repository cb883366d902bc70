r"""Out = Transformer(x; θ): the GPT of Radford et al. 2019 ("Language models are unsupervised multitask learners").

Tokens and their positions are looked up and added; each of L blocks (:mod:`minillm.block`) adds to this residual stream twice; the
last state, normalised, is compared with a row for each token of the vocabulary:

$$h^0 = W_{te}[x] + W_{pe}[0..T-1] \tag{1}$$

$$y = \mathrm{LN}_f(h^L), \qquad z = y\,W_{head}^\top \tag{2}$$

where $W_{head} = W_{te}$ when tied. The backward walks the same lines in reverse order. Where a value is used twice (the residual
stream; a tied embedding), its gradients *add*: with $E$ the one-hot rows of the tokens,

$$\bar W_{te} = \bar z^\top y + E^\top\bar h^0 \tag{3}$$
Activations are kept as (B·T, C) matrices, so that each linear map is one matrix product for the whole batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from minillm.block import block, block_backward
from minillm.config import GPTConfig
from minillm.kv_cache import KeyValueCache
from minillm.language_model import LanguageModel, next_token_logits
from minillm.ops import dropout, dropout_backward, embedding, embedding_backward, layernorm, layernorm_backward
from minillm.parameters import Parameters, Pieces
from minillm.token_step import TokenStep
from minillm.token_weights import PLAIN_PARAMETERS, plain, token_weights

VALUE = "v_head.summary.weight"


class GPT(LanguageModel):
    r"""A GPT-2 style language model.

    Parameters
    ----------
    config : GPTConfig
    rng : seed or numpy.random.Generator
        Source of the initial parameters: GPT-2's rule, normal with standard deviation $\sigma$ = ``initializer_range``, and
        $\sigma/\sqrt{2\,n_{layer}}$ for the two projections of a block that end in the residual stream; gains 1, biases 0; a value
        head starts at 0.
    dtype : dtype
        float32 by default; float64, longdouble and complex128 work throughout.

    Attributes
    ----------
    parameters : Parameters
        ``parameters.vector`` is θ; ``parameters["h.0.attn.c_attn.weight"]`` is a view into it.
    """

    def __init__(self, config: GPTConfig, *, rng: Any, dtype: np.dtype | type = np.float32) -> None:
        self.config = config
        self.parameters = Parameters(config.shapes(), dtype=dtype)
        rng = np.random.default_rng(rng)
        for name, view in self.parameters.items():
            if name.startswith("v_head"):
                continue
            if name.endswith("c_proj.weight"):
                view[...] = rng.normal(0.0, config.initializer_range / math.sqrt(2 * config.n_layer), view.shape)
            elif view.ndim == 2:
                view[...] = rng.normal(0.0, config.initializer_range, view.shape)
            elif name.endswith("weight"):
                view[...] = 1

    @classmethod
    def from_pretrained(cls, name: Any, *, dtype: Any = None) -> GPT:
        """Return the GPT-2 of a checkpoint in the Hugging Face layout.

        Parameters
        ----------
        name : path or str
            A directory with config.json and model.safetensors (or shards), or a name in the local Hugging Face cache.
        dtype : dtype, optional
            float32, or float64 where the file holds float64, when None.

        Raises
        ------
        CheckpointError
            If the checkpoint is missing, damaged, contradicts itself, or asks for maths that is not computed here.
        """
        from minillm.pretrained import gpt2  # pretrained stands on the transformer, not the other way round

        return gpt2.load(name, dtype)

    def save_pretrained(self, directory: Any, *, max_shard_bytes: int | None = None) -> None:
        """Write config.json and model.safetensors (shards, if larger than ``max_shard_bytes``), as ``GPT2LMHeadModel`` reads them.

        Raises
        ------
        CheckpointError
            If the parameters are longdouble or complex, which the format does not have.
        RunDirectoryError
            If the directory cannot be written.
        """
        from minillm.pretrained import gpt2

        gpt2.save(self, directory, max_shard_bytes)

    def forward(
        self,
        ids: np.ndarray,
        *,
        at: np.ndarray | None = None,
        positions: np.ndarray | None = None,
        visible: np.ndarray | None = None,
        past: KeyValueCache | None = None,
        keep: bool = True,
        rng: Any = None,
    ) -> tuple[np.ndarray, tuple]:
        """See :meth:`minillm.language_model.LanguageModel.forward`."""
        ids = np.asarray(ids)
        shape = ids.shape if at is None else at.shape
        ids, positions, visible = self._context(ids, at, positions, visible, past)
        theta, config = self.parameters, self.config
        B, T = ids.shape
        h, tokens = embedding(ids.reshape(-1), theta["wte.weight"])
        p, places = embedding(positions.reshape(-1), theta["wpe.weight"])
        stream = h.reshape(B, T, config.n_embd)  # a view
        stream += p.reshape(*positions.shape, config.n_embd)  # (1)
        rng = None if rng is None else np.random.default_rng(rng)
        h, dropped = dropout(h, 0.0 if rng is None else config.embd_pdrop, rng=rng)
        blocks = []
        for layer in range(config.n_layer):
            remember = past.writer(layer, T) if past is not None else None
            last = at if layer == config.n_layer - 1 else None
            h, kept = block(h, theta, layer, config, (B, T), visible, last, remember, keep, rng)
            blocks.append(kept)
        y, final = layernorm(h, theta["ln_f.weight"], theta["ln_f.bias"], config.layer_norm_epsilon, keep)
        logits = next_token_logits(y, theta[self._head]).reshape(*shape, -1)  # (2)
        return logits, (tokens, places, blocks, y, final, (B, T), dropped) if keep else ()

    def token_step(self, past: KeyValueCache) -> Callable[[np.ndarray], np.ndarray]:
        """See :meth:`minillm.language_model.LanguageModel.token_step`; of a real dtype and ε > 0 it is a :class:`TokenStep`."""
        if np.iscomplexobj(past.values) or self.config.layer_norm_epsilon == 0:  # holomorphic, and a constant row is 0
            return super().token_step(past)
        weights = token_weights(self.parameters, self._head, self.config)
        if self.parameters.vector.size <= PLAIN_PARAMETERS:
            weights = plain(weights, self.config)
        return TokenStep(weights, self.config, past)

    def values(self, cache: tuple) -> np.ndarray:
        r"""Return $V = y\,w^\top + b$ with y the last hidden state; see :meth:`minillm.language_model.LanguageModel.values`."""
        if VALUE not in self.parameters:
            return super().values(cache)
        return (cache[3] @ self.parameters[VALUE][0] + self.parameters["v_head.summary.bias"]).reshape(cache[5][0], -1)

    def backward(
        self, dlogits: np.ndarray, cache: tuple, dvalues: np.ndarray | None = None, *, use_up: bool = False
    ) -> np.ndarray:
        """See :meth:`minillm.language_model.LanguageModel.backward`."""
        theta, gradient = self.parameters, Pieces(self.parameters)
        tokens, places, blocks, y, final, (B, T), dropped = cache
        dz = dlogits.reshape(len(y), -1)
        np.dot(dz.T, y, out=gradient[self._head])  # (3) the head's share
        dy = np.dot(dz, theta[self._head])
        if dvalues is not None:
            dv = dvalues.reshape(len(y), 1)
            gradient[VALUE][...], gradient["v_head.summary.bias"][...] = dv.T @ y, dv.sum(axis=0)
            dy += dv * theta[VALUE]
        dh, gradient["ln_f.weight"][...], gradient["ln_f.bias"][...] = layernorm_backward(dy, final)
        for layer in reversed(range(self.config.n_layer)):
            dh = block_backward(dh, blocks.pop() if use_up else blocks[layer], gradient, layer, (B, T))
        dh = dropout_backward(dh, dropped)
        dp = dh.reshape(B, T, -1).sum(axis=0) if len(places[0]) == T else dh  # one p for all rows: it collects from all
        gradient["wpe.weight"] = embedding_backward(dp, places)
        dwte = embedding_backward(dh, tokens)
        if self.config.tie_word_embeddings:
            dwte += gradient["wte.weight"]  # (3)
        gradient["wte.weight"] = dwte
        return gradient.vector()

    def activation_ledger(self, B: int, T: int) -> dict[str, int]:
        """Return what the forward pass of B sequences of T tokens keeps for the backward, by name, in bytes.

        Measured; parameters left out. An array that several operations keep is under the first of them.

        Returns
        -------
        dict of str to int
            Operation by operation of each block, ``h.0.ln_1``, ``h.0.c_attn``, …, as :class:`minillm.block.BlockCache` names them, and
            ``rest``: embeddings, last normalisation, head.
        """
        from minillm.inspection import activation_ledger  # inspection stands on the transformer

        return activation_ledger(self, B, T)

    @property
    def _head(self) -> str:
        return "wte.weight" if self.config.tie_word_embeddings else "lm_head.weight"
