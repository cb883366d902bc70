"""Experience laid out as rows of tokens, and back."""

import dataclasses

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from minillm.batches import Layout, token_batch
from minillm.estimators import ESTIMATORS
from minillm.experience import IGNORE, Experience
from minillm.training import coefficients


def random_experience(seed, N=4, H=3, L=3):
    """N episodes of up to H steps of up to L tokens."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, H + 1, size=N)
    episodes, steps = np.repeat(np.arange(N), counts), np.concatenate([np.arange(n) for n in counts])
    M = len(episodes)
    ids = rng.integers(3, size=(M, L))
    ids[np.arange(L) >= rng.integers(1, L + 1, size=M)[:, None]] = IGNORE
    states = np.array(["a", "b", "c"])[rng.integers(3, size=M)]
    flags = np.zeros(M, bool)
    log_probs = np.where(ids == IGNORE, 0, -rng.exponential(size=ids.shape))
    return Experience(states, states, states, rng.normal(size=M), flags, flags, log_probs, ids, episodes, steps)


@given(st.integers(0, 10**6))
def test_a_row_is_an_episode_and_a_position_a_token(seed):
    e = random_experience(seed)
    layout = Layout(e)
    batch = token_batch(e, layout, e.log_probs)
    for i in range(4):
        rows = np.flatnonzero(e.episodes == i)
        tokens = [(k, t) for k in rows for t in np.flatnonzero(e.action_ids[k] != IGNORE)]
        n = len(tokens)
        assert batch.mask[i].tolist() == [t < n for t in range(batch.mask.shape[1])]
        assert batch.log_probs[i, :n].tolist() == [e.log_probs[k, t] for k, t in tokens]
        assert batch.turns[i, :n].tolist() == [e.steps[k] for k, _ in tokens]
        last = {k: max(t for j, t in tokens if j == k) for k in rows}
        assert batch.rewards[i, :n].tolist() == [e.rewards[k] if t == last[k] else 0 for k, t in tokens]
        assert (batch.turns[i, n:] == -1).all()
        assert batch.total_rewards()[i] == sum(e.rewards[k] for k in rows)
    starts = e.states[e.steps == 0]
    assert ((batch.groups[:, None] == batch.groups) == (starts[:, None] == starts)).all()


@given(st.integers(0, 10**6), st.sampled_from([(), (4,)]))
def test_steps_undo_rows(seed, axes):
    e = random_experience(seed)
    layout = Layout(e)
    values = np.random.default_rng(seed).normal(size=(*e.action_ids.shape, *axes))
    values[e.action_ids == IGNORE] = 0
    assert (layout.steps(layout.rows(values)) == values).all()


@given(st.integers(0, 10**6))
def test_a_subset_of_the_experience_has_the_coefficients_of_its_own(seed):
    """Numbers of episodes need not begin at 0 nor be next to each other."""
    e = random_experience(seed)
    kept = e.take(np.isin(e.episodes, [1, 3]))
    renamed = dataclasses.replace(kept, episodes=np.where(kept.episodes == 1, 0, 1))
    assert (coefficients(kept) == coefficients(renamed)).all()


@given(st.integers(0, 10**6))
def test_the_default_estimator_has_one_coefficient_a_step(seed):
    e = random_experience(seed)
    layout = Layout(e)
    c = layout.steps(ESTIMATORS["state_rloo"].coefficients(token_batch(e, layout, e.log_probs)))
    assert (c == np.where(e.action_ids == IGNORE, 0, coefficients(e)[:, None])).all()
