"""Row blocks that stay in cache while several element-wise operations pass over them."""

from collections.abc import Iterator

BLOCK_ELEMENTS = 1 << 16


def row_blocks(rows: int, width: int) -> Iterator[slice]:
    """Yield slices that cut ``rows`` rows of ``width`` elements into blocks of about ``BLOCK_ELEMENTS`` elements."""
    step = max(1, BLOCK_ELEMENTS // max(1, width))
    for start in range(0, rows, step):
        yield slice(start, min(start + step, rows))
