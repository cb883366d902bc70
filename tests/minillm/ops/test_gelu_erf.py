import mpmath
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from minillm.ops import gelu, gelu_backward

POINTS = [-9.9, -7.0, -3.3, -1.0, -0.1, 0.0, 1e-8, 0.5, 0.7517, 2.0, 6.0, 9.5, 11.0]


def digits(x):
    """A longdouble as the number that it is."""
    return mpmath.mpf(float(x)) + mpmath.mpf(float(x - type(x)(float(x))))


@pytest.mark.parametrize(("dtype", "bound"), [(np.float32, 1e-7), (np.float64, 1e-15), (np.longdouble, 4e-18)])
def test_equals_fifty_digits(dtype, bound):
    x = np.array([POINTS], dtype)
    y, derivative = gelu(x)
    with mpmath.workdps(50):
        for point, value, slope in zip(x[0], y[0], derivative[0], strict=True):
            t = digits(point)
            assert abs(digits(value) - t * mpmath.ncdf(t)) < bound
            assert abs(digits(slope) - mpmath.ncdf(t) - t * mpmath.npdf(t)) < bound


def test_the_left_tail_has_a_small_relative_error():
    y, _ = gelu(np.array([[-12.0, -20.0, -30.0]]))
    with mpmath.workdps(50):
        np.testing.assert_allclose(y[0], [float(t * mpmath.ncdf(t)) for t in (-12, -20, -30)], rtol=1e-12)


def test_the_slope_at_zero_is_a_half():
    assert gelu(np.array([[0.0]]))[1] == 0.5


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.longdouble, np.complex64, np.complex128])
def test_far_out_it_is_the_identity_or_zero_without_a_warning(dtype):
    y, derivative = gelu(np.array([[1e20, -1e20]], dtype))
    np.testing.assert_allclose(derivative, [[1, 0]], atol=1e-21)
    assert y.tolist() == [[dtype(1e20), 0]]


@example(3e38)
@example(-3e38)
@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_every_finite_float32_has_a_finite_slope(x):
    y, derivative = gelu(np.array([[x]], np.float32))
    assert np.isfinite(y).all()
    assert -0.2 < derivative[0, 0] < 1.2


def test_adjoint(assert_adjoint):
    rng = np.random.default_rng(0)
    assert_adjoint(gelu, gelu_backward, (rng.normal(0, 3, (6, 5)),), rng, 2e-15)
    assert_adjoint(gelu, gelu_backward, (np.array([[-50.0, -30.0, -20.9, 20.9, 37.1, 90.0, 1e6]]),), rng, 1e-14)


def test_the_second_derivative_by_complex_step(derivative):
    """d²/dx² x·Φ(x) = (2 − x²)·φ(x): the kept derivative is holomorphic too."""
    x = np.linspace(-8, 8, 33)[None]
    curvature = derivative(lambda z: gelu(z)[1], x, np.ones_like(x))
    np.testing.assert_allclose(curvature, (2 - x * x) * np.exp(-x * x / 2) / np.sqrt(2 * np.pi), atol=1e-15)


def test_without_keep_there_is_no_cache_and_the_same_output():
    x = np.random.default_rng(2).normal(size=(3, 4))
    y, cache = gelu(x, keep=False)
    assert cache is None
    assert (y == gelu(x)[0]).all()
