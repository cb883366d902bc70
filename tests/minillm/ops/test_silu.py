import mpmath
import numpy as np
import pytest

from minillm.ops import silu, silu_backward

POINTS = [-90.0, -9.0, -3.3, -1.0, -0.1, 0.0, 1e-8, 0.5, 2.0, 6.0, 40.0]


def test_equals_fifty_digits():
    y, derivative = silu(np.array([POINTS]))
    with mpmath.workdps(50):
        def exact(t):
            return t / (1 + mpmath.exp(-t))

        np.testing.assert_allclose(y[0], [float(exact(mpmath.mpf(t))) for t in POINTS], rtol=1e-15)
        np.testing.assert_allclose(derivative[0], [float(mpmath.diff(exact, t)) for t in POINTS], rtol=1e-14)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.longdouble])
def test_far_out_it_is_the_identity_or_zero_without_a_warning(dtype):
    y, derivative = silu(np.array([[3e38, -3e38]], dtype))
    assert y.tolist() == [[dtype(3e38), 0]]
    assert derivative.tolist() == [[1, 0]]


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
def test_a_complex_argument_far_out_stays_finite(dtype):
    y, derivative = silu(np.array([[1e20, -1e20, -100 + 3j]], dtype))
    np.testing.assert_allclose(y, [[1e20, 0, 0]], atol=1e-14)
    np.testing.assert_allclose(derivative, [[1, 0, 0]], atol=1e-14)


def test_adjoint(assert_adjoint):
    rng = np.random.default_rng(0)
    assert_adjoint(silu, silu_backward, (rng.normal(0, 3, (6, 5)),), rng)
    assert_adjoint(silu, silu_backward, (np.array([[-300.0, -79.0, -30.0, 30.0, 81.0, 1e6]]),), rng, 1e-14)


def test_without_keep_there_is_no_cache_and_the_same_output():
    x = np.random.default_rng(2).normal(size=(3, 4))
    y, cache = silu(x, keep=False)
    assert cache is None
    assert (y == silu(x)[0]).all()
