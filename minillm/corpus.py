r"""A text as data: characters to ids, a part to train on and a part to be judged by, and what simple models make of it.

The last tenth of each text is for validation. The yardsticks are in bits per character of that part, $-\frac1n\sum\log_2 p(c_t)$:

- *unigram* and *bigram*: $p(c) = (n_c + 1)/(N + V)$ and $p(c\mid b) = (n_{bc} + 1)/(n_b + V)$ from the counts of the training part;
- *xz*: what the validation part adds to the compressed training part, $8\,(|xz(\text{both})| - |xz(\text{train})|)/n$.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minillm.errors import UserError
from minillm.objectives import IGNORE
from minillm.tokenizer import CharTokenizer

SONNETS = Path(__file__).parent / "data" / "sonnets.txt"


@dataclasses.dataclass(frozen=True)
class Corpus:
    """Texts as ids.

    Attributes
    ----------
    tokenizer : CharTokenizer
        Of the characters of the texts.
    train, validation : int64 arrays
        The first and the last part of each text, one text after the other; each text starts with the end-of-text token.
    sha256 : str
        Of the texts, so that a run knows its corpus again.
    """

    tokenizer: CharTokenizer
    train: np.ndarray
    validation: np.ndarray
    sha256: str

    @classmethod
    def from_texts(cls, texts: Sequence[str], validation: float = 0.1) -> Corpus:
        """Build a corpus; the last share ``validation`` of each text is kept from training.

        Raises
        ------
        UserError
            If the share is not between 0 and 1, or a part would be empty.
        """
        if not 0 < validation < 1:
            raise UserError(f"validation must be between 0 and 1, got {validation}")
        tokenizer = CharTokenizer.from_texts(texts)
        cuts = [len(text) - round(len(text) * validation) for text in texts]
        ids = [tokenizer.encode(text).astype(np.int64) for text in texts]
        start = [tokenizer.eos_token_id]
        parts = [np.concatenate([start, row[:cut]]) for row, cut in zip(ids, cuts, strict=True)]
        last = [row[cut:] for row, cut in zip(ids, cuts, strict=True)]
        digest = hashlib.sha256("\0".join(texts).encode("utf-8", "surrogatepass")).hexdigest()
        return cls(tokenizer, np.concatenate(parts), np.concatenate(last), digest)


def read_texts(paths: Iterable[Path]) -> list[str]:
    """Read text files as UTF-8, every character as it stands.

    Raises
    ------
    UserError
        If a file cannot be read, is empty, or is not UTF-8; the message names it, and the first wrong byte.
    """
    texts = []
    for path in paths:
        try:
            texts.append(path.read_bytes().decode("utf-8"))
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror or error}") from None
        except UnicodeDecodeError as error:
            raise UserError(f"{path} is not UTF-8: byte 0x{error.object[error.start]:02x} at position {error.start}") from None
        if not texts[-1]:
            raise UserError(f"{path} is empty")
    return texts


def blocks(ids: np.ndarray, T: int) -> tuple[np.ndarray, np.ndarray]:
    """Cut a text into blocks of T inputs and their targets, so that each id but the first is a target exactly once.

    Returns
    -------
    inputs, targets : int64 arrays of shape (n, T)
        The last block is filled up, its targets with ``IGNORE``.
    """
    n = -(-(len(ids) - 1) // T)
    inputs, targets = np.zeros(n * T, np.int64), np.full(n * T, IGNORE)
    inputs[: len(ids) - 1], targets[: len(ids) - 1] = ids[:-1], ids[1:]
    return inputs.reshape(n, T), targets.reshape(n, T)


def random_blocks(ids: np.ndarray, T: int, B: int, *, rng: Any) -> tuple[np.ndarray, np.ndarray]:
    """Draw B blocks, with replacement, that start anywhere: inputs and targets of shape (B, T)."""
    starts = np.random.default_rng(rng).integers(len(ids) - T, size=B)
    windows = ids[starts[:, None] + np.arange(T + 1)]
    return windows[:, :-1], windows[:, 1:]


def yardsticks(corpus: Corpus) -> dict[str, float]:
    """Return the bits per character of the validation part under ``unigram``, ``bigram`` and ``xz``."""
    V, train, (before, after) = corpus.tokenizer.vocab_size, corpus.train, (corpus.validation[:-1], corpus.validation[1:])
    single = np.bincount(train, minlength=V)
    pairs = np.bincount(train[:-1] * V + train[1:], minlength=V * V).reshape(V, V)
    follows = (pairs[before, after] + 1) / (pairs[before].sum(axis=-1) + V)
    return {
        "unigram": float(-np.log2((single[after] + 1) / (len(train) + V)).mean()),
        "bigram": float(-np.log2(follows).mean()),
        "xz": _xz(corpus),
    }


def _xz(corpus: Corpus) -> float:
    import lzma  # here, since some builds of Python lack it

    parts = [corpus.tokenizer.decode(part, skip_special_tokens=True).encode() for part in (corpus.train, corpus.validation)]
    alone, both = (len(lzma.compress(data, preset=9 | lzma.PRESET_EXTREME)) for data in (parts[0], b"".join(parts)))
    return 8 * (both - alone) / len(corpus.validation)
