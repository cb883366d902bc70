import numpy as np
import pytest

from minillm.errors import UserError
from minillm.estimators import ESTIMATORS
from minillm.estimators.clipped import grpo
from minillm.estimators.combining import combined
from minillm.estimators.forms import sequence_mean
from minillm.estimators.kl import kl_in_reward, kl_penalty


def test_a_sum_has_the_sum_of_coefficients_and_of_surrogates(random_batch, gradient_of):
    batch, parts = random_batch(0), (grpo(), kl_penalty("k3", "loss", "token", 0.04, sequence_mean))
    both = combined(*parts)
    np.testing.assert_array_equal(both.coefficients(batch), parts[0].coefficients(batch) + parts[1].coefficients(batch))
    assert both.surrogate(batch) == parts[0].surrogate(batch) + parts[1].surrogate(batch)
    assert (both.coupled, both.dense, both.factor, both.needs) == (True, False, None, ("ref_log_probs",))
    assert both.name == "grpo+kl_k3_loss_token"


def test_dense_ones_can_be_added(random_batch):
    batch, names = random_batch(0), ("all_action", "token_entropy", "kl_full")
    both = combined(*(ESTIMATORS[name] for name in names))
    np.testing.assert_allclose(both.coefficients(batch), sum(ESTIMATORS[name].coefficients(batch) for name in names), rtol=1e-15)
    assert both.dense
    assert both.needs == ("full_log_probs", "full_ref_log_probs", "q")


def test_dense_and_not_dense_cannot():
    with pytest.raises(UserError, match="all are dense or none is: reinforce, token_entropy"):
        combined(ESTIMATORS["reinforce"], ESTIMATORS["token_entropy"])


def test_without_a_surrogate_of_each_there_is_none():
    shaped = kl_in_reward(ESTIMATORS["rloo"], 0.1)
    assert combined(shaped, ESTIMATORS["sequence_entropy"]).surrogate is None
    assert combined(ESTIMATORS["is_sequence"], ESTIMATORS["is_decision"]).off_policy
    assert not combined(ESTIMATORS["is_sequence"], ESTIMATORS["rloo"]).off_policy
