"""Every estimator's lesson: the function that makes it is found, and its live numbers are those of `minillm estimators`."""

import pytest

from minillm.estimators import ESTIMATORS, clipped, kl, reinforce
from minillm.estimators.advantages import group_normalised
from minillm.estimators.forms import sequence_mean
from minillm.lab.estimators import row
from minillm.lab.labels import claims
from minillm.lab.setting import settings
from minillm.lessons import estimators
from minillm.returns import leave_one_out_advantages

MAKERS = estimators.makers()


def test_each_estimator_is_made_by_the_function_that_is_shown():
    assert set(MAKERS) == set(ESTIMATORS)
    assert MAKERS["rloo"] is reinforce.rloo
    for name, make in MAKERS.items():
        if make is kl.kl_penalty:
            _, kind, place, level = name.split("_")
            assert make(kind, place, level).name == name
        else:
            assert make().formula == ESTIMATORS[name].formula


def test_the_parts_that_are_shown():
    assert leave_one_out_advantages in estimators.parts_of(reinforce.rloo)
    assert {group_normalised, sequence_mean} <= set(estimators.parts_of(clipped.grpo))


@pytest.mark.parametrize("name", sorted(ESTIMATORS))
def test_live(name):
    text = estimators.live(ESTIMATORS[name])
    wanted = [claim.target is None for claim in claims(ESTIMATORS[name])]
    assert ("the gradient of no function" in text) == any(wanted)
    assert ("against its label" in text) == (not all(wanted))


@pytest.mark.parametrize("name", ["rloo", "grpo", "kl_k3_loss_token"])
def test_the_numbers_are_those_of_the_table(name):
    error = row(ESTIMATORS[name], settings()[:1], 2).error
    assert f"‖E[ĝ] − ∇J‖/‖∇J‖ = {error:.3g}, cosine" in estimators.live(ESTIMATORS[name])


def test_coefficients_are_those_of_the_estimator():
    text = estimators.live(ESTIMATORS["reinforce"])
    assert "1 0       0.0245  1.3360            1.3605    0.3401  0.3401" in text  # R/N for both of its tokens


def test_episodes_of_an_older_policy_are_shown_where_they_matter():
    assert "an older policy's episodes" in estimators.live(ESTIMATORS["ppo_clip"])
    assert "an older policy's episodes" not in estimators.live(ESTIMATORS["rloo"])


def test_card():
    assert "estimates       ∇J with the exact Q" in estimators.card(ESTIMATORS["all_action"])
    assert "full_log_probs, q" in estimators.card(ESTIMATORS["all_action"])
    assert "needs" not in estimators.card(ESTIMATORS["rloo"])
