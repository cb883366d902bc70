"""What an agent has read: it reads each state once, and goes on from there however often it comes back."""

from __future__ import annotations

import numpy as np

from minillm.kv_cache import KeyValueCache
from minillm.language_model import LanguageModel


class Memory:
    """Prompts that were read, N so far, and the logits after each. There is room for as many again each time that it is full.

    Parameters
    ----------
    model : LanguageModel
    """

    def __init__(self, model: LanguageModel) -> None:
        self._model, self._number = model, 0
        self._past: KeyValueCache | None = None
        self._logits = np.empty((0, model.config.vocab_size), model.parameters.vector.dtype)

    def add(self, past: KeyValueCache, logits: np.ndarray) -> None:
        """Remember more prompts."""
        start, stop = self._number, self._number + len(logits)
        if self._past is not None and stop <= len(self._logits) and self._past.ids.shape == (len(self._logits), past.ids.shape[1]):
            self._past.replace(np.arange(start, stop), past)
            self._logits[start:stop] = logits
        else:
            spare = KeyValueCache(self._model.config, stop, past.values.dtype, past.ids.shape[1])
            before = [] if self._past is None else [self._past.take(np.arange(start))]
            self._past = KeyValueCache.concatenate([*before, past, spare])
            self._logits = np.concatenate([self._logits[:start], logits, np.empty((stop, logits.shape[1]), logits.dtype)])
        self._number = stop

    def take(self, index: np.ndarray) -> tuple[KeyValueCache, np.ndarray]:
        """Return a copy of what was read of prompts, by their numbers from 0 in the order in which they were added."""
        assert self._past is not None
        return self._past.take(index), self._logits[index]
