import numpy as np
import pytest

import envs


def test_bandit_lists_every_string_once():
    mdp = envs.exact("text/bandit-2-2")
    assert mdp.action_texts.tolist() == ["", "a", "b", "aa", "ab", "ba", "bb"]
    assert mdp.horizon == 1
    assert mdp.state_texts.tolist() == ["?", ""]


def test_value_is_the_sum_of_rewards_times_probabilities():
    mdp = envs.exact("text/bandit-3-3")
    r = mdp.rewards[0, :-1, 0]
    p = np.random.default_rng(0).dirichlet(np.ones(41))[:40]
    assert mdp.value(np.stack([p, p])) == pytest.approx(r @ p, rel=1e-14)
    assert (r >= 0).all()
    assert (r < 1).all()
    assert len(np.unique(r)) == 40
    assert r.max() == mdp.solve().J


def test_the_reward_of_a_string_number_is_fixed():
    assert (envs.exact("text/bandit-2-2").rewards[0, :7] == envs.exact("text/bandit-3-3").rewards[0, :7]).all()
    assert envs.exact("text/bandit-2-2").rewards[0, -1, 0] == 0


def test_sizes():
    with pytest.raises(ValueError, match="1 to 26"):
        envs.exact("text/bandit-0-2")
    with pytest.raises(ValueError, match="strings"):
        envs.exact("text/bandit-26-9")
