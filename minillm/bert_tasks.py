"""What a BERT is used for: filling a masked word, and sentence embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minillm.bert import BERT
from minillm.errors import CheckpointError, UserError
from minillm.ops import log_softmax
from minillm.pretrained.directory import locate
from minillm.wordpiece import WordPieceTokenizer


def load_bert(name: Any, *, dtype: Any = None) -> tuple[BERT, WordPieceTokenizer]:
    """Return the model and the tokenizer of a checkpoint.

    Raises
    ------
    CheckpointError
        As :meth:`minillm.BERT.from_pretrained`, or if the vocabulary is larger than the embedding.
    """
    place = locate(name)
    tokenizer = WordPieceTokenizer.from_pretrained(place)
    model = BERT.from_pretrained(place, dtype=dtype)
    if tokenizer.vocab_size > model.config.vocab_size:
        sizes = f"{tokenizer.vocab_size} pieces, but vocab_size in config.json is {model.config.vocab_size}"
        raise CheckpointError(f"{place / 'vocab.txt'}: holds {sizes}")
    return model, tokenizer


def fill_mask(model: BERT, tokenizer: WordPieceTokenizer, text: str, top_k: int = 5) -> list[list[tuple[str, float]]]:
    """Return, for each ``[MASK]`` of the text, the ``top_k`` most probable pieces with their probabilities, best first.

    Raises
    ------
    UserError
        If there is no ``[MASK]``, the text is too long, or the model has no head.
    """
    ids = tokenizer.encode(text)
    masks = np.flatnonzero(ids == tokenizer.mask_token_id)
    if not masks.size:
        raise UserError(f"the text has no [MASK]: {text!r:.80}")
    logits, _ = model.forward(ids[None], keep=False)
    log_p, _ = log_softmax(logits[0, masks])
    best = np.argsort(-log_p[:, : tokenizer.vocab_size], axis=-1, kind="stable")[:, :top_k]
    return [[(tokenizer.pieces[i], float(np.exp(row[i]))) for i in order] for row, order in zip(log_p, best.tolist(), strict=True)]


def sentence_embeddings(
    model: BERT, tokenizer: WordPieceTokenizer, texts: Sequence[str], max_length: int | None = None
) -> np.ndarray:
    r"""Return one vector of length 1 for each text, $e = m/\sqrt{m\cdot m}$ with $m$ the mean of the hidden states of its tokens.

    The inner product of two is the similarity of their texts (Reimers & Gurevych 2019, arXiv:1908.10084).

    Parameters
    ----------
    model, tokenizer
        See :func:`load_bert`.
    texts : sequence of str
    max_length : int, optional
        Tokens that are kept of each text; as many as the model has positions when None.

    Returns
    -------
    embeddings : ndarray of shape (N, C)
    """
    ids, mask = tokenizer.encode_batch(texts, max_length or model.config.max_position_embeddings)
    hidden, _ = model.encode(ids, attention_mask=mask, keep=False)
    weights = mask / mask.sum(axis=1, keepdims=True)
    mean = (weights[:, None].astype(hidden.dtype) @ hidden)[:, 0]
    return mean / np.sqrt((mean * mean).sum(axis=1, keepdims=True))
