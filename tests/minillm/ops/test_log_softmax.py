import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minillm.ops import log_softmax, log_softmax_backward

ROWS = hnp.arrays(np.float64, st.tuples(st.integers(1, 4), st.integers(1, 6)), elements=st.floats(-700, 700))


def loop(z):
    result = np.empty(z.shape)
    for n, row in enumerate(z):
        top = max(row)
        total = math.fsum(math.exp(value - top) for value in row)
        result[n] = [value - top - math.log(total) for value in row]
    return result


def test_a_common_shift_of_a_thousand_changes_nothing():
    p = np.exp(log_softmax(np.array([[0.0, 1.0], [1000.0, 1001.0]]))[0])
    np.testing.assert_allclose(p, [[0.2689414213699951, 0.7310585786300049]] * 2, rtol=1e-13)
    assert (p[0] == p[1]).all()


def test_very_negative_scores_in_float32():
    p = np.exp(log_softmax(np.array([[-2e5, -2e5 - 1]], np.float32))[0])
    np.testing.assert_allclose(p, [[0.731, 0.269]], atol=5e-4)


@given(ROWS)
def test_equals_the_loop(z):
    np.testing.assert_allclose(log_softmax(z)[0], loop(z), rtol=1e-13, atol=1e-13)


@given(ROWS)
def test_rows_sum_to_one(z):
    np.testing.assert_allclose(np.exp(log_softmax(z)[0]).sum(-1), 1, rtol=1e-13)


def test_adjoint(assert_adjoint):
    rng = np.random.default_rng(0)
    assert_adjoint(log_softmax, log_softmax_backward, (rng.normal(0, 2, (3, 4, 5)),), rng)
    assert_adjoint(log_softmax, log_softmax_backward, (rng.normal(0, 200, (3, 5)),), rng, 1e-14)


@given(ROWS, st.integers(0, 99))
def test_gradient_rows_sum_to_zero(z, seed):
    u = np.random.default_rng(seed).normal(size=z.shape)
    assert np.abs(log_softmax_backward(u, log_softmax(z)[1]).sum(-1)).max() < 1e-13


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.longdouble, np.complex128])
def test_a_logit_of_minus_infinity_has_probability_zero_and_gradient_zero(dtype):
    log_p, cache = log_softmax(np.array([-np.inf, 0, 1], dtype))
    assert np.exp(log_p[0]) == 0
    assert log_p[0] == -np.inf
    assert log_softmax_backward(np.array([0, 1, 0], dtype), cache)[0] == 0
