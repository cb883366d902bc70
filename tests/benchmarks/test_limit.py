import math

import numpy as np
import pytest

from benchmarks import limit
from benchmarks.shapes import SHAPES, Shape


def operations(products):
    return sum(2 * math.prod(a.shape) * b.shape[-1] for a, b, _ in products)


@pytest.mark.parametrize("T", [16, 64])
def test_a_step_has_three_times_the_products_of_its_forward(T):
    """Per token and layer 12 C² multiplications in the linear maps, and 2 T C in attention, where nothing is left out."""
    B, C, shape = 2, 16, Shape(V=32, T=T, B=2, layers=3, heads=4, width=16)
    forward = 2 * B * T * (shape.layers * (12 * C**2 + 2 * T * C) + C * shape.V)
    assert operations(limit.products(shape, B)) == 3 * forward


def test_causal_blocks_leave_out_what_no_query_sees():
    def draw(*size):
        return np.zeros(size, np.float32)

    whole = 6 * 2 * 256 * 256 * 8
    assert operations(limit.attention(1, 1, 256, 8, draw)) == whole * (1 + 2 + 3 + 4) / 16


def test_every_product_fits_its_place():
    for a, b, out in limit.products(SHAPES["micro"], 3):
        np.matmul(a, b, out=out)
