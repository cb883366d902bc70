"""Decisions with a baseline by their state, against the plain loop."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minillm.estimators import ESTIMATORS
from minillm.estimators.by_state import by_state


def loop(batch, baseline):
    """Decision by decision: the return from it on, minus a mean of those from the same state."""
    N, T = batch.mask.shape
    decisions = {}
    for i in range(N):
        for t in reversed(np.flatnonzero(batch.mask[i])):
            decisions[i, batch.turns[i, t]] = (batch.states[i, t], sum(batch.rewards[i, s] for s in range(t, T) if batch.mask[i, s]))
    c = np.zeros((N, T))
    for i, t in zip(*np.nonzero(batch.mask), strict=True):
        state, G = decisions[i, batch.turns[i, t]]
        same = [g for s, g in decisions.values() if s == state]
        apart = [g for (j, _), (s, g) in decisions.items() if s == state and j != i]
        others = [g for (j, _), (_, g) in decisions.items() if j != i]
        b = {"none": 0, "mean": np.mean(same), "leave_one_out": np.mean(apart or others or [G])}[baseline]
        c[i, t] = (G - b) / N
    return c


@pytest.mark.parametrize("baseline", ["none", "mean", "leave_one_out"])
@given(seed=st.integers(0, 10**6))
def test_coefficients_equal_the_loop(random_batch, baseline, seed):
    batch = random_batch(seed)
    np.testing.assert_allclose(by_state(baseline).coefficients(batch), loop(batch, baseline), atol=1e-12)


def test_without_states_the_group_is_the_state(random_batch):
    batch = random_batch(3, N=6)
    grouped = dataclasses.replace(batch, states=np.where(batch.mask, batch.groups[:, None], -1))
    plain = ESTIMATORS["state_rloo"].coefficients(dataclasses.replace(batch, states=None))
    assert (plain == ESTIMATORS["state_rloo"].coefficients(grouped)).all()
    assert (plain != ESTIMATORS["state_rloo"].coefficients(batch)).any()
