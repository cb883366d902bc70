import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minillm.returns import leave_one_out_advantages, mean_advantages, reward_to_go

NUMBERS = st.integers(-1000, 1000).map(lambda n: n / 64)


def loop_reward_to_go(rewards, mask, gamma):
    returns = np.zeros(rewards.shape)
    for n in range(len(rewards)):
        for t in range(rewards.shape[1]):
            if mask[n, t]:
                later = [s for s in range(t, rewards.shape[1]) if mask[n, s]]
                returns[n, t] = sum(gamma**k * rewards[n, s] for k, s in enumerate(later))
    return returns


def loop_leave_one_out(returns, groups, episodes):
    advantages = np.zeros(len(returns))
    for i, value in enumerate(returns):
        others = [returns[j] for j in range(len(returns)) if episodes[j] != episodes[i]]
        same = [returns[j] for j in range(len(returns)) if episodes[j] != episodes[i] and groups[j] == groups[i]]
        pool = same or others
        advantages[i] = value - math.fsum(pool) / len(pool) if pool else 0
    return advantages


def test_rewards_1_2_3_have_rewards_to_go_6_5_3():
    assert reward_to_go(np.array([[1.0, 2, 3]])).tolist() == [[6, 5, 3]]  # wrong: 6, 6, 5


def test_discount():
    assert reward_to_go(np.array([[1.0, 2, 4]]), gamma=0.5).tolist() == [[3, 4, 4]]


def test_a_reward_at_the_end_reaches_back_over_a_hole_in_the_mask():
    mask = np.array([[1, 1, 0, 0, 1, 1]], bool)
    rewards = np.array([[0.0, 0, 0, 0, 0, 1]])
    assert reward_to_go(rewards, mask).tolist() == [[1, 1, 0, 0, 1, 1]]  # wrong: 0, 0, ·, ·, 1, 1


def test_what_stands_behind_the_mask_is_not_looked_at():
    rewards, mask = np.array([[1.0, np.nan, 2, np.inf]]), np.array([[True, False, True, False]])
    assert reward_to_go(rewards, mask, 0.5).tolist() == [[2, 0, 2, 0]]


@given(hnp.arrays(float, (3, 5), elements=NUMBERS), hnp.arrays(bool, (3, 5)), st.sampled_from([0.0, 0.5, 0.9, 1.0]))
def test_reward_to_go_equals_the_loop(rewards, mask, gamma):
    np.testing.assert_allclose(
        reward_to_go(rewards, mask, gamma), loop_reward_to_go(rewards, mask, gamma), rtol=1e-12, atol=1e-12
    )


@given(
    hnp.arrays(float, 7, elements=NUMBERS), hnp.arrays(int, 7, elements=st.integers(0, 3)),
    hnp.arrays(int, 7, elements=st.integers(0, 4)),
)  # fmt: skip
def test_leave_one_out_equals_the_loop(returns, groups, episodes):
    np.testing.assert_allclose(
        leave_one_out_advantages(returns, groups, episodes), loop_leave_one_out(returns, groups, episodes), atol=1e-11
    )
    each = np.arange(7)
    np.testing.assert_allclose(
        leave_one_out_advantages(returns, groups), loop_leave_one_out(returns, groups, each), atol=1e-11
    )


@given(hnp.arrays(float, 7, elements=NUMBERS), hnp.arrays(int, 7, elements=st.integers(0, 3)))
def test_mean_advantages_equal_the_loop(returns, groups):
    expected = [r - math.fsum(returns[groups == g]) / (groups == g).sum() for r, g in zip(returns, groups, strict=True)]
    np.testing.assert_allclose(mean_advantages(returns, groups), expected, atol=1e-11)


def test_the_advantage_of_one_is_zero():
    for f in (leave_one_out_advantages, mean_advantages):
        assert f(np.array([3.0]), np.array([0])).tolist() == [0]
    assert leave_one_out_advantages(np.array([3.0, 4.0]), np.array([0, 0]), np.array([5, 5])).tolist() == [0, 0]


def test_equal_rewards_have_advantages_of_exactly_zero():
    """Seven rewards of float32 .35: their mean is not .35 in float32, their advantages are 0 all the same."""
    for value in (np.float32(0.35), np.float64(0.1), np.float64(1e9 / 3)):
        returns = np.full(7, value)
        for f in (leave_one_out_advantages, mean_advantages):
            assert (f(returns, np.array([0, 0, 0, 1, 1, 2, 2])) == 0).all()


def test_a_group_of_equal_rewards_beside_another_group_has_advantages_of_exactly_zero():
    returns, groups = np.array([0.2, 1.0, 1.0, 1.0, 0.9]), np.array([0, 1, 1, 1, 0])
    for advantages in (leave_one_out_advantages, mean_advantages):
        assert (advantages(returns, groups)[1:4] == 0).all()
    weights = np.array([0.3, 0.1, 0.2, 0.7, 0.4])
    assert (leave_one_out_advantages(returns, groups, weights=weights)[1:4] == 0).all()


def test_a_remainder_has_the_mean_of_all_others_as_its_baseline():
    """Rewards 1, 2, 3 in groups of two: the third is alone in its group."""
    assert leave_one_out_advantages(np.array([1.0, 2, 3]), np.array([0, 0, 1])).tolist() == [-1, 1, 1.5]
    assert mean_advantages(np.array([1.0, 2, 3]), np.array([0, 0, 1])).tolist() == [-0.5, 0.5, 0]


def test_the_own_episode_is_in_no_baseline():
    returns, group = np.array([10.0, 20.0, 1.0]), np.zeros(3, int)
    assert leave_one_out_advantages(returns, group, np.array([0, 0, 1])).tolist() == [9, 19, -14]


def test_mean_advantages_are_leave_one_out_shrunk():
    returns, groups = np.array([1.0, 5, 2, 8, 3]), np.array([0, 0, 1, 1, 1])
    G = np.array([2, 2, 3, 3, 3])
    np.testing.assert_allclose(
        mean_advantages(returns, groups), (1 - 1 / G) * leave_one_out_advantages(returns, groups), rtol=1e-13
    )


def test_inputs_are_left_alone():
    returns, groups = np.array([1.0, 2, 3]), np.array([0, 0, 1])
    for array in (returns, groups):
        array.setflags(write=False)
    leave_one_out_advantages(returns, groups, groups)
    mean_advantages(returns, groups)
    reward_to_go(returns[None], np.ones((1, 3), bool))


@given(
    hnp.arrays(float, 7, elements=NUMBERS), hnp.arrays(float, 7, elements=st.sampled_from([0.0, 0.0, 0.5, 1, 3])),
    hnp.arrays(int, 7, elements=st.integers(0, 3)),
)  # fmt: skip
def test_a_weighted_baseline_equals_the_loop(returns, weights, groups):
    expected = np.zeros(7)
    for i in range(7):
        same = [j for j in range(7) if j != i and groups[j] == groups[i]]
        pool = same or [j for j in range(7) if j != i]
        w = weights[pool] if weights[pool].any() else np.ones(len(pool))
        expected[i] = returns[i] - math.fsum(returns[pool] * w) / math.fsum(w)
    np.testing.assert_allclose(leave_one_out_advantages(returns, groups, weights=weights), expected, atol=1e-11)


def test_a_discount_for_each_step():
    gamma = np.array([[0.5, 2, 7]])
    assert reward_to_go(np.array([[1.0, 2, 4]]), gamma=gamma).tolist() == [[1 + 0.5 * 10, 2 + 2 * 4, 4]]


def test_baselines_are_complex_safe():
    returns, groups = np.array([1.0, 2, 5, 7]) + 1j * np.array([1e-30, 0, 3e-30, 0]), np.array([0, 0, 1, 1])
    for f in (leave_one_out_advantages, mean_advantages):
        np.testing.assert_allclose(f(returns, groups).imag, f(returns.imag, groups), rtol=1e-14)
