import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minillm.estimators import ESTIMATORS, Batch
from minillm.estimators.cloning import behaviour_cloning, dpo, filtered_cloning
from minillm.estimators.forms import token_mean


def episodes(rewards, groups):
    N = len(rewards)
    zeros = np.zeros((N, 1))
    return Batch(zeros, zeros == 0, np.array(rewards, float)[:, None], np.array(groups), zeros.astype(int), ref_log_probs=zeros)


@pytest.mark.parametrize("c", [0.0, 0.5, 1.5])
def test_filtered_cloning_is_the_gradient_of_the_probability_of_a_good_reward(c, bed, gradient_of):
    good = bed.rewards.sum(axis=1) >= c
    assert 0 < good.sum() < 15
    expected = gradient_of(lambda theta: bed.p(theta.reshape(7, 3))[good].sum(), bed.theta)
    np.testing.assert_allclose(bed.moments(filtered_cloning(c)).mean, expected, rtol=1e-11, atol=1e-14)


def test_a_reward_of_exactly_c_is_kept():
    assert filtered_cloning(0.5).coefficients(episodes([0.5, 0.4], [0, 0])).tolist() == [[0.5], [0]]


def test_cloning_of_own_samples_goes_nowhere_and_of_data_to_the_data(bed, gradient_of):
    assert np.abs(bed.moments(behaviour_cloning()).mean).max() < 1e-15
    theta_data = bed.theta + np.random.default_rng(0).normal(size=(7, 3))
    data = bed.p(theta_data)
    expected = gradient_of(lambda theta: (data * bed.log_probs(theta.reshape(7, 3)).sum(axis=1)).sum(), bed.theta)
    np.testing.assert_allclose(bed.moments(behaviour_cloning(), theta_old=theta_data).mean, expected, rtol=1e-11, atol=1e-14)


def test_cloning_per_token(random_batch):
    batch = random_batch(0)
    c = behaviour_cloning(token_mean).coefficients(batch)
    np.testing.assert_allclose(c[batch.mask], 1 / batch.mask.sum(), rtol=1e-15)


def test_dpo_of_one_pair_at_the_reference_is_half_of_beta():
    assert dpo().coefficients(episodes([1, 0], [0, 0])).tolist() == [[0.05], [-0.05]]
    assert dpo(0.5).coefficients(episodes([0, 1], [0, 0])).tolist() == [[-0.25], [0.25]]
    assert dpo().surrogate(episodes([1, 0], [0, 0])) == pytest.approx(-np.log(2), rel=1e-15)


def test_equal_rewards_and_other_groups_are_no_pair():
    for rewards, groups in (([1, 1], [0, 0]), ([1, 0], [0, 1]), ([0.1 + 0.2, 0.3], [0, 0]), ([1], [0])):
        assert (dpo().coefficients(episodes(rewards, groups)) == 0).all()
        assert dpo().surrogate(episodes(rewards, groups)) == 0


def test_dpo_does_not_overflow():
    for x in (-1e5, 1e5):
        batch = dataclasses.replace(episodes([1, 0], [0, 0]), log_probs=np.array([[x], [0.0]]))
        assert dpo(1.0).coefficients(batch)[0, 0] == (1 if x < 0 else 0)
        assert dpo(1.0).surrogate(batch) == min(x, 0)


@given(seed=st.integers(0, 10**6))
def test_dpo_equals_the_loop(seed, random_batch):
    batch = random_batch(seed, N=6)
    X, R = 0.1 * batch.episode_sums(batch.ref_log_ratio()), batch.total_rewards()
    pairs = [(w, k) for w in range(6) for k in range(6) if batch.groups[w] == batch.groups[k] and R[w] > R[k] + 1e-12]
    expected = np.zeros(6)
    for w, k in pairs:
        pull = 0.1 / len(pairs) / (1 + np.exp(X[w] - X[k]))
        expected += pull * ((np.arange(6) == w).astype(float) - (np.arange(6) == k))
    np.testing.assert_allclose(
        ESTIMATORS["dpo"].coefficients(batch), np.where(batch.mask, expected[:, None], 0), rtol=1e-11, atol=1e-15
    )
