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

    Keys lie one a *column*, (layers, B, H, D, capacity), values one a row, (layers, B, H, capacity, D): so of a single query, scores and
    outputs are both sums of whole rows. In memory, of one sequence the heads of a position are neighbours: one product serves them all.

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
        self.keys = np.zeros((layers, rows, heads, D, capacity), dtype)
        shape = (layers, rows, heads, capacity, D)
        self.values = np.zeros(shape, dtype) if rows != 1 else np.zeros((layers, rows, capacity, heads, D), dtype).swapaxes(2, 3)
        self.ids = np.zeros((rows, capacity), dtype=np.int64)
        self.lengths = np.zeros(rows, dtype=np.int64)

    def take(self, rows: np.ndarray) -> KeyValueCache:
        """Return a copy that holds the given rows (repetitions allowed)."""
        copy = object.__new__(KeyValueCache)
        copy.keys, copy.values = self.keys[:, rows], _neighbours(self.values[:, rows])
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
        copy.keys, copy.values, copy.ids = joined("keys", 1, 4), _neighbours(joined("values", 1, 3)), joined("ids", 0, 1)
        copy.lengths = np.concatenate([cache.lengths for cache in caches])
        return copy

    def append(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Store T new ids of each row, shape (B, T), behind those before; the lengths are left to the caller.

        Returns
        -------
        positions : integer array of shape (B, T), or (1, T) if all rows are equally long
        visible : bool array of shape (B, 1, T, keys), or None: each token sees those before it and itself
        """
        T, start = ids.shape[1], self._common_length()
        if start is not None:
            self.ids[:, start : start + T] = ids
            return np.arange(start, start + T)[None], None
        positions = self.lengths[:, None] + np.arange(T)
        self.ids[np.arange(len(ids))[:, None], positions] = ids
        return positions, (np.arange(positions.max() + 1) <= positions[:, :, None])[:, None]

    def writer(self, layer: int, T: int) -> Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
        """Return a function that stores T new keys and values of a layer and returns all keys and values so far."""
        start = self._common_length()
        end = (int(self.lengths.max()) if start is None else start) + T

        def write(k: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            for store, new in ((self.keys[layer].mT, k), (self.values[layer], v)):
                if start is None:
                    store[np.arange(len(new))[:, None], :, self.lengths[:, None] + np.arange(T)] = new.swapaxes(1, 2)
                else:
                    store[:, :, start:end] = new
            return self.keys[layer, ..., :end].mT, self.values[layer, :, :, :end]

        return write

    def _common_length(self) -> int | None:
        """The length of all rows, if they are equally long."""
        first = int(self.lengths[0]) if len(self.lengths) else 0
        return first if len(self.lengths) < 2 or bool((self.lengths == first).all()) else None

    def replace(self, rows: np.ndarray, other: KeyValueCache) -> None:
        """Overwrite the given rows with those of ``other``, which has the same capacity."""
        self.keys[:, rows], self.values[:, rows] = other.keys, other.values
        self.ids[rows], self.lengths[rows] = other.ids, other.lengths


def _neighbours(values: np.ndarray) -> np.ndarray:
    """The values, in memory as :class:`KeyValueCache` has them."""
    return np.ascontiguousarray(values.swapaxes(2, 3)).swapaxes(2, 3) if values.shape[1] == 1 else values
