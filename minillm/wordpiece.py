"""WordPiece: text ↔ ids of BERT. Words are split at spaces and punctuation, then cut into the longest pieces of a vocabulary.

A piece that goes on with a word is written with ``##`` before it. (Devlin et al. 2018, section 3; Wu et al. 2016, arXiv:1609.08144.)
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minillm.errors import TokenizerError
from minillm.json_object import read_object
from minillm.tokenizer import padded

SPECIAL = ("[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]")
LONGEST_WORD = 100  # a longer one is unknown
IDEOGRAPHS = (  # as the tokenizers engine has them (Google's code of 2018 begins the last but two at 2B820)
    (0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F), (0x2B740, 0x2B81F), (0x2B920, 0x2CEAF),
    (0xF900, 0xFAFF), (0x2F800, 0x2FA1F),
)  # fmt: skip
ASCII_MARKS = re.compile(r"[!-/:-@\[-`{-~]")
NEUTRAL: dict[str, tuple[Any, ...]] = {"do_basic_tokenize": (True,), "never_split": (None, [])}


class WordPieceTokenizer:
    """BERT's tokenizer.

    Parameters
    ----------
    vocabulary : iterable of str
        The pieces; piece ``i`` has id ``i``. It must hold ``[UNK]``, ``[CLS]``, ``[SEP]``, ``[PAD]`` and ``[MASK]``, which are
        recognised in a text as they stand.
    lower : bool
        Whether text is lower-cased.
    strip_accents : bool, optional
        Whether accents are taken off; as ``lower`` when None.
    split_ideographs : bool
        Whether each Chinese character is a word.

    Raises
    ------
    TokenizerError
        If a special token is missing or a piece stands twice.
    """

    def __init__(
        self, vocabulary: Iterable[str], *, lower: bool = True, strip_accents: bool | None = None, split_ideographs: bool = True
    ) -> None:
        self.pieces = list(vocabulary)
        self.ids = {piece: i for i, piece in enumerate(self.pieces)}
        for token in SPECIAL:
            if token not in self.ids:
                raise TokenizerError(f"the vocabulary lacks {token}")
        if len(self.ids) != len(self.pieces):
            twice = next(piece for i, piece in enumerate(self.pieces) if self.ids[piece] != i)
            raise TokenizerError(f"{twice!r:.80} stands twice in the vocabulary")
        self.lower, self.strip = lower, lower if strip_accents is None else strip_accents
        self.vocab_size = len(self.pieces)
        self.mask_token_id, self.pad_token_id = self.ids["[MASK]"], self.ids["[PAD]"]
        self._clean, self._spaced = _Clean(split_ideographs), _Spaced()
        self._words: dict[str, list[int]] = {}
        self._special = re.compile("|".join(f"({re.escape(token)})" for token in SPECIAL))

    @classmethod
    def from_pretrained(cls, directory: str | Path) -> WordPieceTokenizer:
        """Read ``vocab.txt`` and, where there is one, ``tokenizer_config.json``.

        Raises
        ------
        TokenizerError
            If vocab.txt is missing or is no vocabulary, or a setting that would change the ids is not supported.
        """
        from minillm.pretrained.directory import locate  # files of a checkpoint; the tokenizer itself needs none

        place = locate(directory)
        path = place / "vocab.txt"
        try:
            lines = path.read_bytes().decode().removesuffix("\n").split("\n")
        except OSError as error:
            raise TokenizerError(f"cannot read {path}: {error.strerror or error}") from None
        except UnicodeDecodeError as error:
            raise TokenizerError(f"{path} is not UTF-8: {error.reason} at byte {error.start}") from None
        try:
            return cls([line.removesuffix("\r") for line in lines], **_settings(place / "tokenizer_config.json"))
        except TokenizerError as error:
            raise TokenizerError(f"{path}: {error}" if str(place) not in str(error) else str(error)) from None

    def tokenize(self, text: str) -> list[int]:
        """Return the ids of a text, without ``[CLS]`` and ``[SEP]``.

        Raises
        ------
        TokenizerError
            If the text holds a lone surrogate; the message says where.
        """
        surrogate = re.search("[\ud800-\udfff]", text)
        if surrogate:
            point, at = ord(surrogate[0]), surrogate.start()
            raise TokenizerError(f"lone surrogate U+{point:04X} at position {at} is not a character")
        found: list[int] = []
        for part in self._special.split(text):
            if part in SPECIAL:
                found.append(self.ids[part])
            elif part:
                for word in self._split(part):
                    found += self._word(word)
        return found

    def encode(self, text: str, pair: str | None = None) -> np.ndarray:
        """Return ``[CLS] text [SEP]``, or ``[CLS] text [SEP] pair [SEP]``, as int32 ids."""
        end = self.ids["[SEP]"]
        second = [] if pair is None else [*self.tokenize(pair), end]
        return np.array([self.ids["[CLS]"], *self.tokenize(text), end, *second], np.int32)

    def encode_batch(self, texts: Sequence[str], max_length: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Return the ids (N, T), padded on the right with ``[PAD]``, and the attention mask: 1 at tokens, 0 at padding.

        A text of more than ``max_length`` tokens loses its end, but not ``[SEP]``.
        """
        rows = [self.encode(text) for text in texts]
        if max_length is not None:
            rows = [row if len(row) <= max_length else np.append(row[: max_length - 1], row[-1]) for row in rows]
        ids, lengths = padded(rows, self.pad_token_id)
        return ids, (np.arange(ids.shape[1]) < lengths[:, None]).astype(np.int32)

    def decode(self, ids: Sequence[int] | np.ndarray, skip_special_tokens: bool = False) -> str:
        """Return the pieces with spaces between words. Case, accents and spacing that encoding took away do not come back.

        Raises
        ------
        TokenizerError
            If an id is outside of the vocabulary; the message says which and where.
        """
        words: list[str] = []
        for at, i in enumerate(np.asarray(ids).reshape(-1).tolist()):
            if not 0 <= i < self.vocab_size:
                raise TokenizerError(f"id {i} at position {at} is outside of a vocabulary of {self.vocab_size}")
            piece = self.pieces[i]
            if piece.startswith("##") and words:
                words[-1] += piece[2:]
            elif not (skip_special_tokens and piece in SPECIAL):
                words.append(piece)
        return " ".join(words)

    def _split(self, text: str) -> list[str]:
        text = text.translate(self._clean)
        if self.strip:
            text = "".join(c for c in unicodedata.normalize("NFD", text) if unicodedata.category(c) != "Mn")
        if self.lower:
            text = "".join([c.lower() for c in text])  # one by one: a final sigma is a sigma
        return text.translate(self._spaced).split()

    def _word(self, word: str) -> list[int]:
        found = self._words.get(word)
        if found is None:
            found = self._words[word] = self._cut(word)
        return found

    def _cut(self, word: str) -> list[int]:
        """The longest piece that begins the word, then the longest that goes on, … ; unknown if one is not in the vocabulary."""
        ids: list[int] = []
        start = 0
        while start < len(word) <= LONGEST_WORD:
            for end in range(len(word), start, -1):
                piece = self.ids.get(("##" if start else "") + word[start:end])
                if piece is not None:
                    break
            else:
                break
            ids.append(piece)
            start = end
        return ids if start == len(word) else [self.ids["[UNK]"]]


class _Clean(dict[int, str | None]):
    """For str.translate: control characters vanish, every space is a blank, an ideograph has blanks around it."""

    def __init__(self, split_ideographs: bool) -> None:
        self.split_ideographs = split_ideographs

    def __missing__(self, point: int) -> str | None:
        c, value = chr(point), None
        if c in "\t\n\r":
            value = " "
        elif point not in (0, 0xFFFD) and unicodedata.category(c)[0] != "C":
            ideograph = self.split_ideographs and any(first <= point <= last for first, last in IDEOGRAPHS)
            value = " " if c.isspace() else f" {c} " if ideograph else c
        self[point] = value
        return value


class _Spaced(dict[int, str]):
    """For str.translate: a punctuation mark has blanks around it."""

    def __missing__(self, point: int) -> str:
        c = chr(point)
        self[point] = f" {c} " if ASCII_MARKS.match(c) or unicodedata.category(c)[0] == "P" else c
        return self[point]


def _settings(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    found = read_object(path, TokenizerError)
    for key, allowed in NEUTRAL.items():
        if key in found and found[key] not in allowed:
            raise TokenizerError(f"{path}: {key} = {found[key]!r:.60} is not supported")
    names = {"do_lower_case": "lower", "strip_accents": "strip_accents", "tokenize_chinese_chars": "split_ideographs"}
    settings = {ours: found[theirs] for theirs, ours in names.items() if theirs in found}
    for key, value in settings.items():
        if not isinstance(value, bool) and not (key == "strip_accents" and value is None):
            raise TokenizerError(f"{path}: {key} must be true or false, got {value!r:.40}")
    return settings
