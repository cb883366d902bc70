import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minillm.estimators import Batch
from minillm.estimators.advantages import (
    all_equal,
    clearly_above,
    gae,
    group_normalised,
    next_values,
    optimal_baseline_advantages,
    to_go,
    vtrace,
    whitened,
)

SEEDS = st.integers(0, 10**6)


def loop_gae(batch, gamma, lam):
    A = np.zeros(batch.mask.shape)
    for i in range(len(batch)):
        following, value = 0.0, batch.last_values[i]
        for t in reversed(np.flatnonzero(batch.mask[i])):
            following = batch.rewards[i, t] + gamma * value - batch.values[i, t] + gamma * lam * following
            A[i, t], value = following, batch.values[i, t]
    return A


def loop_vtrace(batch, gamma, lam, rho_bar, c_bar):
    """From the definition of v as a sum of products."""
    A = np.zeros(batch.mask.shape)
    for i in range(len(batch)):
        steps = np.flatnonzero(batch.mask[i])
        ratio = np.exp(batch.log_probs[i, steps] - batch.old_log_probs[i, steps])
        rho, c, r = np.minimum(rho_bar, ratio), lam * np.minimum(c_bar, ratio), batch.rewards[i, steps]
        V = np.append(batch.values[i, steps], batch.last_values[i])
        n = len(steps)
        v = V.copy()
        for s in range(n):
            v[s] += sum(gamma ** (t - s) * np.prod(c[s:t]) * rho[t] * (r[t] + gamma * V[t + 1] - V[t]) for t in range(s, n))
        A[i, steps] = rho * (r + gamma * v[1:] - V[:-1])
    return A


def loop_group_normalised(rewards, groups, ddof):
    A = np.zeros(len(rewards))
    for g in set(groups.tolist()):
        members = rewards[groups == g]
        if len(members) > 1:
            mean = math.fsum(members) / len(members)
            variance = math.fsum((members - mean) ** 2) / max(len(members) - ddof, 1)
            A[groups == g] = (members - mean) / math.sqrt(variance)
    return A


def loop_optimal(R, groups, weights, leave_one_out):
    A = np.zeros(len(R))
    for i in range(len(R)):
        pool = [j for j in range(len(R)) if groups[j] == groups[i] and not (leave_one_out and j == i)]
        pool = pool or [j for j in range(len(R)) if j != i]
        A[i] = R[i] - math.fsum(R[pool] * weights[pool]) / math.fsum(weights[pool])
    return A


def one_row(**fields):
    arrays = {name: np.atleast_2d(np.array(value, dtype=float)) for name, value in fields.items()}
    T = arrays["rewards"].shape[1]
    mask = arrays.pop("mask", np.ones((1, T))).astype(bool)
    last = arrays.pop("last_values", np.zeros((1, 1)))[0]
    return Batch(np.zeros((1, T)), mask, groups=np.zeros(1, int), turns=np.where(mask, 0, -1), last_values=last, **arrays)


@pytest.mark.parametrize(("gamma", "lam"), [(1.0, 0.95), (0.9, 1.0), (0.9, 0.5), (1.0, 0.0)])
@given(seed=SEEDS)
def test_gae_equals_the_loop(gamma, lam, seed, random_batch):
    batch = random_batch(seed)
    np.testing.assert_allclose(gae(batch, gamma, lam), loop_gae(batch, gamma, lam), atol=1e-13)


@pytest.mark.parametrize("options", [(1.0, 1.0, 1.0, 1.0), (0.9, 0.8, 1.1, 0.9), (0.9, 1.0, 0.9, 1.2)])
@given(seed=SEEDS)
def test_vtrace_equals_the_loop(options, seed, random_batch):
    batch = random_batch(seed)
    np.testing.assert_allclose(vtrace(batch, *options), loop_vtrace(batch, *options), atol=1e-12)


@pytest.mark.parametrize("ddof", [0, 1])
@given(seed=SEEDS)
def test_group_normalised_equals_the_loop(ddof, seed):
    rng = np.random.default_rng(seed)
    R, groups = rng.normal(size=7), rng.integers(0, 4, 7)
    np.testing.assert_allclose(group_normalised(R, groups, ddof), loop_group_normalised(R, groups, ddof), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("leave_one_out", [False, True])
@given(seed=SEEDS)
def test_the_estimated_optimal_baseline_equals_the_loop(leave_one_out, seed, random_batch):
    batch = random_batch(seed, N=6)
    expected = loop_optimal(batch.total_rewards(), batch.groups, batch.score_norms, leave_one_out)
    np.testing.assert_allclose(optimal_baseline_advantages(batch, leave_one_out), expected, atol=1e-11)


def test_scores_of_zero_have_equal_weights(random_batch):
    batch = dataclasses.replace(random_batch(0), score_norms=np.zeros(4), groups=np.zeros(4, int))
    R = batch.total_rewards()
    np.testing.assert_allclose(optimal_baseline_advantages(batch, True), (R - R.mean()) * 4 / 3, rtol=1e-12)
    assert np.isfinite(optimal_baseline_advantages(batch, False)).all()


def test_truncation_with_rewards_1_1_and_value_5_everywhere():
    """The value after the end of what was cut off is 5, not 0 (wrong: −3.1, −4)."""
    cut_off = one_row(rewards=[1, 1], values=[5, 5], last_values=[5])
    np.testing.assert_allclose(gae(cut_off, 0.9, 1.0), [[0.95, 0.5]], rtol=1e-14)
    ended = one_row(rewards=[1, 1], values=[5, 5], last_values=[0])
    np.testing.assert_allclose(gae(ended, 0.9, 1.0), [[-3.1, -4]], rtol=1e-14)


def test_mask_1_1_0_0_1_1_and_a_reward_of_1_at_the_end():
    batch = one_row(rewards=[0, 0, np.nan, np.nan, 0, 1], mask=[1, 1, 0, 0, 1, 1], values=[0.1, 0.2, np.nan, np.nan, 0.3, 0.4])
    assert to_go(batch).tolist() == [[1, 1, 0, 0, 1, 1]]  # wrong: 0, 0, ·, ·, 1, 1
    assert next_values(batch)[batch.mask].tolist() == [0.2, 0.3, 0.4, 0]
    np.testing.assert_allclose(gae(batch, 1.0, 1.0)[batch.mask], [0.9, 0.8, 0.7, 0.6], rtol=1e-14)


def test_rewards_1_2_3_have_rewards_to_go_6_5_3():
    assert to_go(one_row(rewards=[1, 2, 3])).tolist() == [[6, 5, 3]]  # wrong: 6, 6, 5
    assert to_go(one_row(rewards=[1, 2, 4]), 0.5).tolist() == [[3, 4, 4]]


def test_on_policy_vtrace_at_lambda_1_is_gae_at_lambda_1(random_batch):
    batch = dataclasses.replace(random_batch(2), old_log_probs=None)
    np.testing.assert_allclose(vtrace(batch, 0.9, 1.0, 1.0, 1.0), gae(batch, 0.9, 1.0), atol=1e-13)


def test_rewards_1_2_3_in_groups_of_two():
    """The remainder is a group of one: 0 (wrong: 300,000, by an epsilon in the denominator)."""
    R, groups = np.array([1.0, 2, 3]), np.array([0, 0, 1])
    np.testing.assert_allclose(group_normalised(R, groups), [-(0.5**0.5), 0.5**0.5, 0], rtol=1e-15)
    assert group_normalised(R, groups, ddof=0).tolist() == [-1, 1, 0]


def test_the_advantage_of_one_is_zero():
    assert group_normalised(np.array([3.0]), np.array([0])).tolist() == [0]
    assert whitened(np.array([[3.0]]), np.array([[True]])).tolist() == [[0]]


def test_seven_rewards_of_float32_35_have_no_standard_deviation():
    R, mask = np.full(7, np.float32(0.35)), np.ones((7, 1), bool)
    assert np.std(R, ddof=1) > 0  # why nothing is divided by it
    assert (group_normalised(R, np.zeros(7, int)) == 0).all()
    assert (whitened(R[:, None], mask) == 0).all()


def test_rewards_that_differ_by_rounding_are_equal():
    R = np.array([0.1 + 0.2, 0.3, 0.3])
    assert R[0] != R[1]
    assert (group_normalised(R, np.zeros(3, int)) == 0).all()
    assert (group_normalised(-R, np.zeros(3, int)) == 0).all()
    assert (group_normalised(R + np.array([1e-12, 0, 0]), np.zeros(3, int)) != 0).all()
    assert all_equal(np.array([1.0, 1.0, 2.0, 3.0, 0.0]), np.array([0, 0, 1, 1, 2])).tolist() == [True, False, True]
    assert not clearly_above(np.zeros(1), np.zeros(1))
    assert not clearly_above(np.zeros(1), np.ones(1))


def test_whitened_has_mean_0_and_variance_1_over_the_tokens():
    rng = np.random.default_rng(0)
    A, mask = rng.normal(3, 2, (5, 6)), rng.random((5, 6)) < 0.7
    A[~mask] = np.nan
    W = whitened(A, mask)
    assert W[mask].mean() == pytest.approx(0, abs=1e-14)
    assert W[mask].std() == pytest.approx(1, rel=1e-14)
    assert (W[~mask] == 0).all()
