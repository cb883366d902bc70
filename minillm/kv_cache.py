"""Keys and values of the tokens already read, so that each new token costs one row of work and not a whole sequence."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from minillm.language_model import ModelConfig


class KeyValueCache:
    r"""Keys and values of every layer for B sequences that may differ in length.

    Row b holds the positions 0 … ``lengths[b]`` − 1. Prompts of different lengths are padded on the *right*; what a pad
    wrote lies at positions ≥ ``lengths[b]``, which no query may see and which the next real token overwrites. So a row
    never depends on its neighbours.

    Parameters
    ----------
    config : ModelConfig
    rows : int
        B, the number of sequences.
    dtype : dtype
    capacity : int, optional
        Positions to hold; ``n_positions`` when None.
    """

    def __init__(self, config: ModelConfig, rows: int, dtype: np.dtype | type, capacity: int | None = None) -> None:
        layers, heads, D = config.key_value_shape
        capacity = config.n_positions if capacity is None else capacity
        self.keys = np.zeros((layers, rows, heads, capacity, D), dtype)
        self.values = np.zeros_like(self.keys)
        self.ids = np.zeros((rows, capacity), dtype=np.int64)
        self.lengths = np.zeros(rows, dtype=np.int64)

    def take(self, rows: np.ndarray) -> KeyValueCache:
        """Return a copy that holds the given rows (repetitions allowed)."""
        copy = object.__new__(KeyValueCache)
        copy.keys, copy.values = self.keys[:, rows], self.values[:, rows]
        copy.ids, copy.lengths = self.ids[rows], self.lengths[rows]
        return copy

    @staticmethod
    def concatenate(caches: Sequence[KeyValueCache]) -> KeyValueCache:
        """Return a copy that holds the rows of all caches, with room for the longest."""
        capacity = max(cache.ids.shape[1] for cache in caches)

        def joined(name: str, rows: int, places: int) -> np.ndarray:
            arrays = []
            for cache in caches:
                array = getattr(cache, name)
                missing = [(0, 0)] * array.ndim
                missing[places] = (0, capacity - array.shape[places])
                arrays.append(np.pad(array, missing) if missing[places][1] else array)
            return np.concatenate(arrays, axis=rows)

        copy = object.__new__(KeyValueCache)
        copy.keys, copy.values, copy.ids = joined("keys", 1, 3), joined("values", 1, 3), joined("ids", 0, 1)
        copy.lengths = np.concatenate([cache.lengths for cache in caches])
        return copy

    def writer(self, layer: int, T: int) -> Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
        """Return a function that stores T new keys and values of a layer and returns all keys and values so far."""
        positions = self.lengths[:, None] + np.arange(T)
        rows = np.arange(len(self.lengths))[:, None]
        end = int(positions.max(initial=-1)) + 1

        def write(k: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            self.keys[layer, rows, :, positions] = k.swapaxes(1, 2)
            self.values[layer, rows, :, positions] = v.swapaxes(1, 2)
            return self.keys[layer, :, :, :end], self.values[layer, :, :, :end]

        return write

    def replace(self, rows: np.ndarray, other: KeyValueCache) -> None:
        """Overwrite the given rows with those of ``other``, which has the same capacity."""
        self.keys[:, rows], self.values[:, rows] = other.keys, other.values
        self.ids[rows], self.lengths[rows] = other.ids, other.lengths
