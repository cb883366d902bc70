r"""BERT (Devlin et al. 2018, arXiv:1810.04805): a bidirectional encoder, and its masked-language-model head.

With $h^0 = \mathrm{LN}(W_{word}[x] + W_{pos}[0..T-1] + W_{type}[s])$, each layer normalises *after* each sum (post-LN),

$$a = \mathrm{LN}(h + \mathrm{Attn}(h)), \qquad h' = \mathrm{LN}(a + \mathrm{MLP}(a)),$$

and the logits are $z = \mathrm{LN}(\mathrm{act}(h^L W_t + b_t))\,W_{head}^\top + b$ with $W_{head} = W_{word}$ when tied. Every token
sees every token that is not padding. The operations are the GPT's; the backward walks the same lines in reverse order, and where a
value is used twice (each $h$ and $a$; $h$ by query, key and value; a tied embedding), its gradients add. (PyTorch's BERT never trains
the embedding of the padding token and calls that gradient zero; here it is the derivative like any other.)
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minillm.bert_config import DECODER, BERTConfig
from minillm.block import activation
from minillm.errors import UserError
from minillm.ops import (
    attention,
    attention_backward,
    embedding,
    embedding_backward,
    layernorm,
    layernorm_backward,
    linear,
    linear_backward,
)
from minillm.parameters import Parameters

TABLES = ("word", "position", "token_type")


class BERT:
    r"""A BERT encoder, with or without the head for masked tokens.

    Parameters
    ----------
    config : BERTConfig
    rng : seed or numpy.random.Generator
        Source of the initial parameters: normal with standard deviation ``initializer_range``; gains 1, biases 0.
    dtype : dtype
        float32 by default; float64, longdouble and complex128 work throughout.

    Attributes
    ----------
    parameters : Parameters
        Under ``BertModel``'s names (``"encoder.layer.0.attention.self.query.weight"``), weights stored (out, in) as there.
    """

    def __init__(self, config: BERTConfig, *, rng: Any, dtype: np.dtype | type = np.float32) -> None:
        self.config = config
        self.parameters = Parameters(config.shapes(), dtype=dtype)
        rng = np.random.default_rng(rng)
        for name, view in self.parameters.items():
            if view.ndim == 2:
                view[...] = rng.normal(0.0, config.initializer_range, view.shape)
            elif name.endswith("weight"):
                view[...] = 1

    @classmethod
    def from_vector(cls, config: BERTConfig, vector: np.ndarray) -> BERT:
        """Return a model over the parameter vector θ (viewed, not copied)."""
        model = cls.__new__(cls)
        model.config = config
        model.parameters = Parameters(config.shapes(), vector)
        return model

    @classmethod
    def from_pretrained(cls, name: Any, *, dtype: Any = None) -> BERT:
        """Return the BERT of a checkpoint in the Hugging Face layout; see :meth:`minillm.GPT.from_pretrained`.

        Its head is read where the file holds one; a pooler and a next-sentence head are not.
        """
        from minillm.pretrained import bert  # pretrained stands on the models, not the other way round

        return bert.load(name, dtype)

    def save_pretrained(self, directory: Any, *, max_shard_bytes: int | None = None) -> None:
        """Write config.json and model.safetensors, as ``BertForMaskedLM`` (without head: ``BertModel``) reads them."""
        from minillm.pretrained import bert

        bert.save(self, directory, max_shard_bytes)

    def encode(
        self, ids: np.ndarray, *, attention_mask: np.ndarray | None = None, token_type_ids: np.ndarray | None = None, keep: bool = True
    ) -> tuple[np.ndarray, tuple]:
        r"""Return the hidden states $h^L$.

        Parameters
        ----------
        ids : integer array of shape (B, T)
        attention_mask : array of shape (B, T), optional
            0 at padding, which no token sees; all 1 when None.
        token_type_ids : integer array of shape (B, T), optional
            All 0 when None.
        keep : bool
            Whether what the backward needs is kept.

        Returns
        -------
        hidden : ndarray of shape (B, T, C)
        cache : tuple for :meth:`encode_backward`

        Raises
        ------
        UserError
            If the text is too long, or an id or token type is out of range (naming its position).
        """
        ids = np.asarray(ids)
        types = np.zeros_like(ids) if token_type_ids is None else np.asarray(token_type_ids)
        self._check(ids, types)
        B, T = ids.shape
        visible = np.ones((B, 1, 1, T), bool) if attention_mask is None else (np.asarray(attention_mask) != 0)[:, None, None]
        h, looked_up = np.zeros((), self.parameters.vector.dtype), []
        for table, rows in zip(TABLES, (ids, np.broadcast_to(np.arange(T), (B, T)), types), strict=True):
            x, kept = embedding(rows.reshape(-1), self.parameters[f"embeddings.{table}_embeddings.weight"])
            h = h + x
            looked_up.append(kept)
        h, norm = self._norm(h, "embeddings.LayerNorm")
        layers = []
        for layer in range(self.config.num_hidden_layers):
            h, kept = self._layer(h, layer, (B, T), visible)
            layers.append(kept if keep else ())
        return h.reshape(B, T, -1), (looked_up, norm, layers, (B, T)) if keep else ()

    def encode_backward(self, dhidden: np.ndarray, cache: tuple) -> np.ndarray:
        r"""Return $\partial L/\partial\theta$ as one vector, from $\partial L/\partial h^L$ of shape (B, T, C)."""
        gradient = self.parameters.like()
        self._encode_backward(dhidden.reshape(-1, dhidden.shape[-1]), cache, gradient)
        return gradient.vector

    def forward(
        self, ids: np.ndarray, *, attention_mask: np.ndarray | None = None, token_type_ids: np.ndarray | None = None, keep: bool = True
    ) -> tuple[np.ndarray, tuple]:
        """Return the logits (B, T, V) of each position's token, and the cache for :meth:`backward`; arguments of :meth:`encode`.

        Raises
        ------
        UserError
            If the model has no head, or as :meth:`encode` does.
        """
        if not self.config.masked_lm:
            raise UserError("this BERT has no masked-language-model head: use encode for its hidden states")
        hidden, encoded = self.encode(ids, attention_mask=attention_mask, token_type_ids=token_type_ids, keep=keep)
        act, act_backward = activation(self.config.hidden_act)
        x, dense = self._dense(hidden.reshape(-1, hidden.shape[-1]), "cls.predictions.transform.dense")
        x, bent = act(x, keep)
        y, norm = self._norm(x, "cls.predictions.transform.LayerNorm")
        z, head = linear(y, self.parameters[self._head].T, self.parameters["cls.predictions.bias"])
        return z.reshape(*hidden.shape[:2], -1), (encoded, dense, (act_backward, bent), norm, head) if keep else ()

    def backward(self, dlogits: np.ndarray, cache: tuple) -> np.ndarray:
        r"""Return $\partial L/\partial\theta$ as one vector, from $\partial L/\partial z$ of the shape of the logits."""
        encoded, dense, (act_backward, bent), norm, head = cache
        gradient = self.parameters.like()
        dy, dW, gradient["cls.predictions.bias"][...] = linear_backward(dlogits.reshape(-1, dlogits.shape[-1]), head)
        gradient[self._head][...] = dW.T
        dx = act_backward(_norm_backward(dy, norm, gradient, "cls.predictions.transform.LayerNorm"), bent)
        dh = _dense_backward(dx, dense, gradient, "cls.predictions.transform.dense")
        self._encode_backward(dh, encoded, gradient)
        return gradient.vector

    @property
    def _head(self) -> str:
        return "embeddings.word_embeddings.weight" if self.config.tie_word_embeddings else DECODER

    def _dense(self, x: np.ndarray, name: str) -> tuple[np.ndarray, tuple]:
        return linear(x, self.parameters[name + ".weight"].T, self.parameters[name + ".bias"])

    def _norm(self, x: np.ndarray, name: str) -> tuple[np.ndarray, tuple]:
        return layernorm(x, self.parameters[name + ".weight"], self.parameters[name + ".bias"], self.config.layer_norm_eps)

    def _layer(self, h: np.ndarray, layer: int, shape: tuple[int, int], visible: np.ndarray) -> tuple[np.ndarray, tuple]:
        at, (B, T) = f"encoder.layer.{layer}.", shape
        kept: dict[str, tuple] = {}
        heads = []
        for name in ("query", "key", "value"):
            x, kept[name] = self._dense(h, f"{at}attention.self.{name}")
            heads.append(x.reshape(B, T, self.config.num_attention_heads, -1).swapaxes(1, 2))
        q, k, v = heads
        o, kept["attended"] = attention(q, k, v, visible)
        o, kept["merged"] = self._dense(o.swapaxes(1, 2).reshape(h.shape), at + "attention.output.dense")
        a, kept["norm_1"] = self._norm(h + o, at + "attention.output.LayerNorm")
        act, act_backward = activation(self.config.hidden_act)
        u, kept["wide"] = self._dense(a, at + "intermediate.dense")
        g, bent = act(u, True)
        m, kept["narrow"] = self._dense(g, at + "output.dense")
        h, kept["norm_2"] = self._norm(a + m, at + "output.LayerNorm")
        return h, (kept, act_backward, bent)

    def _encode_backward(self, dh: np.ndarray, cache: tuple, gradient: Parameters) -> None:
        looked_up, norm, layers, shape = cache
        for layer in reversed(range(self.config.num_hidden_layers)):
            dh = _layer_backward(dh, layers[layer], gradient, layer, shape)
        dh = _norm_backward(dh, norm, gradient, "embeddings.LayerNorm")
        for table, kept in zip(TABLES, looked_up, strict=True):
            gradient[f"embeddings.{table}_embeddings.weight"][...] += embedding_backward(dh, kept)  # adds to a tied head's share

    def _check(self, ids: np.ndarray, types: np.ndarray) -> None:
        if ids.ndim != 2 or ids.dtype.kind not in "iu" or types.shape != ids.shape:
            raise UserError(f"ids and token types must be integers of shape (B, T), got {ids.dtype} {ids.shape} and {types.shape}")
        if ids.shape[1] > self.config.max_position_embeddings:
            most = self.config.max_position_embeddings
            raise UserError(f"{ids.shape[1]} tokens do not fit into max_position_embeddings = {most}")
        for what, array, size in (("id", ids, self.config.vocab_size), ("token type", types, self.config.type_vocab_size)):
            wrong = np.argwhere((array < 0) | (array >= size))
            if len(wrong):
                row, column = wrong[0]
                raise UserError(f"{what} {array[row, column]} at row {row}, position {column} is outside of 0 to {size - 1}")


def _layer_backward(dh: np.ndarray, cache: tuple, gradient: Parameters, layer: int, shape: tuple[int, int]) -> np.ndarray:
    (kept, act_backward, bent), at, (B, T) = cache, f"encoder.layer.{layer}.", shape
    da = _norm_backward(dh, kept["norm_2"], gradient, at + "output.LayerNorm")
    du = act_backward(_dense_backward(da, kept["narrow"], gradient, at + "output.dense"), bent)
    da = da + _dense_backward(du, kept["wide"], gradient, at + "intermediate.dense")
    dh = _norm_backward(da, kept["norm_1"], gradient, at + "attention.output.LayerNorm")
    do = _dense_backward(dh, kept["merged"], gradient, at + "attention.output.dense")
    H = kept["attended"][0].shape[1]
    parts = attention_backward(do.reshape(B, T, H, -1).swapaxes(1, 2), kept["attended"])
    for name, part in zip(("query", "key", "value"), parts, strict=True):
        dx = part.swapaxes(1, 2).reshape(B * T, -1)
        dh = dh + _dense_backward(dx, kept[name], gradient, f"{at}attention.self.{name}")
    return dh


def _dense_backward(dy: np.ndarray, cache: tuple, gradient: Parameters, name: str) -> np.ndarray:
    dx, dW, gradient[name + ".bias"][...] = linear_backward(dy, cache)
    gradient[name + ".weight"][...] = dW.T
    return dx


def _norm_backward(dy: np.ndarray, cache: tuple, gradient: Parameters, name: str) -> np.ndarray:
    dx, gradient[name + ".weight"][...], gradient[name + ".bias"][...] = layernorm_backward(dy, cache)
    return dx
