import pytest

import envs


def test_aliases_are_finite_and_published():
    env = envs.Lenient(envs.make("grid/empty-3", seed=0), {"n": "up", "r": "right"})
    env.reset(options={"state": 0})
    assert env.step("n ")[1] == -0.1
    assert env.step("n")[1] == -0.05
    assert env.step("r")[1:3] == (0.95, True)
    assert env.aliases == {"n": "up", "r": "right"}
    with pytest.raises(TypeError):
        env.step(3)
    for aliases in ({"n": "north"}, {"up": "down"}):
        with pytest.raises(ValueError, match="alias"):
            envs.Lenient(env.env, aliases)
