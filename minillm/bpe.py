r"""Byte-level byte-pair encoding (Sennrich et al. 2016; the byte form of Radford et al. 2019, section 2.2), in plain Python.

A text is cut into *pieces* (words with the space before them, runs of digits, of punctuation, of white space), each piece is
spelled in UTF-8 bytes, and the bytes are joined pair by pair: of all neighbours that stand in the list of merges, the pair that
stands first in the list is joined first, its leftmost occurrence before the others, until no neighbours are left in it. No text
is unknown, since every byte is a token.

Every distinct piece is merged once and then looked up: that is where the speed comes from, since the pieces of natural text repeat.
"""

from __future__ import annotations

import functools
import heapq
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import numpy as np

from minillm.errors import TokenizerError
from minillm.tokenizer import END_OF_TEXT, ended, padded

SPACE = r"\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"  # Unicode's White_Space; Python's \s has 1C-1F, too
ASSIGNED = 0x40000  # planes 4 to 13 are empty, and those above hold no letter and no number
OTHERWISE = "\ufffd"  # at the end of the text of an action that is not spelled as its text is
LARGEST_ID = 1 << 31
CACHED = 64  # pieces of at most this many bytes are remembered


@functools.cache
def byte_characters() -> str:
    r"""Return the 256 printable characters that stand for the bytes 0–255 in vocabulary files.

    A byte that is a printable character of Latin-1 stands for itself; the n-th of the others is U+0100 + n (``encoder.py`` of
    GPT-2). A space, for example, is written ``Ġ``.
    """
    itself = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in itself]
    return "".join(chr(byte) if byte in itself else chr(0x100 + others.index(byte)) for byte in range(256))


@functools.cache
def piece_pattern(ascii_only: bool = False) -> re.Pattern[str]:
    r"""Return GPT-2's pattern ``'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+``.

    Python's ``re`` knows no ``\p``: the letters and the numbers are written out as ranges. A text of ASCII alone is read by the
    shorter pattern.
    """
    L, N = ("a-zA-Z", "0-9") if ascii_only else (category_ranges("L"), category_ranges("N"))
    return re.compile(rf"'(?:[stmd]|re|ve|ll)| ?[{L}]+| ?[{N}]+| ?[^{SPACE}{L}{N}]+|[{SPACE}]+(?![^{SPACE}])|[{SPACE}]+")


@functools.cache
def category_ranges(letter: str) -> str:
    """Return the characters whose general category begins with ``letter`` as the inside of a class of a regular expression."""
    points = [i for i in range(ASSIGNED) if unicodedata.category(chr(i))[0] == letter]
    firsts = [i for i, previous in zip(points, [-2, *points], strict=False) if i != previous + 1]
    lasts = [i for i, following in zip(points, [*points[1:], -2], strict=True) if i != following - 1]
    return "".join(f"{chr(first)}-{chr(last)}" for first, last in zip(firsts, lasts, strict=True))


class BPETokenizer:
    r"""Byte-level BPE as GPT-2 has it.

    Parameters
    ----------
    vocab : mapping, str → int
        Tokens, spelled in :func:`byte_characters`, and their ids.
    merges : iterable of (str, str)
        Pairs, the first to be joined first.
    special_tokens : mapping, str → int
        Texts that are one token each and are never cut or merged, as they read (not in byte characters).
    eos_token : str
        The special token that ends a text.
    digits : bool
        Cut between digits before anything else (``Digits(individual_digits=True)`` of SmolLM2's tokenizer).

    Attributes
    ----------
    vocab_size : int
        One more than the largest id.
    eos_token_id : int

    Raises
    ------
    TokenizerError
        If an id is no integer from 0 or that of two tokens, a merge or its result is not in the vocabulary, or the end token is
        not among the special tokens.

    Notes
    -----
    ``decode(encode(s)) == s`` for every string without lone surrogates. Special tokens in a text are read as such.
    """

    def __init__(
        self,
        vocab: Mapping[str, int],
        merges: Iterable[tuple[str, str]],
        special_tokens: Mapping[str, int],
        eos_token: str = END_OF_TEXT,
        digits: bool = False,
    ) -> None:
        if eos_token not in special_tokens:
            raise TokenizerError(f"the end token {eos_token!r} is not among the special tokens {', '.join(map(repr, special_tokens))}")
        _require_ids(vocab)
        self.vocab, self.merges, self.digits = dict(vocab), [(left, right) for left, right in merges], digits
        self.special_tokens, self.eos_token, self.eos_token_id = dict(special_tokens), eos_token, special_tokens[eos_token]
        self.vocab_size = 1 + max(chain(self.vocab.values(), self.special_tokens.values()))
        self._bytes = self._spelling()
        self._pieces = _Pieces(self.vocab, self.merges)
        longest_first = sorted(self.special_tokens, key=len, reverse=True)
        self._special = re.compile("(" + "|".join(map(re.escape, longest_first)) + ")")
        self._digit = re.compile(rf"([{category_ranges('N')}])") if digits else None

    @classmethod
    def from_pretrained(cls, directory: str | Path) -> BPETokenizer:
        """Read ``tokenizer.json``, or ``vocab.json`` and ``merges.txt``, as Hugging Face writes them.

        Raises
        ------
        TokenizerError
            If a file is missing or damaged, or asks for something that this tokenizer does not do; the message names file and key.
        """
        from minillm.bpe_files import load
        from minillm.pretrained.directory import locate  # files of a checkpoint; the tokenizer itself needs none

        arguments, where = load(locate(directory))
        try:
            return cls(**arguments)
        except TokenizerError as error:
            raise TokenizerError(f"{where}: {error}") from None

    def save_pretrained(self, directory: str | Path) -> None:
        """Write ``tokenizer.json`` and ``tokenizer_config.json``, which Hugging Face's tokenizers read."""
        from minillm.bpe_files import save

        save(self, Path(directory))

    def encode(self, text: str) -> np.ndarray:
        """Return the ids of ``text``, int32 of shape (T,).

        Raises
        ------
        TokenizerError
            If the text has a lone surrogate; the message says where.
        """
        return np.array(self._ids(text), dtype=np.int32)

    def encode_batch(self, texts: Sequence[str] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Encode many texts at once.

        Returns
        -------
        ids : int32 array of shape (N, width)
            Padded on the right with ``eos_token_id``; ``width`` is the longest length.
        lengths : int64 array of shape (N,)
        """
        return padded([self._ids(str(text)) for text in texts], self.eos_token_id)

    def encode_prompts(self, states: Sequence[str] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Encode the prompts of many states: each state and the end token; the lengths count it."""
        return ended(*self.encode_batch(states), self.eos_token_id)

    def decode(self, ids: Sequence[int] | np.ndarray, skip_special_tokens: bool = False) -> str:
        """Return the text of ``ids``; bytes that are no UTF-8 read U+FFFD.

        Raises
        ------
        TokenizerError
            If an id is outside of the vocabulary; the message says which and where.
        """
        return self.decode_bytes(ids, skip_special_tokens).decode("utf-8", "replace")

    def decode_bytes(self, ids: Sequence[int] | np.ndarray, skip_special_tokens: bool = False) -> bytes:
        """Return the bytes of ``ids``: of part of a text, too, where a character may be cut."""
        numbers = np.asarray(ids, dtype=np.int64).reshape(-1).tolist()
        special = set(self.special_tokens.values()) if skip_special_tokens else ()
        try:
            return b"".join(self._bytes[i] for i in numbers if i not in special)
        except KeyError as missing:
            i = missing.args[0]
            raise TokenizerError(f"id {i} at position {numbers.index(i)} is outside of a vocabulary of {self.vocab_size}") from None

    def decode_action(self, ids: Sequence[int] | np.ndarray) -> str:
        r"""Return the text of an action's ids, its end token left out; U+FFFD follows if they are not what :meth:`encode` makes of it.

        One text has many spellings in tokens: ``ab``, or ``a`` and ``b``. An action is its canonical spelling alone, so that its
        probability is that of one sequence of tokens, $p(a\mid s) = \prod_t p(a_t\mid s, a_{<t})$ with the end token. Every other
        spelling, part of a character, a special token and an id without a text end in U+FFFD, which no environment takes for
        an action: they are the outcome ``invalid``.
        """
        numbers = np.asarray(ids, dtype=np.int64).reshape(-1).tolist()
        if numbers and numbers[-1] == self.eos_token_id:
            numbers.pop()
        text = self.decode([i for i in numbers if i in self._bytes], skip_special_tokens=True)
        try:
            canonical = self._ids(text) == numbers
        except TokenizerError:  # a vocabulary that lacks the bytes of U+FFFD itself
            canonical = False
        return text if canonical else text + OTHERWISE

    def state(self) -> dict[str, Any]:
        """Return how a checkpoint records it."""
        return {"bpe": {name: getattr(self, name) for name in ("vocab", "merges", "special_tokens", "eos_token", "digits")}}

    def _ids(self, text: str) -> list[int]:
        if not isinstance(text, str):
            raise TypeError(f"expected a str, got {type(text).__name__}")
        try:
            text.encode()
        except UnicodeEncodeError as error:
            point = ord(text[error.start])
            raise TokenizerError(f"lone surrogate U+{point:04X} at position {error.start} is not a character") from None
        pattern, pieces = piece_pattern(text.isascii()), self._pieces
        ids: list[int] = []
        for part in self._special.split(text):
            if part in self.special_tokens:
                ids.append(self.special_tokens[part])
            else:
                spans = self._digit.split(part) if self._digit else (part,)
                for span in spans:
                    ids.extend(chain.from_iterable(map(pieces.__getitem__, pattern.findall(span))))
        return ids

    def _spelling(self) -> dict[int, bytes]:
        """The bytes of each id."""
        value = {character: byte for byte, character in enumerate(byte_characters())}
        spelled = {i: text.encode() for text, i in self.special_tokens.items()}
        for token, i in self.vocab.items():
            if i not in spelled:
                try:
                    spelled[i] = bytes(map(value.__getitem__, token))
                except KeyError as character:
                    raise TokenizerError(f"token {token!r} (id {i}) has {character}, which stands for no byte") from None
        return spelled


def _require_ids(vocab: Mapping[str, int]) -> None:
    owner: dict[int, str] = {}
    for token, i in vocab.items():
        if type(i) is not int or not 0 <= i < LARGEST_ID:
            raise TokenizerError(f"the id of token {token!r:.60} is {i!r:.40}, not an integer from 0")
        if i in owner:
            raise TokenizerError(f"the id of token {token!r:.60} is {i}, the same as {owner[i]!r:.60}")
        owner[i] = token


class _Pieces(dict[str, tuple[int, ...]]):
    """Piece → ids; a piece that is not there yet is merged."""

    def __init__(self, vocab: Mapping[str, int], merges: Iterable[tuple[str, str]]) -> None:
        characters = byte_characters()
        self.byte_ids = [vocab.get(character) for character in characters]
        self.merges: dict[tuple[int, int], tuple[int, int]] = {}
        for rank, (left, right) in enumerate(merges):
            for token in (left, right, left + right):
                if token not in vocab:
                    raise TokenizerError(f"merge {rank}, {left!r} {right!r}: {token!r} is not in the vocabulary")
            self.merges.setdefault((vocab[left], vocab[right]), (rank, vocab[left + right]))

    def __missing__(self, piece: str) -> tuple[int, ...]:
        spelled = piece.encode()
        symbols = [self.byte_ids[byte] for byte in spelled]
        if None in symbols:
            raise TokenizerError(f"the vocabulary has no token for the byte 0x{spelled[symbols.index(None)]:02X} of {piece!r:.40}")
        ids = tuple(merged(symbols, self.merges))  # type: ignore[arg-type]
        if len(spelled) <= CACHED:
            self[piece] = ids
        return ids


def merged(symbols: list[int], merges: Mapping[tuple[int, int], tuple[int, int]]) -> Iterator[int]:
    r"""Join neighbours until none is in ``merges`` (pair → rank, result), in $O(n\log n)$ steps for n symbols.

    A heap holds the candidates (rank, position). A linked list over positions tells the neighbours; a joined symbol stays at the
    position of its left part. A candidate is stale, and dropped, when what stands at its place is no longer the pair that it was made of.
    """
    after = [*range(1, len(symbols)), -1]
    before = [*range(-1, len(symbols) - 1)]
    heap = [(merges[pair][0], i, pair) for i, pair in enumerate(pairwise(symbols)) if pair in merges]
    heapq.heapify(heap)
    while heap:
        _, i, pair = heapq.heappop(heap)
        j = after[i]
        if j < 0 or symbols[i] != pair[0] or symbols[j] != pair[1]:
            continue
        symbols[i], symbols[j], after[i] = merges[pair][1], -1, after[j]
        if after[j] >= 0:
            before[after[j]] = i
        for left in (before[i], i):
            right = after[left] if left >= 0 else -1
            new = (symbols[left], symbols[right])
            if right >= 0 and new in merges:
                heapq.heappush(heap, (merges[new][0], left, new))
    return (symbol for symbol in symbols if symbol >= 0)
