import numpy as np
import pytest

import envs
from envs.mdp import MAX_LEVELS, ExactMDP
from envs.rows import Cell, Rows


def kernel(K, seed=0):
    """A table of four states whose first and last outcome can have probability 0."""
    rng = np.random.default_rng(seed)
    S, A = 4, 2
    probabilities = rng.multinomial(4, np.ones(K) / K, (S, A + 1)) / 4
    return ExactMDP("kernel", np.array(list("abcd")), np.array(["x", "y"]), np.zeros(S, bool), np.ones(S) / S, 9,
                    rng.integers(0, S, (S, A + 1, K)), probabilities, rng.normal(size=(S, A + 1, K)))  # fmt: skip


@pytest.mark.parametrize("K", [1, 2, 5])
def test_ranks_lead_where_the_numbers_lead(K):
    mdp = kernel(K)
    rows, u = Rows(mdp), np.concatenate([[0.0], mdp.levels, np.nextafter(mdp.levels, 0), [1 - 2**-53]])
    u = u[(u >= 0) & (u < 1)]
    for state in range(4):
        for action, text in enumerate(["x", "y", "no"]):
            states, rewards = mdp.step(np.full(len(u), state), np.full(len(u), action), mdp.lots(u))
            for rank, *outcome in zip(mdp.levels.searchsorted(u, side="right"), states, rewards, strict=True):
                row, after, reward, terminated = rows[state][text][rank]
                assert (row.state, after, reward, terminated) == (outcome[0], mdp.state_texts[outcome[0]], outcome[1], False)


def test_many_levels_are_not_ranked():
    rng = np.random.default_rng(0)
    few = kernel(3)
    many = ExactMDP("many", few.state_texts, few.action_texts, few.terminal, few.start, 9, few.successors,
                    rng.dirichlet(np.ones(3), (4, 3)), few.rewards)  # fmt: skip
    assert many.levels is None
    assert len(few.levels) <= MAX_LEVELS
    assert isinstance(Rows(many)[0]["x"], Cell)
    env, vector = envs.TextEnv(many, 5), envs.VectorEnv(many, 1, 5, autoreset="disabled")
    assert vector.reset()[0][0] == env.reset()[0]
    for _ in range(9):
        assert vector.step(["x"])[0][0] == env.step("x")[0]


def test_what_is_not_visited_is_not_prepared():
    env = envs.make("grid/empty-5", 0)
    env.reset()
    assert len(env._rows) == 1
    env.step("up")
    assert len(env._rows) <= 6


def test_numbers_go_on_from_block_to_block(monkeypatch):
    whole, parts = envs.make("grid/frozenlake", 3), envs.make("grid/frozenlake", 3)
    assert whole.reset() == parts.reset()
    monkeypatch.setattr("envs.core.BLOCK", 3)
    parts.reset(seed=3)
    for _ in range(20):
        ours, theirs = whole.step("up"), parts.step("up")
        assert ours == theirs
        if ours[2] or ours[3]:
            assert whole.reset() == parts.reset()
