import numpy as np
import pytest

import envs
from envs.vector import VectorEnv


@pytest.mark.parametrize("id", envs.ids())
def test_every_environment_passes(id):
    passed = envs.check(id)
    assert {"protocol", "seeding", "render", "kernel", "texts", "simulator", "aliasing"} == set(passed)


class Broken(envs.TextEnv):
    fault = ""

    def step(self, action):
        if self.fault == "type" and not isinstance(action, str):
            return super().step("")
        if self.fault == "end" and self._row is self._over:
            return "", 0.0, True, False, {}
        obs, reward, *rest = super().step(action)
        return obs, (np.float32(reward) if self.fault == "reward" else reward), *rest

    def reset(self, *, seed=None, options=None):
        return super().reset(seed=None if self.fault == "seed" else seed, options=options)

    def render(self):
        if self.fault == "render":
            self.step("up")
        return super().render()


@pytest.mark.parametrize("fault", ["type", "end", "reward", "seed", "render"])
def test_faults_are_found(fault):
    env = Broken(envs.exact("grid/empty-5"), 0)
    assert envs.check(env)
    env.fault = fault
    with pytest.raises(envs.CheckFailed):
        envs.check(env)


def test_a_simulator_that_ignores_chance_is_found(monkeypatch):
    right = envs.ExactMDP.lots
    monkeypatch.setattr(envs.ExactMDP, "lots", lambda self, u: right(self, u * 0.9))
    assert envs.check("grid/empty-3")
    with pytest.raises(envs.CheckFailed, match="frequencies differ"):
        envs.check("grid/frozenlake")


def test_a_vector_that_hands_out_its_own_states_is_found(monkeypatch):
    monkeypatch.setattr(VectorEnv, "states", property(lambda self: self._states))
    with pytest.raises(envs.CheckFailed):
        envs.check("grid/empty-3")
