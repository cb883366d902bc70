"""Experience as text to learn from: state, action, and what came back."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from minillm.experience import Experience
from minillm.objectives import IGNORE
from minillm.tokenizer import Tokenizer, ended


class Transcripts:
    """The transcript of each step of an experience, as a language model learns them: each token from those before it.

    Parameters
    ----------
    tokenizer : Tokenizer
    experience : Experience
    """

    def __init__(self, tokenizer: Tokenizer, experience: Experience) -> None:
        self._ids, self._lengths = transcript_ids(tokenizer, experience)
        self._targets = np.where(np.arange(1, self._ids.shape[1]) < self._lengths[:, None], self._ids[:, 1:], IGNORE)

    def draw(self, B: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Draw B of them with replacement: inputs and targets of shape (B, T), with T the longest one's."""
        rows = rng.integers(len(self._ids), size=B)
        width = int(self._lengths[rows].max()) - 1
        return self._ids[rows, :width], self._targets[rows, :width]


def transcript_ids(tokenizer: Tokenizer, experience: Experience) -> tuple[np.ndarray, np.ndarray]:
    """Return the tokens of state, action and what came back (reward and next state), each with its end token.

    Returns
    -------
    ids : int64 array of shape (M, T + 1), padded on the right with the end token
    lengths : int64 array of shape (M,)
    """
    came_back = [f"{reward:g}\n{state}" for reward, state in zip(experience.rewards, experience.next_states, strict=True)]
    state, back = (_ended(tokenizer, texts) for texts in (experience.states, came_back))
    rows = np.concatenate([state, experience.action_ids, back], axis=1)
    there = rows != IGNORE
    lengths = there.sum(axis=1)
    ids = np.full((len(rows), lengths.max()), tokenizer.eos_token_id, dtype=np.int64)
    ids[np.arange(ids.shape[1]) < lengths[:, None]] = rows[there]
    return ids, lengths


def _ended(tokenizer: Tokenizer, texts: Sequence[str] | np.ndarray) -> np.ndarray:
    """The ids of texts, each with its end token, padded with −100."""
    ids, lengths = ended(*tokenizer.encode_batch(texts), tokenizer.eos_token_id)
    return np.where(np.arange(ids.shape[1]) < lengths[:, None], ids, IGNORE)
