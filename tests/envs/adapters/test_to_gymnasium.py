import warnings

import pytest

import envs
from envs.adapters import register_gymnasium, to_gymnasium, to_gymnasium_vector

gymnasium = pytest.importorskip("gymnasium")


@pytest.mark.parametrize("actions", ["text", "discrete"])
def test_every_environment_passes_check_env(actions):
    from gymnasium.utils.env_checker import check_env

    for name in register_gymnasium():
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            check_env(gymnasium.make(name, actions=actions).unwrapped)


def test_discrete_and_text_are_the_same_episode():
    text, discrete = (to_gymnasium(envs.make("grid/frozenlake"), kind) for kind in ("text", "discrete"))
    assert text.reset(seed=4) == discrete.reset(seed=4)
    assert text.step("right") == discrete.step(3)
    with pytest.raises(ValueError, match="actions must be"):
        to_gymnasium(envs.make("grid/cliff"), "words")


def test_vector():
    env = to_gymnasium_vector(envs.make_vector("grid/empty-3", 3, seed=0), "discrete")
    obs, _ = env.reset(seed=1)
    assert obs in env.observation_space
    obs, rewards, *_ = env.step(env.action_space.sample())
    assert obs in env.observation_space
    assert rewards.shape == (3,)
