import dataclasses

import numpy as np
import pytest

from minillm.estimators import ESTIMATORS
from minillm.estimators.actor_critic import a2c, gae, value_baseline


def exact_values(bed):
    """V of the 7 contexts, at the positions of the 15 episodes."""
    p = np.exp(bed.batch(np.arange(15)).full_log_probs)
    return np.where(bed.mask, (p * bed.action_values()[bed.context]).sum(axis=-1), 0)


def relative_error(mean, exact):
    return np.linalg.norm(mean - exact) / np.linalg.norm(exact)


@pytest.fixture(scope="module")
def exact(bed, gradient_of):
    return gradient_of(lambda theta: bed.value(theta.reshape(7, 3)), bed.theta)


def test_with_the_exact_value_all_are_exact_and_the_baseline_has_variance_1_537(bed, exact):
    values = exact_values(bed)
    for estimator in (value_baseline(), a2c(), gae(), gae(lam=0.0)):
        moments = bed.moments(estimator, values=values)
        assert relative_error(moments.mean, exact) < 1e-13
        if estimator.name == "value_baseline":
            assert moments.variance == pytest.approx(1.537, abs=5e-4)


def test_with_a_wrong_value_only_what_does_not_bootstrap_is_exact(bed, exact):
    values = exact_values(bed) + np.where(bed.context == 1, 1.0, -0.5)
    for estimator in (value_baseline(), a2c(), gae(lam=1.0)):
        assert relative_error(bed.moments(estimator, values=values).mean, exact) < 1e-13
        assert estimator.factor(1) == 1
    for estimator in (gae(), gae(lam=0.0)):
        assert relative_error(bed.moments(estimator, values=values).mean, exact) > 0.01
        assert estimator.factor is None


def test_all_actions_with_the_exact_q_are_exact_and_have_variance_0_146(bed, exact):
    moments = bed.moments(ESTIMATORS["all_action"], q=bed.action_values()[bed.context])
    assert relative_error(moments.mean, exact) < 1e-13
    assert moments.variance == pytest.approx(0.146, abs=5e-4)


def test_a_token_of_probability_zero_has_no_coefficient(random_batch):
    batch = random_batch(0, N=1, T=1, mask=np.ones((1, 1), bool))
    batch = dataclasses.replace(batch, full_log_probs=np.array([[[np.log(0.6), np.log(0.4), -np.inf]]]), q=np.array([[[1, 2, np.nan]]]))
    np.testing.assert_allclose(ESTIMATORS["all_action"].coefficients(batch), [[[0.6, 0.8, 0]]], rtol=1e-15)
    assert ESTIMATORS["all_action"].surrogate(batch) == pytest.approx(1.4, rel=1e-15)


def test_truncation_with_rewards_1_1_and_value_5_everywhere(random_batch):
    batch = random_batch(0, N=1, T=2, mask=np.ones((1, 2), bool))
    batch = dataclasses.replace(batch, rewards=np.ones((1, 2)), values=np.full((1, 2), 5.0), last_values=np.array([5.0]))
    np.testing.assert_allclose(a2c(gamma=0.9).coefficients(batch), [[0.95, 0.5]], rtol=1e-14)  # wrong: −3.1, −4
    ended = dataclasses.replace(batch, last_values=None)
    np.testing.assert_allclose(a2c(gamma=0.9).coefficients(ended), [[-3.1, -4]], rtol=1e-14)
    np.testing.assert_allclose(value_baseline(gamma=0.9).coefficients(batch), [[-3.1, -4]], rtol=1e-14)


def test_options_change_the_coefficients_and_the_label(random_batch):
    batch = random_batch(0)
    plain = [make().coefficients(batch) for make in (value_baseline, gae, a2c)]
    discounted = [make(gamma=0.9) for make in (value_baseline, gae, a2c)]
    for c, estimator in zip(plain, discounted, strict=True):
        assert (estimator.coefficients(batch) != c).any()
        assert estimator.objective == "no gradient of any function"
        assert estimator.factor is None
    assert (gae(lam=0.5).coefficients(batch) != plain[1]).any()
    assert gae(lam=1.0).objective == "∇J"
