r"""Characters ↔ ids: a look-up table over Unicode code points, applied to whole batches at once.

A NumPy string array of dtype ``<U w`` is in memory already an array of code points of shape (N, w), zero-padded; one
gather through the table turns it into ids.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any, Protocol

import numpy as np

from minillm.errors import TokenizerError

END_OF_TEXT = "<|endoftext|>"


class Tokenizer(Protocol):
    """What acting, scoring, training and checkpoints need of a vocabulary: :class:`CharTokenizer`, :class:`minillm.bpe.BPETokenizer`.

    Attributes
    ----------
    vocab_size : int
        One more than the largest id.
    eos_token_id : int
        The token that starts, separates, ends and pads texts.
    """

    vocab_size: int
    eos_token_id: int

    def encode(self, text: str) -> np.ndarray:
        """Return the ids (T,) of a text: its one canonical spelling."""

    def encode_batch(self, texts: Sequence[str] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the ids (N, width) of many texts, padded on the right with the end token, and their lengths (N,)."""

    def encode_prompts(self, states: Sequence[str] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the ids (N, width) of what an agent reads before it acts, the token that ends a prompt included, and their lengths (N,)."""

    def decode(self, ids: Sequence[int] | np.ndarray, skip_special_tokens: bool = False) -> str:
        """Return the text of ids."""

    def decode_action(self, ids: Sequence[int] | np.ndarray) -> str:
        """Return the text of an action's ids, its end token left out, such that no other ids give that text."""

    def state(self) -> dict[str, Any]:
        """Return how a checkpoint records it: one key, and what the constructor takes, as JSON can hold it."""


class CharTokenizer:
    r"""A vocabulary of single characters (code points) and one special token that ends a text.

    Parameters
    ----------
    characters : str or iterable of str
        The distinct characters; character ``i`` gets id ``i``. The special token ``<|endoftext|>`` comes last, as in
        GPT-2, with id ``len(characters)``; it starts, separates, ends and pads texts.

    Notes
    -----
    ``decode(encode(s)) == s`` for every string over the vocabulary: no normalisation, no stripping, no merging.
    """

    def __init__(self, characters: str | Iterable[str]) -> None:
        self.characters = tuple(characters)
        for index, character in enumerate(self.characters):
            if len(character) != 1:
                raise TokenizerError(f"vocabulary entry {index} must be one character, got {character!r}")
        points = _code_points("".join(self.characters))
        surrogates = np.flatnonzero((points >= 0xD800) & (points < 0xE000))
        if surrogates.size:
            raise TokenizerError(f"vocabulary entry {surrogates[0]} is a lone surrogate, U+{points[surrogates[0]]:04X}")
        if len(np.unique(points)) != len(points):
            twice = next(c for i, c in enumerate(self.characters) if c in self.characters[:i])
            raise TokenizerError(f"character {twice!r} stands twice in the vocabulary")
        self.eos_token_id = len(points)
        self.vocab_size = len(points) + 1
        self._id_of = np.full(int(points.max(initial=0)) + 2, -1, dtype=np.int32)
        self._id_of[points] = np.arange(len(points))
        self._strings = np.array([*self.characters, END_OF_TEXT], dtype=object)

    @classmethod
    def from_texts(cls, texts: Iterable[str]) -> CharTokenizer:
        """Build the vocabulary from the distinct characters of ``texts``, in code point order."""
        found: set[str] = set()
        for text in texts:
            found.update(str(text))
        return cls(sorted(found))

    def encode(self, text: str) -> np.ndarray:
        """Return the ids of ``text``, int32 of shape (len(text),).

        Raises
        ------
        TokenizerError
            If a character is not in the vocabulary or is a lone surrogate; the message says which and where.
        """
        return self._ids(_code_points(text), text)

    def encode_batch(self, texts: Sequence[str] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Encode many texts at once.

        Returns
        -------
        ids : int32 array of shape (N, width)
            Padded on the right with ``eos_token_id``; ``width`` is the longest length.
        lengths : int64 array of shape (N,)
        """
        if isinstance(texts, np.ndarray) and texts.dtype.kind == "U":
            lengths = np.char.str_len(texts).astype(np.int64)
            wide = np.ascontiguousarray(texts).view(np.uint32).reshape(len(texts), texts.itemsize // 4)
        else:
            lengths = np.array([len(text) for text in texts], dtype=np.int64)
            wide = None
        filled = np.arange(int(lengths.max(initial=0))) < lengths[:, None]
        points = wide[:, : filled.shape[1]][filled] if wide is not None else _code_points("".join(texts))
        ids = np.full(filled.shape, self.eos_token_id, dtype=np.int32)
        ids[filled] = self._ids(points, texts)
        return ids, lengths

    def encode_prompts(self, states: Sequence[str] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Encode the prompts of many states: each state and the end token; the lengths count it."""
        return ended(*self.encode_batch(states), self.eos_token_id)

    def decode(self, ids: Sequence[int] | np.ndarray, skip_special_tokens: bool = False) -> str:
        """Return the text of ``ids``; the special token reads ``<|endoftext|>`` or is left out.

        Raises
        ------
        TokenizerError
            If an id is outside of the vocabulary; the message says which and where.
        """
        array = np.asarray(ids, dtype=np.int64).reshape(-1)
        wrong = np.flatnonzero((array < 0) | (array >= self.vocab_size))
        if wrong.size:
            raise TokenizerError(
                f"id {array[wrong[0]]} at position {wrong[0]} is outside of a vocabulary of {self.vocab_size}"
            )
        if skip_special_tokens:
            array = array[array != self.eos_token_id]
        return "".join(self._strings[array])

    def decode_action(self, ids: Sequence[int] | np.ndarray) -> str:
        """Return the text of an action's ids without the end token; a text has one spelling only."""
        return self.decode(ids, skip_special_tokens=True)

    def state(self) -> dict[str, Any]:
        """Return how a checkpoint records it."""
        return {"characters": self.characters}

    def _ids(self, points: np.ndarray, texts: str | Sequence[str] | np.ndarray) -> np.ndarray:
        ids = self._id_of[np.minimum(points, len(self._id_of) - 1)]
        if ids.size and ids.min() < 0:
            raise TokenizerError(self._complaint(int(np.argmin(ids >= 0)), texts))
        return ids

    def _complaint(self, position: int, texts: str | Sequence[str] | np.ndarray) -> str:
        where = ""
        if not isinstance(texts, str):
            ends = np.cumsum([len(text) for text in texts])
            row = int(np.searchsorted(ends, position, side="right"))
            position -= int(ends[row - 1]) if row else 0
            where, texts = f" of text {row}", str(texts[row])
        character = texts[position]
        if 0xD800 <= ord(character) < 0xE000:
            return f"lone surrogate U+{ord(character):04X} at position {position}{where} is not a character"
        return (
            f"character {character!r} (U+{ord(character):04X}) at position {position}{where} is not in the vocabulary "
            f"of {len(self.characters)} characters"
        )


def ended(ids: np.ndarray, lengths: np.ndarray, end: int) -> tuple[np.ndarray, np.ndarray]:
    """Return rows of ids that are padded with ``end`` with one more of it, which ends each, and the lengths with it."""
    return np.concatenate([ids, np.full((len(ids), 1), end, ids.dtype)], axis=1), lengths + 1


def padded(rows: Sequence[Sequence[int] | np.ndarray], filler: int) -> tuple[np.ndarray, np.ndarray]:
    """Return rows of ids as one int32 array (N, width), padded on the right with ``filler``, and their lengths (N,)."""
    lengths = np.array([len(row) for row in rows], dtype=np.int64)
    ids = np.full((len(rows), int(lengths.max(initial=0))), filler, dtype=np.int32)
    ids[np.arange(ids.shape[1]) < lengths[:, None]] = list(chain.from_iterable(rows))
    return ids, lengths


def _code_points(text: str) -> np.ndarray:
    if not isinstance(text, str):
        raise TypeError(f"expected a str, got {type(text).__name__}")
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
