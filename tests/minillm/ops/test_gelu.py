import math

import mpmath
import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from minillm.ops import gelu_new, gelu_new_backward


def gelu(values, dtype=np.float64):
    y, derivative = gelu_new(np.array([values], dtype=dtype))
    return y[0], derivative[0]


def exact(x):
    return x / 2 * (1 + mpmath.tanh(mpmath.sqrt(2 / mpmath.pi) * (x + mpmath.mpf("0.044715") * x**3)))


def test_equals_fifty_digits():
    points = [-9.0, -3.3, -1.0, -0.1, 0.0, 1e-8, 0.5, 0.7517, 2.0, 6.0, 11.0]
    y, derivative = gelu(points)
    with mpmath.workdps(50):
        np.testing.assert_allclose(y, [float(exact(mpmath.mpf(x))) for x in points], rtol=1e-13)
        np.testing.assert_allclose(derivative, [float(mpmath.diff(exact, x)) for x in points], rtol=1e-12, atol=1e-18)


def test_the_slope_at_zero_is_a_half():
    assert gelu([0.0])[1][0] == 0.5


def test_far_out_it_is_the_identity_or_zero_without_a_warning():
    for dtype in (np.float32, np.float64, np.longdouble):
        y, derivative = gelu([1e20, -1e20], dtype)
        assert derivative.tolist() == [1, 0]
        assert y.tolist() == [dtype(1e20), 0]
    y, derivative = gelu([1e20, -1e20], np.complex128)  # where the exponential must stay finite
    np.testing.assert_allclose(y, [1e20, 0], atol=1e-250)
    np.testing.assert_allclose(derivative, [1, 0], atol=1e-250)


@example(3e38)
@example(-3e38)
@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_every_finite_float32_has_a_finite_slope(x):
    y, derivative = gelu([x], np.float32)
    assert np.isfinite(y[0])
    assert -0.2 < derivative[0] < 1.2


def test_the_forms_with_tanh_and_with_erf_differ():
    x = np.linspace(-6, 6, 2001)
    erf_form = np.array([v / 2 * (1 + math.erf(v / math.sqrt(2))) for v in x])
    assert 3e-4 < np.abs(gelu(x)[0] - erf_form).max() < 6e-4


def test_adjoint(assert_adjoint):
    rng = np.random.default_rng(0)
    assert_adjoint(gelu_new, gelu_new_backward, (rng.normal(0, 3, (6, 5)),), rng)
    assert_adjoint(gelu_new, gelu_new_backward, (np.array([[-30.0, -20.9, 20.9, 21.1, 90.0, 1e6]]),), rng, 1e-14)


def test_the_backward_writes_where_it_is_told():
    dy, derivative = np.array([[1.0, 2.0]]), np.array([[3.0, 4.0]])
    assert gelu_new_backward(dy, derivative, out=dy) is dy
    assert dy.tolist() == [[3, 8]]


def test_blocks_of_rows_make_no_difference():
    x = np.random.default_rng(1).normal(size=(40, 2000))  # 80,000 elements: several blocks
    y, derivative = gelu_new(x)
    for row in (0, 17, 39):
        one, slope = gelu_new(x[row : row + 1])
        assert (one == y[row]).all()
        assert (slope == derivative[row]).all()


def test_without_keep_there_is_no_cache_and_the_same_output():
    x = np.random.default_rng(2).normal(size=(3, 4))
    y, cache = gelu_new(x, keep=False)
    assert cache is None
    assert (y == gelu_new(x)[0]).all()
