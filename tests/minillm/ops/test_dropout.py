import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minillm.errors import UserError
from minillm.ops import attention, attention_backward, dropout, dropout_backward
from minillm.ops.dropout import dropout_scale


@given(st.floats(0, 0.95), st.integers(0, 99))
def test_an_entry_is_zero_or_divided_by_what_is_kept(p, seed):
    x = np.random.default_rng(seed).normal(size=(5, 7)) + 10
    y, _ = dropout(x, p, rng=seed)
    kept = y != 0
    np.testing.assert_allclose(y[kept], x[kept] / (1 - p), rtol=1e-15)


def test_the_mean_is_that_of_the_input_and_the_share_of_zeros_is_p():
    y, _ = dropout(np.ones((1000, 100)), 0.2, rng=0)
    assert abs(y.mean() - 1) < 0.01
    assert abs((y == 0).mean() - 0.2) < 0.01


def test_adjoint(assert_adjoint):
    rng = np.random.default_rng(0)
    assert_adjoint(lambda x: dropout(x, 0.4, rng=5), dropout_backward, (rng.normal(size=(6, 5)),), rng)


def test_p_of_zero_is_the_identity_and_consumes_no_random_number():
    rng = np.random.default_rng(1)
    before = rng.bit_generator.state
    x = np.ones(3)
    y, cache = dropout(x, 0.0, rng=rng)
    assert (y is x, cache, rng.bit_generator.state) == (True, None, before)
    assert dropout_backward(x, cache) is x


def test_without_rng_dropout_is_an_error_and_not_a_silent_identity():
    with pytest.raises(UserError, match=r"dropout with p = 0\.1 needs rng"):
        dropout(np.ones(3), 0.1, rng=None)


def test_the_mask_is_the_same_in_every_dtype():
    zeros = {
        dtype: (dropout(np.ones(50, dtype), 0.5, rng=2)[0] == 0).tolist()
        for dtype in (np.float32, np.float64, np.longdouble, np.complex128)
    }
    assert all(mask == zeros[np.float32] for mask in zeros.values())


def test_attention_weights_are_dropped_and_the_gradient_knows_it(assert_adjoint):
    rng = np.random.default_rng(3)
    q, k, v = (rng.normal(size=(2, 3, 4, 5)) for _ in range(3))
    scale = dropout_scale((2, 3, 4, 4), 0.4, np.float64, rng=4)
    visible = np.tri(4, dtype=bool)
    assert_adjoint(lambda q, k, v: attention(q, k, v, visible, scale=scale), attention_backward, (q, k, v), rng)
    (_, _, weights), = attention(q, k, v, visible)[1][3]
    np.testing.assert_allclose(attention(q, k, v, visible, scale=scale)[0], (weights.swapaxes(-1, -2) * scale) @ v, rtol=1e-13)
