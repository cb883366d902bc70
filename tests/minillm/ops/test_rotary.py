import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minillm.ops import rotary, rotary_backward
from minillm.ops.rotary import halves_from_pairs, rotary_tables

THETA = 100.0


def loop(x, positions):
    """Each pair turned by its angle, with 50 digits."""
    B, H, T, D = x.shape
    y = np.empty(x.shape)
    with mpmath.workdps(50):
        for b, h, t, i in np.ndindex(B, H, T, D // 2):
            angle = int(positions[t]) * mpmath.mpf(THETA) ** (-mpmath.mpf(2 * i) / D)
            first, second = mpmath.mpf(x[b, h, t, i]), mpmath.mpf(x[b, h, t, i + D // 2])
            y[b, h, t, i] = first * mpmath.cos(angle) - second * mpmath.sin(angle)
            y[b, h, t, i + D // 2] = first * mpmath.sin(angle) + second * mpmath.cos(angle)
    return y


def test_equals_loops_of_fifty_digits():
    positions = np.array([0, 1, 3, 7, 40])
    x = np.random.default_rng(0).normal(size=(2, 3, 5, 6))
    y, _ = rotary(x, *rotary_tables(positions, 6, THETA, np.float64))
    np.testing.assert_allclose(y, loop(x, positions), rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("dtype", [np.float32, np.complex64, np.longdouble])
def test_tables_are_right_to_the_last_bits_far_out(dtype):
    cos, sin = rotary_tables(np.array([8191]), 64, 1e5, dtype)
    with mpmath.workdps(50):
        angles = [8191 * mpmath.mpf(100000) ** (-mpmath.mpf(2 * i) / 64) for i in range(32)]
        for found, function in ((cos, mpmath.cos), (sin, mpmath.sin)):
            exact = np.array([np.longdouble(mpmath.nstr(function(angle), 25)) for angle in angles])
            assert found.dtype == np.finfo(dtype).dtype
            assert np.abs(found[0] - exact).max() < 8192 * np.finfo(np.longdouble).eps + np.finfo(dtype).eps


@given(st.integers(0, 10**6))
def test_adjoint(assert_adjoint, seed):
    rng = np.random.default_rng(seed)
    tables = rotary_tables(rng.integers(0, 50, (2, 1, 3)), 6, THETA, np.float64)
    assert_adjoint(lambda x: rotary(x, *tables), rotary_backward, (rng.normal(size=(2, 2, 3, 6)),), rng)


def test_position_zero_is_left_alone_and_lengths_stay():
    x = np.random.default_rng(1).normal(size=(1, 2, 4, 8))
    y, _ = rotary(x, *rotary_tables(np.arange(4), 8, THETA, np.float64))
    assert (y[:, :, 0] == x[:, :, 0]).all()
    np.testing.assert_allclose((y * y).sum(-1), (x * x).sum(-1), rtol=1e-14)


def test_scores_depend_on_the_distance_alone():
    q, k = np.random.default_rng(2).normal(size=(2, 1, 1, 1, 8))

    def score(s, t):
        turned = [rotary(x, *rotary_tables(np.array([at]), 8, THETA, np.float64))[0] for x, at in ((q, s), (k, t))]
        return (turned[0] * turned[1]).sum()

    assert score(9, 5) == pytest.approx(score(1004, 1000), rel=1e-12)
    assert abs(score(9, 5) - score(9, 6)) > 1e-3


def test_weights_of_neighbouring_pairs_give_the_same_scores_once_their_rows_are_permuted():
    """Pairs (x₂ᵢ, x₂ᵢ₊₁) turned as complex numbers, as in the paper, against ours."""
    rng = np.random.default_rng(3)
    H, D, C, T = 2, 6, 5, 4
    Wq, Wk = rng.normal(size=(2, H * D, C))
    h = rng.normal(size=(T, C))
    turn = np.exp(1j * np.arange(T)[:, None] * THETA ** (-2 * np.arange(D // 2) / D))

    def paired(W):
        x = (h @ W.T).reshape(T, H, D // 2, 2).swapaxes(0, 1)
        return (x[..., 0] + 1j * x[..., 1]) * turn

    def ours(W):
        x = (h @ halves_from_pairs(W, H).T).reshape(T, H, D).swapaxes(0, 1)[None]
        return rotary(x, *rotary_tables(np.arange(T), D, THETA, np.float64))[0][0]

    expected = (paired(Wq) @ paired(Wk).conj().swapaxes(1, 2)).real
    np.testing.assert_allclose(ours(Wq) @ ours(Wk).swapaxes(1, 2), expected, atol=1e-13)
