import math
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minillm.ops import attention, attention_backward
from minillm.ops.attention import attention_weights, causal, within_reach
from minillm.ops.dropout import dropout_scale

DTYPES = [np.float32, np.float64, np.longdouble, np.complex128]


def arrays(rng, B=2, H=2, Tq=3, Tk=4, D=5):
    return rng.normal(size=(B, H, Tq, D)), rng.normal(size=(B, H, Tk, D)), rng.normal(size=(B, H, Tk, D))


def loop(q, k, v, visible):
    """Row by row; a row that sees nothing gives zero."""
    B, H, Tq, D = q.shape
    o = np.zeros(q.shape)
    visible = np.broadcast_to(visible, (B, H, Tq, k.shape[2]))
    for b, h, t in np.ndindex(B, H, Tq):
        seen = [j for j in range(k.shape[2]) if visible[b, h, t, j]]
        scores = [math.fsum(q[b, h, t] * k[b, h, j]) / math.sqrt(D) for j in seen]
        weights = [math.exp(score - max(scores)) for score in scores]
        for j, weight in zip(seen, weights, strict=True):
            o[b, h, t] += weight / math.fsum(weights) * v[b, h, j]
    return o


@given(st.integers(0, 10**6), st.sampled_from([0.1, 1.0, 10.0, 500.0]))
def test_equals_the_loop(seed, size):
    rng = np.random.default_rng(seed)
    q, k, v = arrays(rng)
    visible = rng.random((2, 1, 3, 4)) < 0.6
    np.testing.assert_allclose(attention(size * q, k, v, visible)[0], loop(size * q, k, v, visible), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("size", [100.0, -100.0, 1e5])
def test_a_score_beyond_the_reach_changes_no_bit_of_other_rows(size):
    """Not of rows before it, which do not see it, and not of other heads and sequences."""
    q, k, v = (x.astype(np.float32) for x in arrays(np.random.default_rng(8), Tq=4))
    near, _ = attention(q, k, v)
    k[1, 1, 3] *= size
    far, _ = attention(q, k, v)
    changed = (near != far).any(axis=-1)
    assert changed[1, 1, 3]
    assert changed.sum() == 1


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex64])
def test_within_reach_every_score_has_an_exponential(dtype):
    scores = np.zeros((2, 3, 4), dtype)
    assert within_reach(scores)
    assert within_reach(scores[:0])
    for score, near in ((29, True), (-29, True), (31, False), (-31, False), (np.inf, False), (-np.inf, False), (np.nan, False)):
        scores[1, 2, 1] = score
        assert within_reach(scores) is near
        sum_of_many = np.exp(scores[1, 2, 1].real, dtype=np.float32) * np.float32(2**24)
        assert not near or (np.isfinite(sum_of_many) and sum_of_many > np.finfo(np.float32).tiny)


@given(st.integers(0, 10**6))
def test_adjoint(assert_adjoint, seed):
    rng = np.random.default_rng(seed)
    visible = rng.random((2, 1, 3, 4)) < 0.7
    assert_adjoint(lambda q, k, v: attention(q, k, v, visible), attention_backward, arrays(rng), rng)


def test_adjoint_at_large_scores(assert_adjoint):
    rng = np.random.default_rng(0)
    q, k, v = arrays(rng)
    assert_adjoint(
        lambda q, k, v: attention(q, k, v, np.ones((3, 4), bool)), attention_backward, (30 * q, 30 * k, v), rng, 1e-14
    )


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_a_hidden_score_that_is_no_number_has_weight_exactly_zero(wrong):
    q, k, v = (np.ones((1, 1, 2, 1)) for _ in range(3))
    k[0, 0, 1] = wrong
    with np.errstate(invalid="ignore"):  # the second query sees it
        P = attention_weights(attention(q, k, v)[1])
    assert P[0, 0, 0].tolist() == [1, 0]


def test_a_hidden_score_of_any_size_has_weight_exactly_zero():
    q = np.ones((1, 1, 1, 1), np.float32)
    k = np.array([-3e4, 3e4], np.float32).reshape(1, 1, 2, 1)
    v = np.array([5.0, 7.0], np.float32).reshape(1, 1, 2, 1)
    o, cache = attention(q, k, v, np.array([[True, False]]))
    assert o.item() == 5
    _, dk, dv = attention_backward(np.ones_like(o), cache)
    assert dk.ravel().tolist() == [0, 0]
    assert dv.ravel().tolist() == [1, 0]


def test_scores_of_minus_two_hundred_thousand():
    q = np.ones((1, 1, 1, 1), np.float32)
    k = np.array([-2e5, -2e5 - 1], np.float32).reshape(1, 1, 2, 1)
    v = np.array([1.0, 0.0], np.float32).reshape(1, 1, 2, 1)
    assert attention(q, k, v, np.ones((1, 2), bool))[0].item() == pytest.approx(0.731, abs=5e-4)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_row_that_sees_nothing_gives_zero_and_passes_no_gradient(dtype):
    rng = np.random.default_rng(1)
    q, k, v = (x.astype(dtype) for x in arrays(rng))
    visible = np.ones((3, 4), bool)
    visible[1] = False
    o, cache = attention(q, k, v, visible)
    assert (o[:, :, 1] == 0).all()
    assert np.isfinite(o).all()
    do = rng.normal(size=o.shape).astype(dtype)
    dq, dk, dv = attention_backward(do, cache)
    assert (dq[:, :, 1] == 0).all()
    rest = do.copy()
    rest[:, :, 1] = 0
    for full, without in zip((dq, dk, dv), attention_backward(rest, cache), strict=True):
        assert (full == without).all()
        assert np.isfinite(full).all()


def test_a_common_shift_of_all_keys_has_gradient_zero():
    rng = np.random.default_rng(2)
    q, k, v = arrays(rng)
    _, cache = attention(q, k, v, np.tri(3, 4, dtype=bool))
    _, dk, _ = attention_backward(rng.normal(size=q.shape), cache)
    assert np.abs(dk.sum(axis=2)).max() < 1e-15 * np.abs(dk).max() * 4


def test_writes_where_it_is_told():
    q, k, v = arrays(np.random.default_rng(3))
    place = np.empty((2, 3, 2, 5))
    o, _ = attention(q, k, v, np.ones((3, 4), bool), out=place.swapaxes(1, 2))
    assert np.shares_memory(o, place)
    assert (place.swapaxes(1, 2) == attention(q, k, v, np.ones((3, 4), bool))[0]).all()


@pytest.mark.parametrize("T", [0, 1, 3, 4, 5, 11])
def test_in_causal_steps_as_with_the_mask(monkeypatch, T):
    monkeypatch.setattr(sys.modules[attention.__module__], "QUERIES", 4)
    rng = np.random.default_rng(5)
    q, k, v = arrays(rng, Tq=T, Tk=T)
    do, scale = rng.normal(size=q.shape), dropout_scale((2, 2, T, T), 0.3, float, rng=rng)
    for s in (None, scale):
        (o, cache), (expected, masked) = attention(q, k, v, scale=s), attention(q, k, v, np.tri(T, dtype=bool), scale=s)
        assert len(cache[3]) == -(-T // 4)
        np.testing.assert_allclose(o, expected, rtol=1e-13, atol=1e-14)
        for part, whole in zip(attention_backward(do, cache), attention_backward(do, masked), strict=True):
            np.testing.assert_allclose(part, whole, rtol=1e-12, atol=1e-14)


def test_causal_adjoint(assert_adjoint, monkeypatch):
    monkeypatch.setattr(sys.modules[attention.__module__], "QUERIES", 4)
    rng = np.random.default_rng(6)
    assert_adjoint(attention, attention_backward, arrays(rng, Tq=10, Tk=10), rng)


def test_the_gradients_are_written_where_they_are_wanted():
    rng = np.random.default_rng(7)
    q, k, v = arrays(rng, Tq=4)
    o, cache = attention(q, k, v)
    place = np.empty((2, 4, 3, 2, 5)).transpose(2, 0, 3, 1, 4)  # q, k, v of a head side by side, as a block has them
    written = attention_backward(np.ones_like(o), cache, out=tuple(place))
    for mine, free, there in zip(written, attention_backward(np.ones_like(o), cache), place, strict=True):
        assert np.shares_memory(mine, there)
        assert (there == free).all()


@pytest.mark.parametrize(("Tq", "Tk"), [(1, 6), (3, 5), (5, 9)])
def test_the_last_queries_of_more_keys_in_causal_steps(monkeypatch, Tq, Tk):
    monkeypatch.setattr(sys.modules[attention.__module__], "QUERIES", 2)
    rng = np.random.default_rng(8)
    q, k, v = arrays(rng, Tq=Tq, Tk=Tk)
    do = rng.normal(size=q.shape)
    assert causal(Tq, Tk).sum(axis=1).tolist() == list(range(Tk - Tq + 1, Tk + 1))
    (o, cache), (expected, masked) = attention(q, k, v), attention(q, k, v, causal(Tq, Tk))
    np.testing.assert_allclose(o, expected, rtol=1e-13, atol=1e-14)
    for part, whole in zip(attention_backward(do, cache), attention_backward(do, masked), strict=True):
        np.testing.assert_allclose(part, whole, rtol=1e-12, atol=1e-14)
