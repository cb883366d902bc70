"""Which distribution is sampled, and drawing from it."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minillm.errors import UserError
from minillm.objectives import IGNORE, token_log_probs, weighted_log_likelihood
from minillm.ops import log_softmax
from minillm.sampling import Sampling, draw

LOGITS = hnp.arrays(np.float64, st.integers(1, 8), elements=st.sampled_from([-3.0, -1.0, 0.0, 0.5, 0.5, 2.0, 4.0]))


def kept(log_p):
    return set(np.flatnonzero(np.exp(log_p) > 0).tolist())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("temperature", [0, 0.0, 1e-12, 1e-40, 1e-60, 5e-324])
def test_temperature_zero_is_greedy_and_a_tiny_one_too(dtype, temperature):
    log_p = Sampling(temperature=temperature).log_probs(np.array([1, 3, 2], dtype))
    assert np.exp(log_p).tolist() == [0, 1, 0]
    assert log_p.dtype == dtype
    assert (draw(np.tile(log_p, (100, 1)), np.linspace(0, 1, 100, endpoint=False)) == 1).all()


def test_greedy_takes_the_first_of_equal_logits():
    assert Sampling(temperature=0).log_probs(np.array([1.0, 3.0, 3.0])).tolist() == [-np.inf, 0, -np.inf]


@pytest.mark.parametrize("temperature", [-1, -1e-9, math.nan, math.inf])
def test_a_temperature_that_is_negative_or_not_finite_is_an_error(temperature):
    with pytest.raises(UserError, match=f"temperature must be finite and at least 0, got {temperature}"):
        Sampling(temperature=temperature)


def test_temperature_divides_the_logits():
    log_p = Sampling(temperature=0.5).log_probs(np.array([0.0, 1.0]))
    assert np.exp(log_p[1]) == pytest.approx(0.8808, abs=5e-5)  # wrong: .7311


def test_temperature_is_in_the_gradient(derivative):
    logits, target = np.array([[[0.0, 1.0]]]), np.array([[1]])
    assert weighted_log_likelihood(logits, target, np.ones(1), Sampling(0.5))[1][0, 0, 1] == pytest.approx(0.2384, abs=5e-5)
    slope = derivative(lambda z: Sampling(temperature=0.5).log_probs(z)[1], np.array([0.0, 1.0]), np.array([0.0, 1.0]))
    assert slope == pytest.approx(0.2384, abs=5e-5)  # wrong: .2689


def test_top_k_two_is_the_behaviour_and_its_gradient(gradient_of):
    z, sampling = np.log([0.5, 0.3, 0.2]), Sampling(top_k=2)
    np.testing.assert_allclose(np.exp(sampling.log_probs(z)), [0.625, 0.375, 0], rtol=1e-14)
    slope = gradient_of(lambda z: sampling.log_probs(z)[0], z)
    np.testing.assert_allclose(slope, [0.375, -0.375, 0], rtol=1e-13)
    _, dz = weighted_log_likelihood(z[None, None], np.array([[0]]), np.ones(1), sampling)
    np.testing.assert_allclose(dz[0, 0], [0.375, -0.375, 0], rtol=1e-14)
    assert slope[2] == dz[0, 0, 2] == 0


def test_top_k_with_ties_keeps_exactly_k_those_of_lower_id():
    z = np.array([1.0, 2, 2, 2, 3])
    assert kept(Sampling(top_k=3).log_probs(z)) == {4, 1, 2}


def test_top_k_above_the_vocabulary_is_no_filter():
    z = np.array([1.0, 2, 3])
    for k in (3, 4, 10**9):
        assert (Sampling(top_k=k).log_probs(z) == log_softmax(z)[0]).all()


@pytest.mark.parametrize(
    ("k", "message"),
    [(0, "at least 1, got 0"), (-1, "at least 1, got -1"), (1.0, "an integer, got 1.0"), (True, "an integer")],
)
def test_top_k_below_one_is_an_error(k, message):
    with pytest.raises(UserError, match=f"top_k must be {message}"):
        Sampling(top_k=k)


@pytest.mark.parametrize(
    ("top_p", "expected"),
    [(0.6, {0, 1}), (0.85, {0, 1, 2}), (0.4, {0}), (0.96, {0, 1, 2, 3}), (1.0, {0, 1, 2, 3})],
)
def test_top_p_keeps_the_token_that_crosses_the_line(top_p, expected):
    z = np.log([0.5, 0.3, 0.15, 0.05])
    assert kept(Sampling(top_p=top_p).log_probs(z)) == expected
    assert kept(Sampling(top_p=top_p).log_probs(z[::-1])) == {3 - i for i in expected}


def test_a_tiny_top_p_over_many_float32_logits_is_the_argmax():
    z = np.random.default_rng(0).normal(size=4096).astype(np.float32)
    assert kept(Sampling(top_p=1e-9).log_probs(z)) == {int(z.argmax())}


@pytest.mark.parametrize("top_p", [0, -0.1, 1.1, math.nan])
def test_top_p_outside_of_its_range_is_an_error(top_p):
    with pytest.raises(UserError, match=f"top_p must be above 0 and at most 1, got {top_p}"):
        Sampling(top_p=top_p)


def test_temperature_comes_before_top_p():
    z = np.log([0.5, 0.3, 0.2])
    assert kept(Sampling(top_p=0.6).log_probs(z)) == {0, 1}
    assert kept(Sampling(temperature=0.2, top_p=0.6).log_probs(z)) == {0}


def plain_log_probs(z, temperature, top_k, top_p):
    """The definition in loops, over Python floats."""
    order = sorted(range(len(z)), key=lambda i: (-z[i], i))
    if top_k is not None:
        order = order[:top_k]
    weight = {i: math.exp((z[i] - z[order[0]]) / temperature) for i in order}
    total = math.fsum(weight.values())
    if top_p is not None:
        kept_ids, reached = [], 0.0
        for i in order:
            kept_ids.append(i)
            reached += weight[i] / total
            if reached >= top_p:
                break
        total = math.fsum(weight[i] for i in kept_ids)
        weight = {i: weight[i] for i in kept_ids}
    return [math.log(weight[i] / total) if i in weight else -math.inf for i in range(len(z))]


@given(
    LOGITS,
    st.sampled_from([0.3, 1.0, 2.0]),
    st.none() | st.integers(1, 9),
    st.none() | st.floats(0.013, 0.987).filter(lambda p: min(p % 0.05, -p % 0.05) > 1e-6),
)
def test_filters_equal_the_plain_definition(z, temperature, top_k, top_p):
    if top_p is not None:  # keep clear of sums that hit top_p to the last bit
        p = np.exp(plain_log_probs(z, temperature, top_k, None))
        if np.abs(np.cumsum(np.sort(p)[::-1]) - top_p).min() < 1e-9:
            return
    log_p = Sampling(temperature, top_k, top_p).log_probs(np.stack([z, z]))
    np.testing.assert_allclose(log_p, [plain_log_probs(z, temperature, top_k, top_p)] * 2, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(np.exp(log_p).sum(-1), 1, rtol=1e-13)


@pytest.mark.parametrize("option", [{"temperature": 0.7}, {"top_k": 3}, {"top_p": 0.8}])
def test_every_option_changes_a_number(option):
    z = np.random.default_rng(0).normal(size=9)
    assert (Sampling(**option).log_probs(z) != Sampling().log_probs(z)).any()


def loop_draw(log_p, u):
    """Walk along the cumulative sum until it exceeds u·Σp."""
    result = []
    for row, number in zip(np.exp(log_p), u, strict=True):
        cumulative, last = 0.0, 0
        total = np.cumsum(row)[-1]
        for index, p in enumerate(row):
            cumulative += p
            if p > 0:
                last = index
            if cumulative > number * total:
                break
        result.append(last if cumulative <= number * total else index)
    return result


SAMPLINGS = [
    Sampling(), Sampling(0.5), Sampling(1.7, top_k=3), Sampling(top_p=0.7), Sampling(0.8, top_k=4, top_p=0.9), Sampling(0),
]  # fmt: skip


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_the_backward_equals_the_complex_step(gradient_of, sampling, masked):
    rng = np.random.default_rng(0)
    z, C = rng.normal(size=(2, 2, 5, 6))
    allowed = rng.random(z.shape) < 0.7 if masked else None
    kept_ones = sampling.log_probs(z, allowed).real > -np.inf

    def value(y):
        return np.where(kept_ones, sampling.log_probs(y, allowed), 0).ravel() @ np.where(kept_ones, C, 0).ravel()

    dz = sampling.backward(C, sampling.log_probs(z, allowed))
    np.testing.assert_allclose(dz, gradient_of(value, z), atol=1e-15)
    assert (dz[~kept_ones] == 0).all()
    assert (dz == 0).all() == (sampling.temperature == 0)


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_the_weighted_log_likelihood_of_a_sampling_equals_the_complex_step(gradient_of, sampling):
    rng = np.random.default_rng(1)
    z, c = rng.normal(size=(4, 3, 6)), rng.normal(size=(4, 3))
    targets = draw(sampling.log_probs(z).reshape(-1, 6), rng.random(12)).reshape(4, 3)
    targets[1, 2] = IGNORE
    value, dz = weighted_log_likelihood(z, targets, c, sampling)
    assert value == pytest.approx((c * token_log_probs(z, targets, sampling)).sum(), rel=1e-14, abs=1e-300)
    np.testing.assert_allclose(dz, gradient_of(lambda y: weighted_log_likelihood(y, targets, c, sampling)[0], z), atol=1e-15)


def test_a_target_that_is_filtered_out_has_no_gradient():
    z = np.array([[[0.0, 1.0, 2.0]]])
    assert token_log_probs(z, np.array([[0]]), Sampling(top_k=2)) == -np.inf
    value, dz = weighted_log_likelihood(z, np.array([[0]]), np.array([[1.0]]), Sampling(top_k=2))
    assert value == 0
    assert (dz == 0).all()


def test_a_token_that_is_not_allowed_does_not_exist():
    z, allowed = np.array([5.0, 1.0, 0.0, 3.0]), np.array([False, True, True, False])
    assert np.exp(Sampling().log_probs(z, allowed)).tolist() == pytest.approx([0, 1 / (1 + np.exp(-1)), 1 / (1 + np.exp(1)), 0])
    assert np.exp(Sampling(0).log_probs(z, allowed)).tolist() == [0, 1, 0, 0]
    assert np.exp(Sampling(top_k=1).log_probs(z, allowed)).tolist() == [0, 1, 0, 0]


@given(hnp.arrays(np.float64, (3, 5), elements=st.sampled_from([0, 0, 0.1, 1 / 3, 0.7, 1e-17])), st.integers(0, 10**6))
def test_draw_equals_the_loop_and_never_lands_on_zero(p, seed):
    p[:, 2] += 1e-3  # something in every row
    p /= p.sum(-1, keepdims=True)
    with np.errstate(divide="ignore"):
        log_p = np.log(p)
    u = np.random.default_rng(seed).random(3)
    ids = draw(log_p, u)
    assert ids.tolist() == loop_draw(log_p, u)
    for edge in (np.zeros(3), np.full(3, np.nextafter(1, 0))):
        assert (np.take_along_axis(p, draw(log_p, edge)[:, None], axis=1) > 0).all()


def test_a_cumulative_sum_that_ends_below_one_lands_on_no_zero():
    p = np.array([[0.1] * 10 + [0.0]])
    assert p.cumsum()[-1] == 0.9999999999999999
    with np.errstate(divide="ignore"):
        assert draw(np.log(p), np.array([np.nextafter(1, 0)]))[0] == 9


def test_fifty_thousand_float32_probabilities_need_no_exact_sum():
    z = np.random.default_rng(0).normal(size=50_000).astype(np.float32)
    log_p = Sampling().log_probs(z)
    cumulative = np.exp(log_p.astype(np.float64)).cumsum()
    u = np.random.default_rng(1).random(100)
    ids = draw(np.broadcast_to(log_p, (100, len(z))), u)
    assert (ids == np.searchsorted(cumulative, u * cumulative[-1], side="right")).all()
    np.testing.assert_allclose(cumulative[-1], 1, rtol=1e-4)
    assert cumulative[-1] != 1


def test_draws_have_the_right_frequencies():
    p = np.array([0.5, 0.3, 0.0, 0.2])
    with np.errstate(divide="ignore"):
        ids = draw(np.tile(np.log(p), (20_000, 1)), (np.arange(20_000) + 0.5) / 20_000)
    assert np.bincount(ids, minlength=4).tolist() == [10_000, 6_000, 0, 4_000]
