r"""Llama (Touvron et al. 2023, arXiv:2302.13971), the architecture of SmolLM2 and many others.

With $h^0 = W_e[x]$, each block adds to the residual stream twice (:mod:`minillm.llama_block`), and the logits are

$$y = \mathrm{RMS}_f(h^L), \qquad z = y\,W_{head}^\top \tag{1}$$

where $W_{head} = W_e$ when tied; its gradient then is, with $E$ the one-hot rows of the tokens,

$$\bar W_e = \bar z^\top y + E^\top\bar h^0 \tag{2}$$

Against GPT-2: RMSNorm in place of LayerNorm, rotated queries
and keys in place of a position embedding, a gated MLP, fewer key heads than query heads, and no bias anywhere.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minillm.kv_cache import KeyValueCache
from minillm.language_model import LanguageModel, next_token_logits
from minillm.llama_block import llama_block, llama_block_backward
from minillm.llama_config import EMBEDDING, LlamaConfig
from minillm.ops import embedding, embedding_backward, rmsnorm, rmsnorm_backward
from minillm.ops.rotary import rotary_tables
from minillm.parameters import Parameters


class Llama(LanguageModel):
    r"""A Llama style language model.

    Parameters
    ----------
    config : LlamaConfig
    rng : seed or numpy.random.Generator
        Source of the initial parameters: normal with standard deviation ``initializer_range``; gains 1.
    dtype : dtype
        float32 by default; float64, longdouble and complex128 work throughout.

    Attributes
    ----------
    parameters : Parameters
        Under ``LlamaForCausalLM``'s names (``"model.layers.0.self_attn.q_proj.weight"``), weights stored (out, in) as there.
    """

    config: LlamaConfig

    def __init__(self, config: LlamaConfig, *, rng: Any, dtype: np.dtype | type = np.float32) -> None:
        self.config = config
        self.parameters = Parameters(config.shapes(), dtype=dtype)
        rng = np.random.default_rng(rng)
        for view in self.parameters.values():
            view[...] = rng.normal(0.0, config.initializer_range, view.shape) if view.ndim == 2 else 1

    @classmethod
    def from_pretrained(cls, name: Any, *, dtype: Any = None) -> Llama:
        """Return the Llama of a checkpoint in the Hugging Face layout; see :meth:`minillm.GPT.from_pretrained`."""
        from minillm.pretrained import llama  # pretrained stands on the models, not the other way round

        return llama.load(name, dtype)

    @classmethod
    def from_gguf(cls, path: Any, *, dtype: Any = np.float32) -> Llama:
        """Return the Llama of a GGUF file, quantised or not; :func:`minillm.pretrained.llama_gguf.load_tokenizer` reads its tokenizer.

        Raises
        ------
        CheckpointError
            If the file is missing, damaged, of another architecture, or asks for maths that is not computed here; it names the key.
        MissingExtra
            If the package gguf is not installed.
        """
        from minillm.pretrained import llama_gguf

        return llama_gguf.load(path, dtype)

    def save_pretrained(self, directory: Any, *, max_shard_bytes: int | None = None) -> None:
        """Write config.json and model.safetensors, as ``LlamaForCausalLM`` reads them; see :meth:`minillm.GPT.save_pretrained`."""
        from minillm.pretrained import llama

        llama.save(self, directory, max_shard_bytes)

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
        """See :meth:`minillm.language_model.LanguageModel.forward`; there is no dropout, ``rng`` changes nothing."""
        ids = np.asarray(ids)
        shape = ids.shape if at is None else at.shape
        ids, positions, visible = self._context(ids, at, positions, visible, past)
        theta, config = self.parameters, self.config
        B, T = ids.shape
        h, tokens = embedding(ids.reshape(-1), theta[EMBEDDING])
        tables = rotary_tables(positions[:, None], config.heads[2], config.rope_theta, h.dtype)
        blocks = []
        for layer in range(config.num_hidden_layers):
            remember = past.writer(layer, T) if past is not None else None
            last = at if layer == config.num_hidden_layers - 1 else None
            h, kept = llama_block(h, theta, layer, config, (B, T), tables, visible, last, remember, keep)
            blocks.append(kept)
        y, final = rmsnorm(h, theta["model.norm.weight"], config.rms_norm_eps)
        logits = next_token_logits(y, theta[config.head]).reshape(*shape, -1)  # (1)
        return logits, (tokens, blocks, y, final, (B, T)) if keep else ()

    def backward(
        self, dlogits: np.ndarray, cache: tuple, dvalues: np.ndarray | None = None, *, use_up: bool = False
    ) -> np.ndarray:
        """See :meth:`minillm.language_model.LanguageModel.backward`; there is no value head."""
        theta, gradient = self.parameters, self.parameters.like()
        tokens, blocks, y, final, shape = cache
        dz = dlogits.reshape(len(y), -1)
        gradient[self.config.head][...] = dz.T @ y  # (2) the head's share
        dh, gradient["model.norm.weight"][...] = rmsnorm_backward(dz @ theta[self.config.head], final)
        for layer in reversed(range(self.config.num_hidden_layers)):
            dh = llama_block_backward(dh, blocks.pop() if use_up else blocks[layer], theta, gradient, layer, shape)
        gradient[EMBEDDING][...] += embedding_backward(dh, tokens)  # (2) adds to it when tied
        return gradient.vector
