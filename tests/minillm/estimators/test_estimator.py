"""What holds for every estimator that is registered."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minillm.errors import UserError
from minillm.estimators import ESTIMATORS, Batch, Estimator, register

SEEDS = st.integers(0, 10**6)
NAMES = sorted(ESTIMATORS)
WITH_F = [name for name in NAMES if ESTIMATORS[name].surrogate is not None]
COMPARING = (
    "mean_baseline", "rloo", "optimal_baseline", "optimal_baseline_loo", "grpo", "dr_grpo", "dapo", "reinforce++", "cispo", "gspo", "dpo",
)  # fmt: skip
OPTIONAL = {field.name for field in dataclasses.fields(Batch) if field.default is None}


def variable(estimator):
    return "full_log_probs" if estimator.dense else "log_probs"


def at(batch, estimator, x):
    return dataclasses.replace(batch, **{variable(estimator): x})


@pytest.mark.parametrize("name", WITH_F)
@given(seed=SEEDS)
@settings(max_examples=15)
def test_the_coefficient_is_the_derivative_of_f_away_from_the_old_policy(name, seed, random_batch, gradient_of):
    estimator, batch = ESTIMATORS[name], random_batch(seed)
    x = getattr(batch, variable(estimator))
    expected = gradient_of(lambda y: estimator.surrogate(at(batch, estimator, y)), x)
    c = estimator.coefficients(batch)
    assert np.abs(c - expected).max() <= 1e-13 * np.abs(expected).max()


@pytest.mark.parametrize("name", NAMES)
@given(seed=SEEDS)
@settings(max_examples=15)
def test_observations_in_between_change_no_bit_of_the_other_coefficients(name, seed, random_batch, with_observations):
    estimator, batch = ESTIMATORS[name], random_batch(seed, N=5, T=9)
    wide, columns = with_observations(batch, np.random.default_rng(seed))
    c = estimator.coefficients(wide)
    assert (c[:, columns] == estimator.coefficients(batch)).all()
    assert (np.delete(c, columns, axis=1) == 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_coefficients_are_exactly_zero_off_the_mask_and_finite_on_it(name, random_batch):
    for seed in range(20):
        batch = random_batch(seed)
        c = ESTIMATORS[name].coefficients(batch)
        assert c.shape == batch.mask.shape + (3,) * ESTIMATORS[name].dense
        assert np.isfinite(c).all()
        assert (c[~batch.mask] == 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_everything_masked_is_zero(name, random_batch):
    batch = random_batch(0, mask=np.zeros((4, 5), bool))
    assert (ESTIMATORS[name].coefficients(batch) == 0).all()
    if ESTIMATORS[name].surrogate is not None:
        assert ESTIMATORS[name].surrogate(batch) == 0


@pytest.mark.parametrize("name", NAMES)
def test_old_log_probabilities_equal_to_the_new_ones_are_the_old_policy_to_the_bit(name, random_batch):
    """So every ratio is exactly 1, for tokens, decisions and sequences."""
    batch = random_batch(3, N=6, T=9)
    ell = np.where(batch.mask, batch.log_probs, 0)
    equal = dataclasses.replace(batch, log_probs=ell, old_log_probs=ell.copy())
    missing = dataclasses.replace(equal, old_log_probs=None)
    assert (ESTIMATORS[name].coefficients(equal) == ESTIMATORS[name].coefficients(missing)).all()


@pytest.mark.parametrize("name", NAMES)
@given(seed=SEEDS)
@settings(max_examples=5)
def test_coefficients_are_holomorphic(name, seed, random_batch, derivative):
    """Complex step of the coefficients against their central difference; equal to the real ones at a real point."""
    estimator, batch = ESTIMATORS[name], random_batch(seed)
    x = getattr(batch, variable(estimator))
    v = np.random.default_rng(seed).normal(size=x.shape)
    v[~batch.mask] = 0
    if (~batch.mask).any():
        x = np.where(np.isnan(x), 0, x)
    h = 1e-6
    numeric = (estimator.coefficients(at(batch, estimator, x + h * v)) - estimator.coefficients(at(batch, estimator, x - h * v))) / (2 * h)
    exact = derivative(lambda y: estimator.coefficients(at(batch, estimator, y)), x, v)
    np.testing.assert_allclose(exact, numeric, atol=1e-7 * max(1, np.abs(exact).max()))
    same = estimator.coefficients(at(batch, estimator, x.astype(complex)))
    np.testing.assert_allclose(same, estimator.coefficients(batch), rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("name", NAMES)
def test_episodes_in_another_order_have_the_same_coefficients(name, random_batch):
    batch, order = random_batch(7, N=6), np.array([3, 0, 5, 1, 4, 2])
    fields = {f.name: getattr(batch, f.name)[order] for f in dataclasses.fields(batch)}
    moved = ESTIMATORS[name].coefficients(dataclasses.replace(batch, **fields))
    np.testing.assert_allclose(moved, ESTIMATORS[name].coefficients(batch)[order], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.longdouble])
@pytest.mark.parametrize("name", COMPARING)
def test_seven_rewards_of_float32_35_give_exactly_zero(name, dtype, random_batch):
    mask = np.ones((7, 2), bool)
    rewards = np.zeros((7, 2), dtype)
    rewards[:, 1] = np.float32(0.35)
    batch = random_batch(1, N=7, T=2, mask=mask)
    fields = {field: getattr(batch, field).astype(dtype) for field in ("log_probs", "old_log_probs", "ref_log_probs")}
    batch = dataclasses.replace(batch, rewards=rewards, groups=np.array([0, 0, 0, 0, 1, 1, 2]), **fields)
    assert (ESTIMATORS[name].coefficients(batch) == 0).all()


@pytest.mark.parametrize("name", COMPARING)
def test_one_episode_has_coefficient_zero(name, random_batch):
    batch = random_batch(0, N=1, T=1, mask=np.ones((1, 1), bool))
    assert ESTIMATORS[name].coefficients(batch).tolist() == [[0]]


def test_what_an_estimator_needs_is_named_when_it_is_missing(random_batch):
    for name, estimator in ESTIMATORS.items():
        for need in estimator.needs:
            with pytest.raises(UserError, match=f"this estimator needs {need}, which the batch does not have"):
                estimator.coefficients(dataclasses.replace(random_batch(0), **{need: None}))
        bare = dataclasses.replace(random_batch(0), **dict.fromkeys(OPTIONAL - set(estimator.needs)))
        assert np.isfinite(estimator.coefficients(bare)).all(), name


def test_old_log_probabilities_that_are_not_numbers_behind_the_mask_do_no_harm(random_batch):
    """Old log-probabilities (0, NaN) with mask (1, 0)."""
    batch = random_batch(0, N=1, T=2, mask=np.array([[True, False]]))
    fields = {name: np.where(batch.mask, -1.0, np.nan) for name in ("log_probs", "ref_log_probs", "values", "rewards")}
    fields |= {name: np.where(batch.mask[..., None], -1.0, np.nan) * np.ones(3) for name in ("full_log_probs", "full_ref_log_probs", "q")}
    batch = dataclasses.replace(batch, old_log_probs=np.array([[0, np.nan]]), turns=np.array([[0, -1]]), **fields)
    for estimator in ESTIMATORS.values():
        assert np.isfinite(estimator.coefficients(batch)).all()
        assert estimator.surrogate is None or np.isfinite(estimator.surrogate(batch))


def test_names_are_unique_and_labels_say_something():
    for name, estimator in ESTIMATORS.items():
        assert estimator.name == name
        assert estimator.objective
        assert "=" in estimator.formula
        assert estimator.source


def test_a_name_is_not_registered_twice():
    with pytest.raises(ValueError, match="there is an estimator named reinforce already"):
        register(Estimator("reinforce", "∇J", "c = 0", "nobody", lambda batch: batch.rewards))
