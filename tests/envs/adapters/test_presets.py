import pytest

import envs

pytest.importorskip("gymnasium")


def test_gymnasiums_own_options():
    dry = envs.exact("gymnasium:FrozenLake-v1", is_slippery=False)
    assert dry.solve().J == 1 > envs.exact("gymnasium:FrozenLake-v1").solve().J
    assert len(envs.exact("gymnasium:FrozenLake-v1", map_name="8x8").state_texts) == 64
    for options, message in (
        ({"slip": 0}, "has no option 'slip'"),
        ({"is_rainy": True}, "cannot be made"),
        ({"map_name": "9x9"}, "cannot be made"),
    ):
        with pytest.raises(ValueError, match=message):
            envs.exact("gymnasium:FrozenLake-v1", **options)


def test_a_level_has_none_of_them():
    pytest.importorskip("minigrid")
    with pytest.raises(ValueError, match="has no option 'is_slippery'"):
        envs.exact("gymnasium:MiniGrid-Empty-5x5-v0", is_slippery=True)


def test_a_name_without_a_preset():
    with pytest.raises(ValueError, match="presets exist for FrozenLake, CliffWalking, Taxi, MiniGrid, BabyAI"):
        envs.exact("gymnasium:CartPole-v1")


def test_a_name_that_gymnasium_does_not_know():
    for name in ("FrozenLake-v99", "CliffWalking-vx"):
        with pytest.raises(ValueError, match=f"gymnasium:{name} cannot be made"):
            envs.exact(f"gymnasium:{name}")
    pytest.importorskip("minigrid")
    with pytest.raises(ValueError, match="MiniGrid-Nowhere-v0 cannot be made"):
        envs.exact("gymnasium:MiniGrid-Nowhere-v0")
    for seeds in (0, True, "2", 1.5):
        with pytest.raises(ValueError, match="seeds must be an integer >= 1"):
            envs.exact("gymnasium:MiniGrid-Empty-5x5-v0", seeds=seeds)
