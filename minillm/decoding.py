r"""Logits → actions: generating with a key/value cache from the distribution of :mod:`minillm.sampling`.

Past the context's end: a row whose cache holds ``n_positions`` tokens keeps its last ``max(1, n_positions // 2)`` of them,
which are read again from position 0; then it goes on. The cache equals a recomputation of that window.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from minillm.errors import UserError, require_integer
from minillm.kv_cache import KeyValueCache
from minillm.sampling import Sampling, draw

if TYPE_CHECKING:
    from minillm.language_model import LanguageModel

SCORED_ROWS = 1024
SCORED_LOGITS = 1 << 25  # fewer rows at a time where the vocabulary is large


def pad(sequences: Sequence[Any] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (B, width) ids padded on the right with 0, and the lengths (B,)."""
    rows = [np.asarray(sequence) for sequence in sequences]
    for number, row in enumerate(rows):
        if row.ndim != 1 or (row.size and row.dtype.kind not in "iu"):
            raise UserError(f"sequence {number} must hold integer ids, got {row.dtype} of shape {row.shape}")
    lengths = np.array([len(row) for row in rows], dtype=np.int64)
    ids = np.zeros((len(rows), int(lengths.max(initial=0))), dtype=np.int64)
    filled = np.arange(ids.shape[1]) < lengths[:, None]
    ids[filled] = np.concatenate(rows) if filled.any() else 0
    return ids, lengths


def read(
    model: LanguageModel, ids: np.ndarray, lengths: np.ndarray, past: KeyValueCache | None = None, room: int | None = None
) -> tuple[KeyValueCache, np.ndarray]:
    """Read prompts, all rows at once.

    Parameters
    ----------
    model : LanguageModel
    ids : integer array of shape (B, T), padded on the right
    lengths : integer array of shape (B,), at least 1
    past : KeyValueCache, optional
        What was read before; the ids go on from there.
    room : int, optional
        How many positions a new cache shall hold; ``n_positions`` when None.

    Returns
    -------
    past : KeyValueCache that holds the prompts
    logits : ndarray of shape (B, V), those after each row's last token
    """
    if lengths.min(initial=1) < 1:
        raise UserError(f"prompt {int(np.argmin(lengths))} is empty; start it with the end-of-text token")
    if past is None:
        past = KeyValueCache(model.config, len(ids), model.parameters.vector.dtype, room)
    logits, _ = model.forward(ids, at=lengths[:, None] - 1 if ids.shape[1] > 1 else None, past=past, keep=False)
    past.lengths = past.lengths + lengths
    return past, logits[:, 0]


def advance(model: LanguageModel, past: KeyValueCache, tokens: np.ndarray) -> np.ndarray:
    """Read one more token a row, tokens of shape (B,), into ``past``; return the logits (B, V) after it."""
    full = np.flatnonzero(past.lengths == model.config.n_positions)
    if full.size:
        keep = max(1, model.config.n_positions // 2)
        window = past.ids[full, -keep:]
        if keep == model.config.n_positions:  # n_positions = 1: nothing fits beside the new token
            past.lengths[full] = 0
        else:
            again, _ = read(model, window, np.full(len(full), keep), room=past.ids.shape[1])
            past.replace(full, again)
    _, logits = read(model, tokens[:, None], np.ones(len(tokens), dtype=np.int64), past)
    return logits


@dataclasses.dataclass(frozen=True)
class Continuations:
    """What was generated: ``ids`` (B, n) of which the first ``lengths`` (B,) count, and their ``log_probs`` (B, n)."""

    ids: np.ndarray
    lengths: np.ndarray
    log_probs: np.ndarray


def sample(
    model: LanguageModel, past: KeyValueCache, logits: np.ndarray, max_new_tokens: int, sampling: Sampling,
    eos_token_id: int | None, rng: np.random.Generator | None,
    on_token: Callable[[np.ndarray, np.ndarray], None] | None = None,
) -> Continuations:  # fmt: skip
    """Generate after ``read``: one token a row and step, until the end token or ``max_new_tokens``.

    Rows that have ended leave the batch once they are half of it. ``rng`` None takes the most probable token. ``past`` is
    used up.
    """
    B = len(logits)
    out = Continuations(
        np.zeros((B, max_new_tokens), np.int64), np.zeros(B, np.int64), np.zeros((B, max_new_tokens), logits.dtype)
    )
    rows, running = np.arange(B), np.ones(B, dtype=bool)
    for step in range(max_new_tokens):
        log_p = sampling.log_probs(logits)
        tokens = log_p.argmax(axis=-1) if rng is None else draw(log_p, rng.random(len(rows)))
        live = rows[running]
        out.ids[live, step] = tokens[running]
        out.log_probs[live, step] = log_p[running, tokens[running]]
        out.lengths[live] += 1
        if on_token is not None:
            on_token(live, tokens[running])
        running &= tokens != eos_token_id
        if step + 1 == max_new_tokens or not running.any():
            break
        if 2 * running.sum() <= len(rows):
            past, rows, tokens, running = past.take(running), rows[running], tokens[running], running[running]
        logits = advance(model, past, tokens)
    n = int(out.lengths.max(initial=0))
    return Continuations(out.ids[:, :n], out.lengths, out.log_probs[:, :n])


def score(
    model: LanguageModel, past: KeyValueCache, logits: np.ndarray, continuations: Sequence[Any], sampling: Sampling
) -> np.ndarray:
    r"""Return $\log p(b_a \mid \text{prompt}_n) = \sum_t \log p(b_{a,t} \mid \text{prompt}_n, b_{a,<t})$ for all n and a.

    Parameters
    ----------
    model, past, logits
        As :func:`read` returned them for N prompts; ``past`` is left as it was.
    continuations : sequence of A sequences of ids, each at least one token long

    Returns
    -------
    log_probs : ndarray of shape (N, A)
    """
    ids, lengths = pad(continuations)
    N, A = len(logits), len(ids)
    total = sampling.log_probs(logits)[:, ids[:, 0]]
    if ids.shape[1] == 1:
        return total
    pairs = np.arange(N * A)
    rows = max(1, min(SCORED_ROWS, SCORED_LOGITS // (ids.shape[1] * logits.shape[1])))
    for chunk in np.array_split(pairs, math.ceil(len(pairs) / rows)):
        n, a = np.divmod(chunk, A)
        z, _ = model.forward(ids[a, :-1], past=past.take(n), keep=False)
        each = np.take_along_axis(sampling.log_probs(z), ids[a, 1:, None], axis=-1)[..., 0]
        total[n, a] += np.where(np.arange(1, ids.shape[1]) < lengths[a, None], each, 0).sum(axis=-1)
    return total


def generate(
    model: LanguageModel,
    ids: Any,
    max_new_tokens: int = 20,
    do_sample: bool = False,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    eos_token_id: int | None = None,
    rng: Any = None,
) -> Any:
    r"""Continue sequences of token ids, as ``GPT2LMHeadModel.generate`` does.

    Parameters
    ----------
    model : LanguageModel
    ids : integer array of shape (T,) or (B, T), or a list of B sequences of different lengths
    max_new_tokens : int
    do_sample : bool
        Draw each token (``rng`` is then required); otherwise take the most probable one.
    temperature, top_k, top_p
        See :class:`Sampling`.
    eos_token_id : int, optional
        A row ends after this token; in an array its remaining places are filled with it.
    rng : seed or numpy.random.Generator

    Returns
    -------
    Prompts with their continuations: an array of shape (T + n,) or (B, T + n), or a list of arrays for a list.

    Raises
    ------
    UserError
        For a prompt that is empty or longer than ``n_positions``, a bad option, or sampling without ``rng``.
    """
    sampling = Sampling(temperature, top_k, top_p)
    require_integer("max_new_tokens", max_new_tokens, 0)
    if do_sample and rng is None:
        raise UserError("do_sample needs rng: a seed or a numpy.random.Generator")
    as_array = np.asarray(ids) if isinstance(ids, np.ndarray) or len(ids) == 0 or np.isscalar(ids[0]) else None
    prompts, lengths = pad(ids if as_array is None else np.atleast_2d(as_array))
    room = min(model.config.n_positions, prompts.shape[1] + max_new_tokens)
    past, logits = read(model, prompts, lengths, room=room)
    rng = np.random.default_rng(rng) if do_sample else None
    new = sample(model, past, logits, max_new_tokens, sampling, eos_token_id, rng)
    if as_array is None:
        return [
            np.concatenate([prompt[:length], tokens[:count]])
            for prompt, length, tokens, count in zip(prompts, lengths, new.ids, new.lengths, strict=True)
        ]
    ended = np.arange(new.ids.shape[1]) >= new.lengths[:, None]
    tokens = np.where(ended, eos_token_id if eos_token_id is not None else 0, new.ids)
    return np.concatenate([prompts, tokens], axis=1).reshape(*as_array.shape[:-1], -1)
