import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minillm.estimators import ESTIMATORS
from minillm.estimators.importance import is_token, is_truncated, vtrace_policy_gradient


@pytest.fixture(scope="module")
def exact(bed, gradient_of):
    return gradient_of(lambda theta: bed.value(theta.reshape(7, 3)), bed.theta)


@pytest.fixture(scope="module")
def theta_old(bed):
    return bed.theta + np.random.default_rng(0).normal(0, 0.7, (7, 3))


def relative_error(mean, exact):
    return np.linalg.norm(mean - exact) / np.linalg.norm(exact)


@pytest.mark.parametrize("name", sorted(name for name, estimator in ESTIMATORS.items() if estimator.off_policy))
def test_episodes_of_another_policy_give_the_gradient_at_this_one(name, bed, exact, theta_old):
    assert relative_error(bed.moments(ESTIMATORS[name], theta_old=theta_old).mean, exact) < 1e-13
    assert relative_error(bed.moments(ESTIMATORS["reinforce"], theta_old=theta_old).mean, exact) > 0.1


def test_a_weight_per_decision_need_not_have_less_variance_than_one_per_sequence(bed, theta_old):
    """Folklore says that it does; on the bed it has more, as reward-to-go has more than the total return."""
    decision, sequence = (bed.moments(ESTIMATORS[name], theta_old=theta_old).variance for name in ("is_decision", "is_sequence"))
    assert decision == pytest.approx(3.766, abs=5e-4)
    assert sequence == pytest.approx(3.422, abs=5e-4)


def test_a_weight_per_token_keeps_the_contexts_of_the_old_policy(bed, exact, theta_old, gradient_of):
    """It is the gradient of the old policy's contexts and Q with this policy's tokens, and of J at θ = θ_old only."""
    old = type(bed)()
    old.theta = theta_old
    q, p_old = old.action_values(), old.p(theta_old)
    visits = np.zeros(7)
    np.add.at(visits, bed.context[bed.mask], np.repeat(p_old, bed.mask.sum(axis=1)))

    def surrogate(theta):
        policy = np.exp(theta.reshape(7, 3))
        return (visits[:, None] * policy / policy.sum(axis=1, keepdims=True) * q).sum()

    mean = bed.moments(is_token(), theta_old=theta_old).mean
    np.testing.assert_allclose(mean, gradient_of(surrogate, bed.theta), rtol=1e-11, atol=1e-13)
    assert relative_error(mean, exact) > 0.1
    assert relative_error(bed.moments(is_token()).mean, exact) < 1e-13


def test_truncation_is_biased_away_from_the_old_policy_only(bed, exact, theta_old):
    assert relative_error(bed.moments(is_truncated(1.5), theta_old=theta_old).mean, exact) > 0.01
    assert relative_error(bed.moments(is_truncated(1e9), theta_old=theta_old).mean, exact) < 1e-13
    assert relative_error(bed.moments(is_truncated(1.0)).mean, exact) < 1e-13


@given(seed=st.integers(0, 10**6))
def test_a_weight_per_decision_equals_the_loop(seed, random_batch):
    batch = random_batch(seed)
    expected = np.zeros(batch.mask.shape)
    for i, t in zip(*np.nonzero(batch.mask), strict=True):
        for s in np.flatnonzero(batch.mask[i]):
            if batch.turns[i, s] >= batch.turns[i, t]:
                so_far = batch.mask[i] & (batch.turns[i] <= batch.turns[i, s])
                ratio = np.exp((batch.log_probs - batch.old_log_probs)[i, so_far].sum())
                expected[i, t] += ratio * batch.rewards[i, s] / len(batch)
    np.testing.assert_allclose(ESTIMATORS["is_decision"].coefficients(batch), expected, rtol=1e-12, atol=1e-13)


def test_one_turn_makes_decisions_sequences(random_batch):
    mask = np.ones((4, 5), bool)
    batch = random_batch(0, mask=mask)
    batch.turns[:] = 0
    decision, sequence = (ESTIMATORS[name].coefficients(batch) for name in ("is_decision", "is_sequence"))
    np.testing.assert_allclose(decision, sequence, rtol=1e-13)


def test_vtrace_without_bounds_on_policy_is_a2c_to_the_last_digit(random_batch, bed):
    values = np.where(bed.mask, 0.3, 0)
    np.testing.assert_allclose(
        bed.moments(ESTIMATORS["vtrace"], values=values).mean, bed.moments(ESTIMATORS["a2c"], values=values).mean, rtol=1e-12, atol=1e-14
    )


@pytest.mark.parametrize(
    ("make", "options"),
    [
        (is_token, {"gamma": 0.9}), (is_truncated, {"c": 0.5}), (vtrace_policy_gradient, {"gamma": 0.9}),
        (vtrace_policy_gradient, {"lam": 0.9}), (vtrace_policy_gradient, {"rho_bar": 0.9}), (vtrace_policy_gradient, {"c_bar": 0.9}),
    ],
)  # fmt: skip
def test_every_option_changes_a_coefficient(make, options, random_batch):
    batch = random_batch(0)
    assert (make(**options).coefficients(batch) != make().coefficients(batch)).any()
