import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minillm.ops import layernorm, rmsnorm, rmsnorm_backward

EPS = 1e-5


def loop(x, weight, eps):
    """Row by row with 50 digits: the output, and x̄ and γ̄ for an upstream gradient, from the Jacobian written out."""
    x, weight = [[mpmath.mpf(v) for v in row] for row in x], [mpmath.mpf(v) for v in weight]
    rs = [1 / mpmath.sqrt(mpmath.fsum(v * v for v in row) / len(row) + eps) for row in x]
    y = [[w * r * v for v, w in zip(row, weight, strict=True)] for row, r in zip(x, rs, strict=True)]

    def backward(dy):
        C = len(weight)
        dx = [
            [
                mpmath.fsum(dy[n][j] * weight[j] * ((j == k) * rs[n] - rs[n] ** 3 * x[n][j] * x[n][k] / C) for j in range(C))
                for k in range(C)
            ]
            for n in range(len(x))
        ]
        return dx, [mpmath.fsum(dy[n][j] * rs[n] * x[n][j] for n in range(len(x))) for j in range(C)]

    return y, backward


def test_equals_loops_of_fifty_digits():
    rng = np.random.default_rng(0)
    x, weight, dy = rng.normal(1, 2, (4, 6)), rng.normal(size=6), rng.normal(size=(4, 6))
    y, cache = rmsnorm(x, weight, EPS)
    with mpmath.workdps(50):
        exact, backward = loop(x, weight, mpmath.mpf(EPS))
        dx, dweight = backward(dy)
        np.testing.assert_allclose(y, np.array(exact, float), rtol=1e-15)
        for found, expected in zip(rmsnorm_backward(dy, cache), (dx, dweight), strict=True):
            np.testing.assert_allclose(found, np.array(expected, float), rtol=2e-14)


def test_backward_of_a_unit_row_keeps_the_share_of_eps():
    x = np.array([[1.0, 0, 0, 0]])
    dx, _ = rmsnorm_backward(x, rmsnorm(x, np.ones(4), 1e-4)[1])
    assert dx[0, 0] == pytest.approx(8.0e-4, abs=5e-7)  # wrong: −3.998 (ggml 1491)
    assert dx[0, 1:].tolist() == [0, 0, 0]


@given(st.integers(0, 10**6), st.sampled_from([(3, 5), (4, 16)]))
def test_adjoint_at_random_gains(assert_adjoint, seed, shape):
    rng = np.random.default_rng(seed)
    assert_adjoint(lambda x, w: rmsnorm(x, w, EPS), rmsnorm_backward, (rng.normal(0, 2, shape), rng.normal(size=shape[1])), rng)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex128])
@pytest.mark.parametrize("eps", [0.0, EPS])
def test_a_row_of_zeros_gives_zero_and_a_finite_gradient(dtype, eps):
    y, cache = rmsnorm(np.zeros((1, 4), dtype), np.arange(1, 5).astype(dtype), eps)
    assert (y == 0).all()
    dx, dweight = rmsnorm_backward(np.ones((1, 4), dtype), cache)
    assert np.isfinite(dx).all()
    assert (dweight == 0).all()
    if eps == 0:
        assert (dx == 0).all()


def test_along_the_row_only_eps_leaves_a_gradient():
    rng = np.random.default_rng(1)
    x, weight, dy = rng.normal(size=(3, 5)), rng.normal(size=5), rng.normal(size=(3, 5))
    for eps in (0.0, 0.3):
        y, cache = rmsnorm(x, weight, eps)
        r2 = 1 / ((x * x).mean(1) + eps)
        np.testing.assert_allclose((x * rmsnorm_backward(dy, cache)[0]).sum(1), eps * r2 * (dy * y).sum(1), atol=1e-14)


def test_of_centred_rows_it_is_layernorm():
    rng = np.random.default_rng(2)
    x, weight = rng.normal(size=(3, 5)), rng.normal(size=5)
    x -= x.mean(1, keepdims=True)
    np.testing.assert_allclose(rmsnorm(x, weight, EPS)[0], layernorm(x, weight, np.zeros(5), EPS)[0], rtol=1e-13, atol=1e-14)


def test_rows_do_not_see_each_other_across_blocks():
    rng = np.random.default_rng(4)
    x, weight, dy = rng.normal(size=(40, 2000)), rng.normal(size=2000), rng.normal(size=(40, 2000))
    y, cache = rmsnorm(x, weight, EPS)
    singles = [rmsnorm(x[n : n + 1], weight, EPS) for n in range(40)]
    parts = [rmsnorm_backward(dy[n : n + 1], cache) for n, (_, cache) in enumerate(singles)]
    dx, dweight = rmsnorm_backward(dy, cache)
    np.testing.assert_allclose(y, np.concatenate([one for one, _ in singles]), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(dx, np.concatenate([part[0] for part in parts]), rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(dweight, sum(part[1] for part in parts), rtol=1e-11, atol=1e-12)
