import pytest

import envs

gymnasium = pytest.importorskip("gymnasium")


def test_presets():
    assert pytest.approx(0.7441902878, abs=5e-11) == envs.exact("gymnasium:FrozenLake-v1").solve().J
    assert envs.exact("gymnasium:CliffWalking-v1").solve().J == -13
    assert envs.check(envs.exact("gymnasium:FrozenLake-v1"))


def test_nonsense_never_saves_the_cost_of_steps():
    taxi = max(name for name in gymnasium.registry if name.startswith("Taxi-v"))
    for name, cost in (("FrozenLake-v1", 0.1), ("CliffWalking-v1", 1.1), (taxi, 1.1)):
        mdp = envs.exact(f"gymnasium:{name}")
        assert set(mdp.mean_rewards[~mdp.terminal, -1].tolist()) == {-cost}
        assert (mdp.solve().Q[0, ~mdp.terminal].argmax(-1) < mdp.invalid).all()
