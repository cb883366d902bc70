import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minillm.ops import embedding, embedding_backward


def loop_backward(dy, ids, V):
    dweight = np.zeros((V, dy.shape[1]))
    for n, i in enumerate(ids):
        dweight[i] += dy[n]
    return dweight


def test_takes_rows_as_a_copy():
    weight = np.arange(6.0).reshape(3, 2)
    y, _ = embedding(np.array([2, 0, 2]), weight)
    assert y.tolist() == [[4, 5], [0, 1], [4, 5]]
    y[...] = -1
    assert weight.tolist() == [[0, 1], [2, 3], [4, 5]]


def test_repeated_ids_add_up_and_unused_rows_are_exactly_zero():
    dweight = embedding_backward(np.ones((3, 2)), embedding(np.array([1, 1, 1]), np.ones((4, 2)))[1])
    assert dweight.tolist() == [[0, 0], [3, 3], [0, 0], [0, 0]]


def test_gather_of_the_same_row_twice_sums_the_upstream():
    dweight = embedding_backward(np.array([[0.2], [0.3]]), embedding(np.array([0, 0]), np.ones((2, 1)))[1])
    assert dweight.tolist() == [[0.5], [0.0]]


def test_adjoint(assert_adjoint):
    rng = np.random.default_rng(0)
    ids = np.array([3, 0, 3, 3, 1])
    assert_adjoint(lambda w: embedding(ids, w), embedding_backward, (rng.normal(size=(5, 4)),), rng)


@given(ids=st.lists(st.integers(0, 4), max_size=12), seed=st.integers(0, 99), written_out=st.sampled_from([0, 1 << 14]))
def test_backward_equals_the_loop(ids, seed, written_out):
    dy = np.random.default_rng(seed).normal(size=(len(ids), 3))
    _, cache = embedding(np.array(ids, dtype=np.int64), np.ones((5, 3)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.modules[embedding.__module__], "WRITTEN_OUT", written_out)
        dweight = embedding_backward(dy, cache)
    np.testing.assert_allclose(dweight, loop_backward(dy, ids, 5), rtol=1e-15, atol=1e-15)


def test_many_rows_of_many_ids_are_added_up():
    rng = np.random.default_rng(0)
    ids, dy = rng.integers(300, size=100), rng.normal(size=(100, 2))
    np.testing.assert_allclose(embedding_backward(dy, (ids, 300)), loop_backward(dy, ids, 300), rtol=1e-15, atol=1e-15)
