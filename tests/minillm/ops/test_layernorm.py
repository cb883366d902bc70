import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minillm.ops import layernorm, layernorm_again, layernorm_backward

EPS = 1e-5


def loop(x, weight, bias, eps):
    y = np.empty(x.shape)
    C = x.shape[1]
    for n, row in enumerate(x):
        mean = math.fsum(row) / C
        variance = math.fsum((value - mean) ** 2 for value in row) / C
        for j in range(C):
            y[n, j] = weight[j] * (row[j] - mean) / math.sqrt(variance + eps) + bias[j]
    return y


def loop_backward(dy, x, weight, eps):
    """The Jacobian written out: d x̂_j / d x_k = r ([j=k] − 1/C) − r³ (x_j − μ)(x_k − μ)/C."""
    N, C = x.shape
    dx = np.zeros((N, C))
    for n in range(N):
        d = x[n] - math.fsum(x[n]) / C
        r = (math.fsum(d * d) / C + eps) ** -0.5
        for k in range(C):
            for j in range(C):
                dx[n, k] += dy[n, j] * weight[j] * (r * ((j == k) - 1 / C) - r**3 * d[j] * d[k] / C)
    return dx


def test_equals_the_loop():
    rng = np.random.default_rng(0)
    x, weight, bias = rng.normal(3, 2, (5, 7)), rng.normal(size=7), rng.normal(size=7)
    y, cache = layernorm(x, weight, bias, EPS)
    np.testing.assert_allclose(y, loop(x, weight, bias, EPS), rtol=1e-13, atol=1e-13)
    dy = rng.normal(size=x.shape)
    dx, dweight, dbias = layernorm_backward(dy, cache)
    np.testing.assert_allclose(dx, loop_backward(dy, x, weight, EPS), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(dweight, (dy * loop(x, np.ones(7), np.zeros(7), EPS)).sum(0), rtol=1e-13)
    np.testing.assert_allclose(dbias, dy.sum(0), rtol=1e-13)


def test_the_variance_is_the_biased_one():
    y, _ = layernorm(np.array([[1.0, 0, 0, 0]]), np.ones(4), np.zeros(4), EPS)
    assert round(float(y[0, 0]), 4) == 1.7320  # not 1.5, that of the unbiased variance


@pytest.mark.parametrize("eps", [0.0, EPS])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex128])
@pytest.mark.parametrize("value", [2.0, 0.1, 1e4 + 0.3])
def test_a_constant_row_gives_the_bias_and_a_finite_gradient(eps, dtype, value):
    x, weight, bias = np.full((1, 7), value, dtype), np.arange(1, 8).astype(dtype), np.arange(7).astype(dtype)
    y, cache = layernorm(x, weight, bias, eps)
    assert y.tolist() == [[0, 1, 2, 3, 4, 5, 6]]
    dx, dweight, dbias = layernorm_backward(np.array([[1, 0, 2, 0, 0, 0, 3]], dtype), cache)
    assert np.isfinite(dx).all()
    assert (dweight == 0).all()
    assert dbias.tolist() == [1, 0, 2, 0, 0, 0, 3]
    if eps == 0:
        assert (dx == 0).all()


@pytest.mark.parametrize("eps", [0.0, EPS])
def test_width_one_gives_the_bias_and_no_gradient_to_the_gain(eps):
    y, cache = layernorm(np.array([[3.0], [-4.0]]), np.array([2.0]), np.array([0.5]), eps)
    assert y.tolist() == [[0.5], [0.5]]
    dx, dweight, _ = layernorm_backward(np.array([[1.0], [2.0]]), cache)
    assert (dx == 0).all()
    assert dweight.tolist() == [0]


def test_backward_of_0_1_3():
    _, cache = layernorm(np.array([[0.0, 1.0, 3.0]]), np.ones(3), np.zeros(3), 0.0)
    dx, _, _ = layernorm_backward(np.array([[1.0, 0, 0]]), cache)
    np.testing.assert_allclose(dx, [[0.229, -0.344, 0.115]], atol=5e-4)


@given(st.integers(0, 10**6), st.sampled_from([(3, 5), (4, 16), (2, 1)]))
def test_adjoint_at_random_gains(assert_adjoint, seed, shape):
    rng = np.random.default_rng(seed)
    inputs = rng.normal(0, 2, shape), rng.normal(size=shape[1]), rng.normal(size=shape[1])
    assert_adjoint(lambda x, w, b: layernorm(x, w, b, EPS), layernorm_backward, inputs, rng)


@given(st.integers(0, 10**6), st.floats(-1, 1))
def test_at_width_two_only_eps_keeps_a_slope(seed, shift):
    """x̂ = ±d/√(d² + ε) with d half the difference: dx̂/dd = ε·r³, all else cancels. So the bound is absolute."""
    rng = np.random.default_rng(seed)
    x, weight, dy = rng.normal(shift, 1, (3, 2)), rng.normal(size=2), rng.normal(size=(3, 2))
    dx, _, _ = layernorm_backward(dy, layernorm(x, weight, np.zeros(2), EPS)[1])
    d = (x[:, 0] - x[:, 1]) / 2
    r = (d * d + EPS) ** -0.5
    slope = (dy @ (weight * [1, -1])) * EPS * r**3 / 2
    scale = np.abs(dy * weight).max() * r[:, None]
    assert (np.abs(dx - np.stack([slope, -slope], axis=1)) <= 1e-14 * scale + 1e-12 * np.abs(slope[:, None])).all()


def test_the_gradient_of_each_row_sums_to_zero():
    rng = np.random.default_rng(3)
    _, cache = layernorm(rng.normal(size=(6, 9)), rng.normal(size=9), rng.normal(size=9), EPS)
    dx, _, _ = layernorm_backward(rng.normal(size=(6, 9)), cache)
    assert np.abs(dx.sum(1)).max() < 1e-14 * np.abs(dx).max() * 9


@given(hnp.arrays(np.float64, (2, 5), elements=st.floats(-100, 100)), st.floats(-1e3, 1e3))
def test_a_shift_of_the_row_changes_nothing(x, shift):
    weight, bias = np.arange(1.0, 6.0), np.ones(5)
    y, _ = layernorm(x, weight, bias, 1e-2)
    shifted, _ = layernorm(x + shift, weight, bias, 1e-2)
    np.testing.assert_allclose(shifted, y, atol=1e-9)


def test_rows_do_not_see_each_other_across_blocks():
    rng = np.random.default_rng(4)
    x, weight, bias = rng.normal(size=(40, 2000)), rng.normal(size=2000), rng.normal(size=2000)
    y, cache = layernorm(x, weight, bias, EPS)
    dy = rng.normal(size=x.shape)
    dx, dweight, dbias = layernorm_backward(dy, cache)
    singles = [layernorm(x[n : n + 1], weight, bias, EPS) for n in range(40)]
    np.testing.assert_allclose(y, np.concatenate([one for one, _ in singles]), rtol=1e-12, atol=1e-12)
    parts = [layernorm_backward(dy[n : n + 1], cache) for n, (_, cache) in enumerate(singles)]
    np.testing.assert_allclose(dx, np.concatenate([part[0] for part in parts]), rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(dweight, sum(part[1] for part in parts), rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(dbias, sum(part[2] for part in parts), rtol=1e-11, atol=1e-12)


def test_the_gradients_of_the_parameters_are_written_where_they_are_wanted():
    rng = np.random.default_rng(5)
    _, cache = layernorm(rng.normal(size=(4, 3)), rng.normal(size=3), rng.normal(size=3), EPS)
    dy, out = rng.normal(size=(4, 3)), (np.full(3, np.nan), np.full(3, np.nan))
    _, *written = layernorm_backward(dy, cache, out=out)
    for mine, there, free in zip(written, out, layernorm_backward(dy, cache)[1:], strict=True):
        assert mine is there
        assert (there == free).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex128])
def test_the_output_is_made_again_from_the_cache_with_the_same_bits(dtype):
    rng = np.random.default_rng(0)
    x, weight, bias = (rng.normal(size=size).astype(dtype) for size in ((9, 5), 5, 5))
    y, cache = layernorm(x, weight, bias, EPS)
    assert (layernorm_again(cache) == y).all()


@pytest.mark.parametrize("eps", [0.0, EPS])
def test_without_a_cache_the_output_has_the_same_bits(eps):
    x, weight, bias = np.random.default_rng(0).normal(size=(3, 6, 6))
    x[2] = 7
    y, cache = layernorm(x, weight[0], bias[0], eps, False)
    assert cache is None
    assert (y == layernorm(x, weight[0], bias[0], eps)[0]).all()
