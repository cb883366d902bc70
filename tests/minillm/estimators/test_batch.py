import dataclasses

import numpy as np
import pytest

from minillm.errors import UserError
from minillm.estimators import Batch


def test_a_field_of_wrong_shape_is_named(random_batch):
    batch = random_batch(0)
    for name, wanted in (("rewards", r"\(N, T\)"), ("groups", r"\(N,\)"), ("q", r"\(N, T, V\)"), ("last_values", r"\(N,\)")):
        with pytest.raises(UserError, match=rf"^{name} must have shape {wanted} with \(N, T\) = \(4, 5\), got \(3,"):
            dataclasses.replace(batch, **{name: getattr(batch, name)[:3]})


def test_a_full_vocabulary_without_its_axis_is_an_error(random_batch):
    batch = random_batch(0)
    with pytest.raises(UserError, match="full_log_probs must have shape"):
        dataclasses.replace(batch, full_log_probs=batch.log_probs)


def test_the_mask_selects(random_batch):
    """NaN times 0 is NaN, so nothing is multiplied by the mask."""
    batch = random_batch(0)
    assert (~batch.mask).any()
    for name in ("log_probs", "rewards", "q"):
        off = batch.given(name)[~batch.mask]
        assert off.size > 0
        assert (off == 0).all()
        assert (batch.given(name)[batch.mask] == getattr(batch, name)[batch.mask]).all()


def test_without_old_log_probabilities_the_old_policy_is_this_one_held_constant(random_batch):
    batch = dataclasses.replace(random_batch(0), old_log_probs=None)
    assert (batch.log_ratio() == 0).all()
    moved = dataclasses.replace(batch, log_probs=batch.log_probs + 1e-30j)
    assert (moved.log_ratio()[batch.mask] == 1e-30j).all()


def test_sums_of_episodes_do_not_see_what_stands_in_between(with_observations, random_batch):
    """``sum`` adds eight at a time; zeros in between would change which ones come together."""
    rng = np.random.default_rng(0)
    batch = random_batch(0, N=50, T=40, mask=np.ones((50, 40), bool))
    wide, _ = with_observations(batch, rng)
    assert (wide.total_rewards() == batch.total_rewards()).all()
    np.testing.assert_allclose(batch.total_rewards(), batch.rewards.sum(axis=1), rtol=1e-12)
    assert (np.where(wide.mask, wide.rewards, 0).sum(axis=1) != batch.rewards.sum(axis=1)).any()  # why it is not ``sum``


def test_lengths_and_ratios(random_batch):
    batch = random_batch(5)
    assert batch.lengths().tolist() == batch.mask.sum(axis=1).tolist()
    assert len(batch) == 4
    x, y = batch.log_ratio(), batch.ref_log_ratio()
    np.testing.assert_array_equal(x[batch.mask], (batch.log_probs - batch.old_log_probs)[batch.mask])
    np.testing.assert_array_equal(y[batch.mask], (batch.log_probs - batch.ref_log_probs)[batch.mask])


def test_a_batch_of_no_tokens():
    empty = np.zeros((3, 0))
    batch = Batch(empty, empty.astype(bool), empty, np.zeros(3, int), empty.astype(int))
    assert batch.total_rewards().tolist() == [0, 0, 0]
