import pytest

import envs
from envs.adapters import minigrid_levels
from envs.adapters.minigrid_levels import PlayedLevel, level

pytest.importorskip("gymnasium")
pytest.importorskip("minigrid")
EMPTY = "MiniGrid-Empty-5x5-v0"
PLAN = ["forward", "forward", "right", "forward", "forward"]


def test_a_level_is_a_table_where_that_is_small_enough():
    mdp = envs.exact(f"gymnasium:{EMPTY}")
    assert pytest.approx(1 - 0.9 / 100) == mdp.solve().J
    env = envs.make(f"gymnasium:{EMPTY}")
    env.reset()
    assert [env.step(action)[2] for action in PLAN] == [False] * 4 + [True]


def test_a_level_of_too_many_states_is_played(monkeypatch):
    monkeypatch.setattr("envs.adapters.gymnasium_tables.MAX_COPIES", 20)
    assert isinstance(level("x", EMPTY, seeds=6), PlayedLevel)
    assert isinstance(level("x", EMPTY, seeds=6), PlayedLevel)
    assert minigrid_levels._table.cache_info().hits  # it is not explored again
    minigrid_levels._table.cache_clear()


def test_a_played_level():
    env = envs.make(f"gymnasium:{EMPTY}", table=False)
    assert isinstance(env, PlayedLevel)
    assert envs.check(env) == ["protocol", "seeding", "render"]
    with pytest.raises(ValueError, match="has no exact table"):
        envs.exact(f"gymnasium:{EMPTY}", table=False)
    table = envs.make(f"gymnasium:{EMPTY}")
    assert env.reset(seed=0)[0] == table.reset()[0]
    for action in PLAN:
        ours, theirs = env.step(action), table.step(action)
        assert (ours[0], *ours[2:]) == (theirs[0].removesuffix(" (end)"), *theirs[2:])
    assert ours[1] == 1 - 0.9 * len(PLAN) / 100  # the table pays every success as one after one step
    start, _ = env.reset()
    assert env.step("Forward")[:2] == (start, -0.1)


def test_its_episodes_begin_with_the_resets_of_its_seeds():
    env = envs.make("gymnasium:MiniGrid-DoorKey-5x5-v0", table=False, seeds=3)
    assert len({env.reset(seed=seed)[0] for seed in range(40)}) == 3
    assert len({env.reset()[0] for _ in range(40)}) == 3
