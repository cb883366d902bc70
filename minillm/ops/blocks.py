"""What the element-wise passes of the ops share: blocks that stay in cache, and constants that are made once."""

import functools
from collections.abc import Iterator

import numpy as np

BLOCK_ELEMENTS = 1 << 17


def row_blocks(rows: int, width: int, first: int = 0) -> Iterator[slice]:
    """Yield slices that cut ``rows`` rows of ``width`` elements, from row ``first``, into blocks of about ``BLOCK_ELEMENTS`` elements."""
    step = max(1, BLOCK_ELEMENTS // max(1, width))
    for start in range(first, rows, step):
        yield slice(start, min(start + step, rows))


@functools.lru_cache(maxsize=1024)
def constants(dtype: np.dtype, *values: float) -> tuple[np.ndarray, ...]:
    """Return the values as arrays of shape (), read-only: NumPy would make them of plain numbers anew in each operation."""
    return tuple(_frozen(np.array(value, dtype)) for value in values)


@functools.lru_cache(maxsize=64)
def repeated(value: float, n: int, dtype: np.dtype) -> np.ndarray:
    """Return a read-only vector of n equal numbers; a product of matrices with it is a sum (1) or a mean (1/n)."""
    return _frozen(np.full(n, value, dtype))


def _frozen(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array
