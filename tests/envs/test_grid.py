import numpy as np
import pytest

import envs


def test_empty_5_has_600_running_states_and_every_text_shows_agent_and_goal():
    mdp = envs.exact("grid/empty-5")
    assert (~mdp.terminal).sum() == 600
    assert mdp.horizon == 10
    for text, terminal in zip(mdp.state_texts.tolist(), mdp.terminal, strict=True):
        assert [len(line) for line in text.split("\n")] == [5] * 5
        assert (text.count("*"), text.count("A"), text.count("G")) == ((1, 0, 0) if terminal else (0, 1, 1))


@pytest.mark.parametrize("N", [3, 4, 5])
def test_empty_optimum_is_the_mean_manhattan_distance(N):
    mdp = envs.exact(f"grid/empty-{N}")
    cells = np.indices((N, N)).reshape(2, -1)
    distance = np.abs(cells[:, :, None] - cells[:, None]).sum(0)
    mean = distance.sum() / (N * N * (N * N - 1))
    assert pytest.approx(1 - 0.05 * mean, rel=1e-13) == mdp.solve().J


def test_bumping_stays():
    env = envs.make("grid/empty-3")
    env.reset(options={"state": 0})
    assert env.render() == "AG.\n...\n..."
    assert env.step("left")[:2] == ("AG.\n...\n...", -0.05)
    assert env.step("down")[0] == ".G.\nA..\n..."
