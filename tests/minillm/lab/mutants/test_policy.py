"""The bed of the wrong policy gradients: complete, and with rewards that depend on the past alone."""

import numpy as np
import pytest

from minillm.lab.mutants import policy as bed


def test_the_episodes_are_complete_and_distinct():
    assert len(set(bed.EPISODES)) == 15
    assert bed.chances(bed.THETA).sum() == pytest.approx(1, abs=1e-15)
    assert bed.chances(bed.OLD).sum() == pytest.approx(1, abs=1e-15)


def test_equal_beginnings_have_equal_rewards():
    for i, first in enumerate(bed.EPISODES):
        for j, second in enumerate(bed.EPISODES):
            same = next((t for t in range(3) if first[: t + 1] != second[: t + 1]), 3)
            np.testing.assert_array_equal(bed.REWARDS[i, :same], bed.REWARDS[j, :same])


def test_clipping_is_tested_on_both_sides():
    rho, A = np.exp(bed.ell(bed.THETA) - bed.ell(bed.OLD)), np.broadcast_to(bed.ADVANTAGES, bed.TAKEN.shape)
    for ratio in (rho > 1 + bed.CLIP, rho < 1 - bed.CLIP):
        for sign in (A > 0, A < 0):
            assert (ratio & sign & bed.TAKEN).any()


def test_two_tokens_survive_in_each_context_of_top_two():
    np.testing.assert_array_equal(np.isfinite(bed.TOP_TWO).sum(axis=1), 2)
