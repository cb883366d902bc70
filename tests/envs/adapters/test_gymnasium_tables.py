from dataclasses import replace

import numpy as np
import pytest

import envs

gymnasium = pytest.importorskip("gymnasium")


def test_presets():
    assert pytest.approx(0.7441902878, abs=5e-11) == envs.exact("gymnasium:FrozenLake-v1").solve().J
    assert envs.exact("gymnasium:CliffWalking-v1").solve().J == -13
    assert envs.check(envs.exact("gymnasium:FrozenLake-v1"))
    with pytest.raises(ValueError, match="presets exist for"):
        envs.exact("gymnasium:CartPole-v1")


def test_minigrid_level():
    pytest.importorskip("minigrid")
    mdp = envs.exact("gymnasium:MiniGrid-Empty-5x5-v0")
    assert pytest.approx(1 - 0.9 / 100) == mdp.solve().J
    plan = ["forward", "forward", "right", "forward", "forward"]
    env = envs.make("gymnasium:MiniGrid-Empty-5x5-v0")
    env.reset()
    assert [env.step(action)[2] for action in plan] == [False] * 4 + [True]


def kernel(mdp):
    """(state text, action, next state text) -> (probability, mean reward), wherever the probability is not zero."""
    law = {}
    for s, a, k in zip(*np.nonzero(mdp.probabilities[:, :-1]), strict=True):
        if not mdp.terminal[s]:
            key = mdp.state_texts[s], mdp.action_texts[a], mdp.state_texts[mdp.successors[s, a, k]]
            p, reward = law.get(key, (0.0, 0.0))
            law[key] = p + mdp.probabilities[s, a, k], reward + mdp.probabilities[s, a, k] * mdp.rewards[s, a, k]
    return {tuple(map(str, key)): value for key, value in law.items()}


@pytest.mark.parametrize(
    ("ours", "theirs", "translate"),
    [
        ("grid/frozenlake", "gymnasium:FrozenLake-v1", {"O": "H", ".": "F"}),
        ("grid/frozenlake-8", "gymnasium:FrozenLake8x8-v1", {"O": "H", ".": "F"}),
        ("grid/cliff", "gymnasium:CliffWalking-v1", {}),
    ],
)
def test_our_tables_are_those_of_gymnasiums_kernel(ours, theirs, translate):
    ours, theirs = envs.exact(ours), envs.exact(theirs)
    table = str.maketrans(translate)
    mine = {(s.translate(table), a, e.translate(table)): law for (s, a, e), law in kernel(ours).items()}
    assert mine == {key: pytest.approx(law, abs=1e-15) for key, law in kernel(theirs).items()}
    assert pytest.approx(replace(theirs, horizon=ours.horizon).solve().J, rel=1e-13) == ours.solve().J
    start = ours.state_texts[ours.start > 0].tolist()
    assert [text.translate(table) for text in start] == theirs.state_texts[theirs.start > 0].tolist()


def test_nonsense_never_saves_the_cost_of_steps():
    taxi = max(name for name in gymnasium.registry if name.startswith("Taxi-v"))
    for name, cost in (("FrozenLake-v1", 0.1), ("CliffWalking-v1", 1.1), (taxi, 1.1)):
        mdp = envs.exact(f"gymnasium:{name}")
        assert set(mdp.mean_rewards[~mdp.terminal, -1].tolist()) == {-cost}
        assert (mdp.solve().Q[0, ~mdp.terminal].argmax(-1) < mdp.invalid).all()
