import numpy as np
import pytest

import envs
from envs.adapters import Lockstep


def test_each_row_is_its_environment_alone():
    mdp = envs.exact("grid/frozenlake")
    many, alone = Lockstep([envs.TextEnv(mdp) for _ in range(4)], 7), [envs.TextEnv(mdp) for _ in range(4)]
    states, _ = many.reset()
    seeds = np.random.default_rng(7).integers(1 << 31, size=4).tolist()
    assert states.tolist() == [env.reset(seed=seed)[0] for env, seed in zip(alone, seeds, strict=True)]
    active = np.ones(4, bool)
    while active.any():
        before = states.copy()
        states, rewards, terminated, truncated, _ = many.step(["right"] * 4, where=active)
        for i, env in enumerate(alone):
            expected = env.step("right")[:4] if active[i] else (before[i], 0.0, False, False)
            assert (states[i], rewards[i], terminated[i], truncated[i]) == expected
        active &= ~(terminated | truncated)
    with pytest.raises(envs.ResetNeeded, match="row 0"):
        many.step(["up"] * 4)


def test_what_is_returned_is_the_callers():
    many = Lockstep([envs.make("grid/empty-3") for _ in range(2)], 0)
    states, _ = many.reset()
    kept, states[:] = states.copy(), ""
    assert many.step(["", ""], where=np.zeros(2, bool))[0].tolist() == kept.tolist()


def test_bad_input():
    many = Lockstep([envs.make("grid/empty-3") for _ in range(4)], 0)
    with pytest.raises(envs.ResetNeeded):
        many.step([""] * 4)
    for group in (3, 0, True):
        with pytest.raises(ValueError, match="group must be"):
            many.reset(options={"group": group})
    with pytest.raises(ValueError, match="unknown reset option"):
        many.reset(options={"state": 0})
    many.reset()
    with pytest.raises(ValueError, match="expected 4 actions, got 1"):
        many.step([""])
