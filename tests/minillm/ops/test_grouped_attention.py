import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minillm.ops import attention, attention_backward, grouped_attention, grouped_attention_backward

SHAPES = [(4, 2), (4, 4), (3, 1), (6, 2)]  # H and K


def arrays(rng, H, K, B=2, Tq=3, Tk=4, D=5):
    return rng.normal(size=(B, H, Tq, D)), rng.normal(size=(B, K, Tk, D)), rng.normal(size=(B, K, Tk, D))


def mask(rng):
    visible = rng.random((2, 1, 3, 4)) < 0.7
    visible[..., 0] = True
    return visible


@pytest.mark.parametrize(("H", "K"), SHAPES)
def test_equals_attention_with_repeated_keys_and_a_sum_over_who_uses_them(H, K):
    rng = np.random.default_rng(0)
    (q, k, v), visible, do = arrays(rng, H, K), mask(rng), rng.normal(size=(2, H, 3, 5))
    o, cache = grouped_attention(q, k, v, visible)
    wide, kept = attention(q, k.repeat(H // K, axis=1), v.repeat(H // K, axis=1), visible)
    np.testing.assert_allclose(o, wide, rtol=1e-13, atol=1e-14)
    dq, dk, dv = attention_backward(do, kept)
    summed = (dx.reshape(2, K, H // K, 4, 5).sum(2) for dx in (dk, dv))
    for found, expected in zip(grouped_attention_backward(do, cache), (dq, *summed), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)


def test_equals_loops_of_fifty_digits():
    rng = np.random.default_rng(1)
    q, k, v = arrays(rng, 4, 2, B=1)
    visible = np.tri(3, 4, dtype=bool)
    o, _ = grouped_attention(q, k, v, visible)
    with mpmath.workdps(50):
        for h, t in np.ndindex(4, 3):
            keys, values = k[0, h // 2], v[0, h // 2]
            weights = [mpmath.exp(mpmath.fdot(q[0, h, t].tolist(), keys[j].tolist()) / mpmath.sqrt(5)) for j in range(t + 1)]
            exact = [float(mpmath.fdot(weights, values[: t + 1, d].tolist()) / mpmath.fsum(weights)) for d in range(5)]
            np.testing.assert_allclose(o[0, h, t], exact, rtol=1e-14, atol=1e-15)


@given(st.integers(0, 10**6), st.sampled_from(SHAPES))
def test_adjoint(assert_adjoint, seed, heads):
    rng = np.random.default_rng(seed)
    visible = rng.random((2, 1, 3, 4)) < 0.7
    visible[0, 0, 0] = False  # a query that sees nothing
    assert_adjoint(lambda q, k, v: grouped_attention(q, k, v, visible), grouped_attention_backward, arrays(rng, *heads), rng)


def test_a_head_does_not_depend_on_keys_of_another_group():
    rng = np.random.default_rng(2)
    q, k, v = arrays(rng, 4, 2)
    moved = k.copy()
    moved[:, 1] += rng.normal(size=moved[:, 1].shape)
    (before, _), (after, _) = (grouped_attention(q, keys, v, np.ones((3, 4), bool)) for keys in (k, moved))
    assert (before[:, :2] == after[:, :2]).all()
    assert np.abs(before[:, 2:] - after[:, 2:]).max() > 1e-3
