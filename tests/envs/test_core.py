import numpy as np
import pytest

import envs
from envs.core import _REGISTRY, _build


def trajectory(env, steps=300):
    words = ["up", "down", "left", "right", "nonsense"]
    rows, obs = [], env.reset()[0]
    for t in range(steps):
        obs, reward, terminated, truncated, _ = env.step(words[(7 * t + len(rows)) % 5])
        rows.append((obs, reward, terminated, truncated))
        if terminated or truncated:
            rows.append(env.reset()[0])
    return rows


def test_same_seed_same_trajectory_and_global_state_untouched():
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    assert trajectory(envs.make("grid/empty-3", seed=0)) == trajectory(envs.make("grid/empty-3", seed=0))
    assert trajectory(envs.make("grid/empty-3", seed=0)) != trajectory(envs.make("grid/empty-3", seed=1))
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002


def test_reset_with_seed_begins_the_stream_anew_and_without_goes_on():
    env = envs.make("grid/empty-5", seed=0)
    first = [env.reset()[0] for _ in range(20)]
    assert len(set(first)) > 10
    assert env.reset(seed=0)[0] == first[0]
    assert env.reset()[0] == first[1]


def test_fifty_unseeded_environments_differ():
    assert len({envs.make("grid/empty-5").reset()[0] for _ in range(50)}) > 30


def test_step_before_reset_and_after_the_end():
    env = envs.make("text/bandit-2-1", seed=0)
    for call in (lambda: env.step("a"), env.render):
        with pytest.raises(envs.ResetNeeded, match="text/bandit-2-1"):
            call()
    env.reset()
    assert env.step("a")[2:4] == (True, False)
    with pytest.raises(envs.ResetNeeded):
        env.step("a")


def test_wrong_type_raises_and_wrong_text_does_not():
    env = envs.make("grid/empty-3", seed=0)
    start, _ = env.reset()
    for action in (3, None, b"up", ["up"]):
        with pytest.raises(TypeError, match="action must be a str"):
            env.step(action)
    for action in ("", "up ", "UP", "up\0", "u\u0000", "\ud800", "upup"):
        assert env.step(action)[:2] == (start, -0.1)
        assert env.render() == start
        env.reset(options={"state": env.mdp.state_texts.tolist().index(start)})


def test_truncation_at_the_horizon_and_termination_exactly_there():
    env = envs.make("grid/empty-3", seed=0)
    env.reset(options={"state": 0})  # agent top left, goal right of it
    for _ in range(env.mdp.horizon - 1):
        assert env.step("up")[2:4] == (False, False)
    assert env.step("up")[2:4] == (False, True)
    env.reset(options={"state": 0})
    for _ in range(env.mdp.horizon - 1):
        env.step("up")
    assert env.step("right")[1:4] == (0.95, True, False)


def test_reset_options_are_checked_and_never_changed():
    env = envs.make("grid/empty-3", seed=0)
    options = {"state": 5}
    assert env.reset(options=options)[0] == env.mdp.state_texts[5]
    assert options == {"state": 5}
    with pytest.raises(ValueError, match="unknown reset option 'stat'"):
        env.reset(options={"stat": 1})
    with pytest.raises(ValueError, match="integers"):
        env.reset(options={"state": 1.0})
    with pytest.raises(ValueError, match="non-terminal"):
        env.reset(options={"state": 10_000})


def test_unknown_ids_and_options():
    with pytest.raises(envs.UnknownEnvironment, match="grid/empty-5"):
        envs.make("grid/emty-5")
    with pytest.raises(envs.UnknownEnvironment):
        envs.exact("grid/empty-05")
    with pytest.raises(ValueError, match="no option 'size'"):
        envs.make("grid/empty-5", size=3)
    with pytest.raises(ValueError, match="at least 3"):
        envs.make("grid/empty-2")
    with pytest.raises(TypeError, match="seed"):
        envs.make("grid/empty-5", seed=0.0)
    with pytest.raises(TypeError, match="id must be a str"):
        envs.make(3)


def test_tables_are_shared():
    assert envs.exact("grid/empty-5") is envs.exact("grid/empty-5")
    assert "grid/empty-5" in envs.ids()


def test_register_a_user_environment():
    def coin(id, N, bias=0.5):
        from envs.tables import tabulate

        return tabulate(
            id, start={"?": 1.0}, actions=["heads"], outcomes=lambda s, a: [(bias, "h", N), (1 - bias, "t", 0)],
            terminal=lambda s: s != "?", text=str, horizon=1, invalid_reward=0.0,
        )  # fmt: skip

    envs.register("user/coin-{N}", coin, ("user/coin-2",))
    try:
        assert envs.exact("user/coin-3", bias=0.25).solve().J == 0.75
        assert "user/coin-2" in envs.ids()
    finally:
        del _REGISTRY["user/coin-{N}"]
        _build.cache_clear()


def test_simple_env_loop():
    env = envs.SimpleEnv(envs.make("text/bandit-2-1", seed=0))
    assert env.get_state() == "?"
    assert not env.done
    reward, state = env.step("a")
    assert (state, env.done) == ("", True)
    assert reward == envs.exact("text/bandit-2-1").rewards[0, 1, 0]
    assert env.reset() == "?"
    assert not env.done


def test_reset_clears_the_step_counter():
    """Gymnasium #885: an episode broken off takes none of the next one's time."""
    env, horizon = envs.make("grid/cliff", seed=0), envs.exact("grid/cliff").horizon
    for broken_off in (horizon - 1, 3):
        env.reset()
        assert not any(env.step("up")[3] for _ in range(broken_off))
    env.reset()
    assert [env.step("up")[3] for _ in range(horizon)] == [False] * (horizon - 1) + [True]


def test_fifty_unseeded_resets_differ():
    env = envs.make("grid/empty-5")
    assert len({env.reset()[0] for _ in range(50)}) > 30
    assert len(set(envs.make_vector("grid/empty-5", 50).reset()[0].tolist())) > 30


def test_seed_zero_is_a_seed():
    """minerl #14: 0 is not taken for "no seed"."""
    assert [envs.make("grid/empty-5", seed=0).reset()[0] for _ in range(5)] == [envs.make("grid/empty-5").reset(seed=0)[0]] * 5
    vector = envs.make_vector("grid/empty-5", 64, seed=0)
    first = vector.reset()[0].tolist()
    assert vector.reset()[0].tolist() != first
    assert vector.reset(seed=0)[0].tolist() == first
    assert sum(a == b for a, b in zip(first, envs.make_vector("grid/empty-5", 64, seed=1).reset()[0].tolist(), strict=True)) < 5
