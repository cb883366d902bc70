import pytest

import envs


def test_one_episode_by_hand():
    env = envs.make("adventure/rooms")
    env.reset(options={"state": env.mdp.state_texts.tolist().index(
        "attic. exits: south. key: cellar. door: locked.")})  # fmt: skip
    plan = ["go south", "go east", "go south", "take key", "go north", "unlock door", "go east"]
    steps = [env.step(action) for action in plan]
    assert [step[1] for step in steps] == pytest.approx([-0.02, -0.02, -0.02, 0.18, -0.02, 0.18, 0.98])
    assert steps[-1][0] == "You are in the vault."
    assert steps[-1][2]


def test_texts_are_short_and_verbs_published():
    mdp = envs.exact("adventure/rooms")
    assert max(map(len, mdp.state_texts.tolist())) <= 62
    assert mdp.action_texts.tolist() == list(envs.adventure.VERBS)
