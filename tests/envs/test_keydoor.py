import pytest

import envs


def test_one_episode_by_hand():
    mdp = envs.exact("grid/keydoor")
    env = envs.make("grid/keydoor")
    env.reset(options={"state": mdp.state_texts.tolist().index("AKDG.\n..#..\n..#..")})
    plan = ("open", "right", "open", "take", "take", "right", "open", "right", "right")
    rewards = [env.step(action)[1] for action in plan]
    assert rewards == pytest.approx([-0.02, -0.02, -0.02, 0.18, -0.02, -0.02, 0.18, -0.02, 0.98])
    assert env.render() == "../*.\n..#..\n..#.."


def test_every_start_can_be_solved_for_the_same_three_payments():
    mdp = envs.exact("grid/keydoor")
    V = mdp.solve().V[0, mdp.start > 0]
    assert (mdp.start > 0).sum() == 540
    steps = (1.4 - V) / 0.02
    assert steps == pytest.approx(steps.round(), abs=1e-9)
    assert steps.min() == pytest.approx(5)  # onto the key, take, open, through the door, onto the goal
