"""Derivatives of functions whose derivatives are known in closed form."""

import numpy as np
import pytest

from minillm.lab import differentiate as d
from minillm.ops import log_softmax, log_softmax_backward


def quartic(x):
    return (x**4).sum() + (x[..., 0] * x[..., 1]).sum()


def quartic_gradient(x):
    g = 4 * x**3
    g[..., 0] += x[..., 1]
    g[..., 1] += x[..., 0]
    return g


@pytest.fixture
def x():
    return np.random.default_rng(0).normal(size=(3, 2))


@pytest.fixture
def v():
    return np.random.default_rng(1).normal(size=(3, 2))


def test_the_complex_step_has_all_digits(x, v):
    assert d.complex_step(quartic, x, v) == pytest.approx((quartic_gradient(x) * v).sum(), rel=1e-15)
    np.testing.assert_allclose(d.complex_gradient(quartic, x), quartic_gradient(x), rtol=1e-15)


def test_the_complex_step_in_longdouble_has_more_digits(x, v):
    x, v = x.astype(np.longdouble), v.astype(np.longdouble)
    derivative = d.complex_step(lambda z: np.exp(z).sum(), x, v)
    assert derivative.dtype == np.longdouble
    assert abs(derivative - (np.exp(x) * v).sum()) < 1e-17


def test_the_hessian_vector_product_is_the_hessian_times_the_vector(x, v):
    expected = 12 * x**2 * v + v[:, ::-1]
    np.testing.assert_allclose(d.hessian_vector_product(quartic_gradient, x, v), expected, rtol=1e-14)
    hessian = d.complex_gradient(quartic_gradient, x)
    assert hessian.shape == (3, 2, 3, 2)
    np.testing.assert_allclose(np.einsum("abcd,cd->ab", hessian, v), expected, rtol=1e-14)


def test_the_mixed_derivative_of_a_product_is_one():
    swap = np.array([[0.0, 1.0], [1.0, 0.0]])
    np.testing.assert_array_equal(d.complex_gradient(lambda z: swap @ z, np.array([0.0, 1.0])), swap)


@pytest.mark.parametrize(("order", "error"), [(2, 1e-6), (4, 1e-12)])
def test_differences_of_higher_order_are_closer(x, v, order, error):
    exact = float((np.cos(x) * v).sum())
    measured = abs(d.central_difference(lambda z: np.sin(z).sum(), x, v, h=1e-3, order=order) - exact)
    assert measured < error


def test_the_order_of_a_difference_is_two_or_four(x, v):
    with pytest.raises(ValueError, match="order must be 2 or 4, got 3"):
        d.central_difference(quartic, x, v, order=3)


def test_richardson_knows_its_error(x, v):
    exact = float((np.cos(x) * v).sum())
    value, error = d.richardson(lambda z: np.sin(z).sum(), x, v)
    assert abs(value - exact) < 1e-12
    assert error < 1e-11
    np.testing.assert_allclose(d.difference_gradient(lambda z: np.abs(z).sum(), x), np.sign(x), atol=1e-10)


def test_an_empty_array_has_an_empty_gradient():
    assert d.complex_gradient(lambda z: z.sum(), np.zeros((0, 3))).shape == (0, 3)


def test_per_sample_gradients_are_the_rows_of_the_sum():
    rng = np.random.default_rng(2)
    inputs, upstream = rng.normal(size=(4, 3)), rng.normal(size=(4, 2))
    shares = d.per_sample_gradients(lambda u: (inputs.T @ u).ravel(), upstream)
    np.testing.assert_allclose(shares, [np.outer(a, u).ravel() for a, u in zip(inputs, upstream, strict=True)])


def test_both_routes_to_the_fisher_matrix_agree():
    z = np.random.default_rng(3).normal(size=5)

    def scores(theta):
        _, cache = log_softmax(theta)
        return log_softmax_backward(np.eye(5), np.broadcast_to(cache, (5, 5)))

    p = np.exp(log_softmax(z)[0])
    expected = np.diag(p) - np.outer(p, p)
    np.testing.assert_allclose(d.fisher_from_scores(scores(z), p), expected, atol=1e-15)
    np.testing.assert_allclose(d.fisher_from_hessians(scores, z, p), expected, atol=1e-15)
