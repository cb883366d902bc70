r"""Out = Transformer(x; θ): the GPT of Radford et al. 2019 ("Language models are unsupervised multitask learners").

With $h^0 = W_{te}[x] + W_{pe}[0..T-1]$, each block adds to the residual stream twice,

$$a = h + \mathrm{Attn}(\mathrm{LN}_1(h)), \qquad h' = a + \mathrm{MLP}(\mathrm{LN}_2(a)),$$

and the logits are $z = \mathrm{LN}_f(h^L)\,W_{head}^\top$, where $W_{head} = W_{te}$ when tied. The backward walks the same lines in
reverse order. Where a value is used twice (the residual stream; a tied embedding), its gradients *add*.
Activations are kept as (B·T, C) matrices, so that each linear map is one matrix product for the whole batch.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minillm.block import block, block_backward
from minillm.config import GPTConfig
from minillm.errors import UserError
from minillm.kv_cache import KeyValueCache
from minillm.ops import dropout, dropout_backward, embedding, embedding_backward, layernorm, layernorm_backward
from minillm.parameters import Parameters

VALUE = "v_head.summary.weight"


class GPT:
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
    def from_vector(cls, config: GPTConfig, vector: np.ndarray) -> GPT:
        """Return a model over the parameter vector θ (viewed, not copied); see :class:`Parameters` for its layout."""
        model = cls.__new__(cls)
        model.config = config
        model.parameters = Parameters(config.shapes(), vector)
        return model

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

    def astype(self, dtype: np.dtype | type) -> GPT:
        """Return a copy whose parameters have another dtype; the copy computes in that dtype."""
        return GPT.from_vector(self.config, self.parameters.vector.astype(dtype))

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
        r"""Return the logits $z_{btv}$ of the token that follows position t.

        Parameters
        ----------
        ids : integer array of shape (B, T) or (T,)
            T at most ``n_positions``. Rows of different lengths are padded on the right with any id: a causal model
            does not look there.
        at : integer array of shape (B, n), optional
            Columns of ``ids`` whose logits are wanted; all when None. The last block then works on these positions alone
            (its keys and values still come from all): most of a prompt's cost where only the action is scored.
        positions : integer array of shape (B, T), optional
            Position of each token; 0 … T − 1 when None.
        visible : bool array that broadcasts to (B, 1, T, T), optional
            Which tokens (last axis) each token may see; those before it and itself when None.
        past : KeyValueCache, optional
            Keys and values of earlier tokens. ``ids`` then go on from ``past.lengths``; their keys and values are
            written into it, the lengths are left to the caller.
        keep : bool
            Whether what the backward needs is kept.
        rng : seed or numpy.random.Generator, optional
            Source of dropout's masks. None, as in evaluation: no dropout, whatever the configuration says.

        Returns
        -------
        logits : ndarray of shape (B, T, V), or (T, V) for one sequence; (B, n, V) with ``at``
        cache : tuple for :meth:`backward`; empty when ``keep`` is false

        Raises
        ------
        UserError
            If there are more than ``n_positions`` tokens, an id is outside of the vocabulary (naming its position), or ``at``
            is outside of the columns.
        """
        ids = np.asarray(ids)
        shape = ids.shape if at is None else at.shape
        ids = self._checked(np.atleast_2d(ids), at, positions, past)
        theta, config = self.parameters, self.config
        B, T = ids.shape
        if past is not None:
            positions = past.lengths[:, None] + np.arange(T)
            visible = (np.arange(positions.max(initial=-1) + 1) <= positions[:, :, None])[:, None]
            past.ids[np.arange(B)[:, None], positions] = ids
        h, tokens = embedding(ids.reshape(-1), theta["wte.weight"])
        places = None
        if positions is None:
            h.reshape(B, T, -1)[...] += theta["wpe.weight"][:T]
        else:
            p, places = embedding(positions.reshape(-1), theta["wpe.weight"])
            h += p
        rng = None if rng is None else np.random.default_rng(rng)
        h, dropped = dropout(h, 0.0 if rng is None else config.embd_pdrop, rng=rng)
        blocks = []
        for layer in range(config.n_layer):
            remember = past.writer(layer, T) if past is not None else None
            last = at if layer == config.n_layer - 1 else None
            h, kept = block(h, theta, layer, config, (B, T), visible, last, remember, keep, rng)
            blocks.append(kept)
        y, final = layernorm(h, theta["ln_f.weight"], theta["ln_f.bias"], config.layer_norm_epsilon)
        logits = (y @ theta[self._head].T).reshape(*shape, -1)
        return logits, (tokens, places, blocks, y, final, (B, T), dropped) if keep else ()

    def values(self, cache: tuple) -> np.ndarray:
        r"""Return $V = y\,w^\top + b$ of the value head at the positions of the logits: their shape without the vocabulary's axis.

        Parameters
        ----------
        cache : tuple
            What :meth:`forward` returned with the logits; y is its last hidden state.

        Raises
        ------
        UserError
            If the model has no value head.
        """
        if VALUE not in self.parameters:
            raise UserError("the model has no value head; make it with GPTConfig(value_head=True)")
        return (cache[3] @ self.parameters[VALUE][0] + self.parameters["v_head.summary.bias"]).reshape(cache[5][0], -1)

    def backward(self, dlogits: np.ndarray, cache: tuple, dvalues: np.ndarray | None = None) -> np.ndarray:
        r"""Return $\partial L/\partial\theta$ as one vector, from $\partial L/\partial z$.

        Parameters
        ----------
        dlogits : ndarray of the shape of the logits
        cache : tuple
            What :meth:`forward` returned with the logits.
        dvalues : ndarray of the shape of :meth:`values`, optional
            $\partial L/\partial V$; zero when None.

        Returns
        -------
        gradient : ndarray of shape (P,), in the layout of ``parameters.vector``
        """
        theta, gradient = self.parameters, self.parameters.like()
        tokens, places, blocks, y, final, (B, T), dropped = cache
        dz = dlogits.reshape(len(y), -1)
        gradient[self._head][...] = dz.T @ y
        dy = dz @ theta[self._head]
        if dvalues is not None:
            dv = dvalues.reshape(len(y), 1)
            gradient[VALUE][...], gradient["v_head.summary.bias"][...] = dv.T @ y, dv.sum(axis=0)
            dy += dv * theta[VALUE]
        dh, gradient["ln_f.weight"][...], gradient["ln_f.bias"][...] = layernorm_backward(dy, final)
        for layer in reversed(range(self.config.n_layer)):
            dh = block_backward(dh, blocks[layer], gradient, layer, (B, T))
        dh = dropout_backward(dh, dropped)
        if places is None:
            gradient["wpe.weight"][:T] = dh.reshape(B, T, -1).sum(axis=0)
        else:
            gradient["wpe.weight"][...] = embedding_backward(dh, places)
        gradient["wte.weight"][...] += embedding_backward(dh, tokens)  # adds to the head's share when tied
        return gradient.vector

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

    def generate(self, ids: Any, **options: Any) -> Any:
        """Continue each sequence of token ids; see :func:`minillm.decoding.generate` for the options."""
        from minillm.decoding import generate  # decoding stands on the transformer, not the other way round

        return generate(self, ids, **options)

    @property
    def _head(self) -> str:
        return "wte.weight" if self.config.tie_word_embeddings else "lm_head.weight"

    def _checked(
        self, ids: np.ndarray, at: np.ndarray | None, positions: np.ndarray | None, past: KeyValueCache | None
    ) -> np.ndarray:
        if ids.ndim != 2 or ids.dtype.kind not in "iu":
            raise UserError(f"ids must be integers of shape (B, T) or (T,), got {ids.dtype} of shape {ids.shape}")
        if at is not None and (at.min(initial=0) < 0 or at.max(initial=0) >= ids.shape[1]):
            raise UserError(f"at must hold columns from 0 to {ids.shape[1] - 1}, got {at.min()} to {at.max()}")
        length = ids.shape[1] + (0 if past is None else int(past.lengths.max(initial=0)))
        if positions is not None:
            length = int(positions.max(initial=-1)) + 1
        if length > self.config.n_positions:
            raise UserError(f"{length} tokens do not fit into n_positions = {self.config.n_positions}")
        if ids.min(initial=0) < 0 or ids.max(initial=0) >= self.config.vocab_size:
            row, column = np.argwhere((ids < 0) | (ids >= self.config.vocab_size))[0]
            raise UserError(
                f"id {ids[row, column]} at row {row}, position {column} is outside of vocab_size = {self.config.vocab_size}"
            )
        return ids
