"""Every label in the registry is proved, on every bed; and a label that is not true is seen."""

import dataclasses

import numpy as np
import pytest

from minillm.estimators import ESTIMATORS
from minillm.estimators.actor_critic import gae
from minillm.estimators.kl import kl_in_reward
from minillm.estimators.reinforce import reward_to_go
from minillm.lab import exact_objectives as exact
from minillm.lab.labels import ASYMMETRY_BOUND, BIAS_BOUND, LABELS, Claim, claims, relative_error
from minillm.lab.moments import field, moments
from minillm.lab.statistics import asymmetry

NOTHING = "no gradient of any function"
FUNCTIONS = ("∇J", "∇J with the exact Q", "(1−1/G)·∇J", "∇P(R ≥ c)", "∇ of the sequence entropy", "−∇ of the KL", "−∇ of the KL(π_ref‖π)")


@pytest.mark.parametrize("name", ESTIMATORS)
def test_the_label_is_proved_on_every_bed_for_a_table_and_for_a_transformer(all_settings, name):
    estimator = ESTIMATORS[name]
    for claim in claims(estimator):
        for setting in all_settings:
            if claim.target is None and setting.name.endswith("GPT"):
                continue  # the Jacobian of 520 parameters: on one bed below
            measured = claim.measure(setting, estimator, 2)
            assert claim.holds(measured), (setting.name, claim, measured)


@pytest.mark.parametrize("G", [3, 4])
def test_labels_hold_for_larger_groups(published, G):
    for estimator in ESTIMATORS.values():
        if estimator.coupled and estimator.name not in ("dapo", "cispo", "reinforce++"):  # these three take 0.2 ms a batch
            for claim in claims(estimator):
                measured = claim.measure(published, estimator, G)
                assert claim.holds(measured), (estimator.name, claim, measured)


def test_no_gradient_of_any_function_of_a_transformer_either(all_settings):
    for name, estimator in ESTIMATORS.items():
        if estimator.objective == NOTHING:
            (claim,) = claims(estimator)
            assert claim.measure(all_settings[1], estimator, 2) > 1e-3, name


@pytest.mark.parametrize("name", [name for name, estimator in ESTIMATORS.items() if estimator.objective in FUNCTIONS])
def test_what_claims_to_be_a_gradient_has_a_symmetric_jacobian(all_settings, name):
    for setting in all_settings[::2]:
        assert asymmetry(field(setting, ESTIMATORS[name], 2), setting.theta, 4) < 1e-11, setting.name


def test_a_frozen_context_KL_is_the_gradient_of_nothing_though_it_has_an_objective_at_each_theta(published):
    estimator = ESTIMATORS["kl_full"]
    assert estimator.objective == "−∇ of the frozen-context KL"
    assert asymmetry(field(published, estimator, 2), published.theta) > 0.01
    assert asymmetry(field(published, ESTIMATORS["kl_k1_reward_sequence"], 2), published.theta) < 1e-12


def test_a_discount_below_one_is_the_gradient_of_nothing(all_settings):
    """Nota and Thomas 2020: the factor γ^t is left out."""
    for setting in all_settings[::2]:
        for estimator in (reward_to_go(gamma=0.5), gae(gamma=0.5)):
            assert estimator.objective == NOTHING
            (claim,) = claims(estimator)
            assert claim.holds(claim.measure(setting, estimator, 2)), setting.name


def test_k1_in_the_reward_makes_the_objective_J_minus_the_KL(all_settings):
    for setting in all_settings:
        for name in ("reinforce", "reward_to_go", "rloo"):
            estimator = kl_in_reward(ESTIMATORS[name], 0.3)
            target = setting.gradient - 0.3 * setting.gradient_of(lambda L, s=setting: exact.KL(s, L, 2))
            assert relative_error(moments(setting, estimator, 2).mean, target, setting.gradient) < BIAS_BOUND


def test_the_factor_of_an_estimator_is_that_of_its_label():
    for estimator in ESTIMATORS.values():
        factors = [claim.factor for claim in claims(estimator) if claim.factor is not None]
        assert (estimator.factor is not None) == bool(factors), estimator.name
        for G in (2, 3, 8):
            assert all(factor(G) == estimator.factor(G) for factor in factors), estimator.name


def test_every_label_that_is_known_is_in_use():
    assert set(LABELS) == {estimator.objective for estimator in ESTIMATORS.values()}


def test_an_unknown_label_is_not_proved():
    stranger = dataclasses.replace(ESTIMATORS["rloo"], objective="∇J, surely")
    with pytest.raises(KeyError, match="rloo: no claim is known for the label '∇J, surely'"):
        claims(stranger)


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("mean_baseline", "∇J"),
        ("rloo", "(1−1/G)·∇J"),
        ("grpo", "∇J"),
        ("optimal_baseline", "∇J"),
        ("rloo", NOTHING),
        ("kl_k1_loss_sequence", "−∇ of the KL"),
        ("kl_k1_reward_token", "−∇ of the KL"),
        ("kl_k3_loss_token", "−∇ of the frozen-context KL"),
        ("token_entropy", "∇ of the sequence entropy"),
        ("filtered_cloning", "∇J"),
        ("is_token", "∇ of E_old[R·Φ(ρ)], Φ' = min(1, c/ρ) (at θ = θ_old and c ≥ 1: ∇J)"),
    ],
)
def test_a_wrong_label_is_seen(published, name, label):
    wrong = dataclasses.replace(ESTIMATORS[name], objective=label)
    assert not all(claim.holds(claim.measure(published, wrong, 2)) for claim in claims(wrong))


@pytest.mark.parametrize("name", ["is_decision", "is_sequence"])
def test_importance_weights_are_claimed_for_old_episodes_too_and_without_them_it_is_seen(published, name):
    estimator = ESTIMATORS[name]
    assert [claim.off_policy for claim in claims(estimator)] == [False, True]
    without = dataclasses.replace(
        estimator, coefficients=lambda batch: estimator.coefficients(dataclasses.replace(batch, old_log_probs=batch.log_probs))
    )
    on, off = (claim.measure(published, without, 2) for claim in claims(without))
    assert on < BIAS_BOUND
    assert off > 0.01


def test_one_wrong_coefficient_is_seen(published):
    def slightly(batch):
        c = ESTIMATORS["rloo"].coefficients(batch).copy()
        c[:, -1] *= 1 + 1e-9
        return c

    (claim,) = claims(ESTIMATORS["rloo"])
    wrong = dataclasses.replace(ESTIMATORS["rloo"], coefficients=slightly)
    assert BIAS_BOUND < claim.measure(published, wrong, 2) < 1e-8


def test_the_bounds_are_apart():
    assert Claim(lambda setting, G: setting.gradient).holds(1e-13)
    assert not Claim(lambda setting, G: setting.gradient).holds(np.nan)
    assert not Claim(None).holds(1e-13)
    assert not Claim(None).holds(np.nan)
    assert BIAS_BOUND < ASYMMETRY_BOUND
