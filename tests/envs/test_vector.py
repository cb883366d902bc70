import numpy as np
import pytest

import envs
from envs.mdp import ExactMDP
from envs.vector import VectorEnv


def chain():
    """States 0 to 3, one action that goes on; 3 ends."""
    successors = np.array([[[1], [0]], [[2], [1]], [[3], [2]], [[3], [3]]])
    rewards = np.where(successors == 3, 1.0, 0.0)
    rewards[3] = 0
    end = np.arange(4) == 3
    return ExactMDP("chain", np.array(list("0123")), np.array(["n"]), end, np.eye(4)[0], 9, successors,
                    np.ones((4, 2, 1)), rewards)  # fmt: skip


def noisy():
    """A random table with chance, horizon 5."""
    rng = np.random.default_rng(0)
    S, A, K = 6, 3, 3
    end = np.arange(S) == S - 1
    successors, rewards = rng.integers(0, S, (S, A + 1, K)), rng.normal(size=(S, A + 1, K))
    successors[-1], rewards[-1] = S - 1, 0
    return ExactMDP("noisy", np.array(list("uvwxyz")), np.array(["a", "b", "c"]), end, np.where(end, 0, 0.2), 5,
                    successors, rng.dirichlet(np.ones(K), (S, A + 1)), rewards)  # fmt: skip


def test_autoreset_next_step():
    env = VectorEnv(chain(), 2, 0)
    assert env.reset()[0].tolist() == ["0", "0"]
    seen = [env.step(["n", "n"]) for _ in range(5)]
    assert [s[0][0] for s in seen] == ["1", "2", "3", "0", "1"]
    assert [s[1][0] for s in seen] == [0, 0, 1, 0, 0]
    assert [bool(s[2][0]) for s in seen] == [False, False, True, False, False]
    assert [bool(s[4]["reset"][0]) for s in seen] == [False, False, False, True, False]


def test_autoreset_same_step():
    env = VectorEnv(chain(), 1, 0, autoreset="same_step")
    env.reset()
    seen = [env.step(["n"]) for _ in range(5)]
    assert [s[0][0] for s in seen] == ["1", "2", "0", "1", "2"]
    assert seen[2][4]["final_obs"][0] == "3"
    assert seen[2][2][0]
    assert [s[4]["final_obs"][0] for s in seen[:2]] == ["", ""]


def test_autoreset_disabled_and_reset_mask():
    env = VectorEnv(chain(), 2, 0, autoreset="disabled")
    with pytest.raises(envs.ResetNeeded, match="every row"):
        env.reset(options={"reset_mask": np.array([True, False])})
    env.reset()
    env.step(["n", "n"])
    env.step(["n", "n"])
    env.step(["n", ""])
    with pytest.raises(envs.ResetNeeded, match="row 0"):
        env.step(["n", "n"])
    obs, reward, terminated, _, _ = env.step(["n", "n"], where=np.array([False, True]))
    assert (obs.tolist(), reward.tolist(), terminated.tolist()) == (["3", "3"], [0.0, 1.0], [False, True])
    mask = np.array([True, False])
    options = {"reset_mask": mask}
    assert env.reset(options=options)[0].tolist() == ["0", "3"]
    assert options == {"reset_mask": mask}


@pytest.mark.parametrize("autoreset", ["next_step", "same_step"])
@pytest.mark.parametrize("as_array", [False, True])
def test_each_row_is_its_environment_alone(autoreset, as_array):
    mdp, n = noisy(), 7
    vector = VectorEnv(mdp, n, 11, autoreset=autoreset)
    singles = [envs.TextEnv(mdp, 11, index) for index in range(n)]
    assert vector.reset()[0].tolist() == [env.reset()[0] for env in singles]
    rng, over = np.random.default_rng(0), [False] * n
    for _ in range(60):
        actions = rng.choice(["a", "b", "c", "x"], n)
        obs, reward, terminated, truncated, info = vector.step(actions if as_array else actions.tolist())
        for i, env in enumerate(singles):
            if over[i]:
                expected, over[i] = (env.reset()[0], 0.0, False, False), False
            else:
                expected = env.step(str(actions[i]))[:4]
                over[i] = expected[2] or expected[3]
            if over[i] and autoreset == "same_step":
                assert info["final_obs"][i] == expected[0]
                expected, over[i] = (env.reset()[0], *expected[1:]), False
            assert (obs[i], reward[i], terminated[i], truncated[i]) == expected


def test_where_rows_draw_nothing():
    mdp = noisy()
    vector, alone = VectorEnv(mdp, 2, 3, autoreset="disabled"), envs.TextEnv(mdp, 3, 1)
    vector.reset(options={"state": np.zeros(2, int)})
    alone.reset(options={"state": 0})
    for t in range(3):
        before = vector.states
        vector.step(["b", "b"], where=np.array([True, False]))
        assert vector.states[1] == before[1]
        obs, *rest = vector.step(["c", "a"], where=np.array([False, True]))
        assert (obs[1], rest[0][1]) == alone.step("a")[:2]
        if vector.mdp.terminal[vector.states].any() or t == 2:
            break


def test_groups_share_their_first_rows_start():
    plain = envs.make_vector("grid/empty-5", 12, seed=0)
    grouped = envs.make_vector("grid/empty-5", 12, seed=0)
    alone = plain.reset()[0]
    assert grouped.reset(options={"group": 4})[0].tolist() == np.repeat(alone[::4], 4).tolist()
    for group in (5, 0, True, 2.0):
        with pytest.raises(ValueError, match="group must be"):
            grouped.reset(options={"group": group})


def test_observations_are_code_points_and_never_change():
    env = envs.make_vector("grid/empty-5", 8, seed=0)
    obs, _ = env.reset()
    kept, states = obs.copy(), env.states
    points = obs.view(np.uint32).reshape(8, -1)
    assert ["".join(map(chr, row)) for row in points] == obs.tolist()
    env.states[:] = 0
    for _ in range(5):
        outputs = env.step(["up"] * 8)
        for array in outputs[:4]:
            array[...] = array[::-1].copy()
    assert (obs == kept).all()
    assert states.shape == (8,)
    assert env.render().count("\n\n") == 7


def test_bad_input():
    env = envs.make_vector("grid/empty-3", 2, seed=0)
    with pytest.raises(envs.ResetNeeded):
        env.step(["up", "up"])
    with pytest.raises(envs.ResetNeeded):
        env.render()
    env.reset()
    with pytest.raises(ValueError, match="expected 2 actions, got 1"):
        env.step(["up"])
    with pytest.raises(TypeError, match="action 1 must be a str, got int"):
        env.step(["up", 3])
    with pytest.raises(ValueError, match="where must be bool"):
        env.step(["up", "up"], where=[1, 0])
    with pytest.raises(ValueError, match="start states"):
        env.reset(options={"state": [0]})
    with pytest.raises(ValueError, match="n must be"):
        envs.make_vector("grid/empty-3", 0)
    with pytest.raises(ValueError, match="autoreset"):
        envs.make_vector("grid/empty-3", 1, autoreset="no")


@pytest.mark.parametrize("autoreset", ["next_step", "same_step", "disabled"])
def test_reset_clears_the_step_counter(autoreset):
    """Gymnasium #885: also where only some rows are reset, and where other rows' time has run out."""
    mdp = envs.exact("grid/cliff")
    env = VectorEnv(mdp, 3, 0, autoreset=autoreset)
    env.reset()
    for _ in range(mdp.horizon - 1):
        assert not env.step(["up"] * 3)[3].any()
    env.reset(options={"reset_mask": np.array([False, True, True])})
    assert env.step(["up"] * 3)[3].tolist() == [True, False, False]
    where = np.array([False, True, True]) if autoreset == "disabled" else None
    late = [env.step(["up"] * 3, where=where)[3].tolist() for _ in range(mdp.horizon - 1)]
    assert [row[1:] for row in late] == [[False, False]] * (mdp.horizon - 2) + [[True, True]]


def test_a_row_that_rests_loses_no_time():
    env = VectorEnv(chain(), 2, 0, autoreset="disabled")
    env.reset()
    for _ in range(20):
        env.step(["", ""], where=np.array([False, False]))
    ends = [env.step(["", ""], where=np.array([True, k % 2 == 0]))[3].tolist() for k in range(9)]
    assert ends[-1] == [True, False]
    assert not np.any(ends[:-1])
