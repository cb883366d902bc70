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

PICKED_LOGITS = 1 << 10  # of fewer, picking the last ones costs more than it saves
SCORED_ROWS = 1024
SCORED_LOGITS = 1 << 25  # fewer rows at a time where the vocabulary is large


def pad(sequences: Sequence[Any] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (B, width) ids padded on the right with 0, and the lengths (B,)."""
    if isinstance(sequences, np.ndarray) and sequences.ndim == 2 and sequences.dtype.kind in "iu":
        return sequences.astype(np.int64, copy=False), np.full(len(sequences), sequences.shape[1])
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
    at = lengths[:, None] - 1 if ids.size * model.config.vocab_size > PICKED_LOGITS else None
    logits, _ = model.forward(ids, at=at, past=past, keep=False)
    past.lengths = past.lengths + lengths
    return past, logits[:, 0] if at is not None else logits[np.arange(len(ids)), lengths - 1]


class Reader:
    """Reads one more token a row and call into ``past``: tokens (B,) → logits (B, V), which the next call may overwrite.

    Before a row is longer than ``n_positions``, its last tokens are read again from position 0; see the top of this module.
    """

    def __init__(self, model: LanguageModel, past: KeyValueCache) -> None:
        self.model, self.past, self.longest = model, past, int(past.lengths.max(initial=0))
        self.limit = model.config.n_positions
        self._step: Callable[[np.ndarray], np.ndarray] | None = None

    def __call__(self, tokens: np.ndarray) -> np.ndarray:
        if self.longest == self.limit:
            self._move()
        if self._step is None:
            self._step = self.model.token_step(self.past)
        self.longest += 1
        return self._step(tokens)

    def take(self, rows: np.ndarray) -> Reader:
        """Return a reader that goes on with a copy of the given rows."""
        return Reader(self.model, self.past.take(rows))

    def _move(self) -> None:
        past, limit = self.past, self.limit
        full, keep = np.flatnonzero(past.lengths == limit), max(1, limit // 2)
        if keep == limit:  # n_positions = 1: nothing fits beside the new token
            past.lengths[full] = 0
        else:
            again, _ = read(self.model, past.ids[full, -keep:], np.full(len(full), keep), room=past.ids.shape[1])
            past.replace(full, again)
        self.longest, self._step = int(past.lengths.max()), None


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
    log_probs: bool = True,
) -> Continuations:  # fmt: skip
    """Generate after ``read``: one token a row and step, until the end token or ``max_new_tokens``.

    Rows that have ended leave the batch once they are half of it. ``rng`` None takes the most probable token. ``past`` is
    used up. Without ``log_probs`` those of the result may be NaN: the most probable token is found without them.
    """
    n, B = 0, len(logits)
    ids, taken = np.zeros((B, max_new_tokens), np.int64), np.full((B, max_new_tokens), np.nan, logits.dtype)
    reader, running, left, tokens = Reader(model, past), np.ones(B, dtype=bool), B, np.zeros(B, np.int64)
    rows: slice | np.ndarray = slice(None)  # those in the batch
    with np.errstate(over="ignore"):
        while n < max_new_tokens and left:
            if n:
                if 2 * left <= len(tokens):
                    reader, rows, tokens = reader.take(running), np.arange(B)[rows][running], tokens[running]
                    running = running[running]
                logits = reader(tokens)
            tokens, log_p = _choose(logits, sampling, rng, log_probs)
            ids[rows, n] = tokens
            if log_p is not None:
                taken[rows, n] = log_p[np.arange(len(tokens)), tokens]
            if on_token is not None:
                on_token(np.arange(B)[rows][running], tokens[running])
            if eos_token_id is not None:
                running &= tokens != eos_token_id
                left = int(np.count_nonzero(running))
            n += 1
    if eos_token_id is None:
        return Continuations(ids[:, :n], np.full(B, n), taken[:, :n])
    ends = ids[:, :n] == eos_token_id
    written = np.cumsum(ends, axis=1) == ends  # up to and including the first end
    return Continuations(np.where(written, ids[:, :n], 0), written.sum(axis=1), np.where(written, taken[:, :n], 0))


def _choose(
    logits: np.ndarray, sampling: Sampling, rng: np.random.Generator | None, log_probs: bool
) -> tuple[np.ndarray, np.ndarray | None]:
    """The next tokens (B,), and the log-probabilities (B, V) if they are wanted or needed."""
    if rng is None:
        return logits.real.argmax(axis=-1), sampling.log_probs(logits) if log_probs else None
    log_p = sampling.log_probs(logits)
    return draw(log_p, rng.random(len(logits))), log_p


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
    new = sample(model, past, logits, max_new_tokens, sampling, eos_token_id, rng, log_probs=False)
    if as_array is None:
        return [
            np.concatenate([prompt[:length], tokens[:count]])
            for prompt, length, tokens, count in zip(prompts, lengths, new.ids, new.lengths, strict=True)
        ]
    if eos_token_id is not None:
        new.ids[np.arange(new.ids.shape[1]) >= new.lengths[:, None]] = eos_token_id
    return np.concatenate([prompts, new.ids], axis=1).reshape(*as_array.shape[:-1], -1)
