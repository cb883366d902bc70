import numpy as np
import pytest

import envs
from envs.lakes import random_tiles, solvable


def law(mdp, state, action):
    a = mdp.action_numbers[action]
    return {int(s): p for s, p in zip(mdp.successors[state, a], mdp.probabilities[state, a], strict=True) if p}


def cell(mdp, row, column):
    return next(i for i, t in enumerate(mdp.state_texts.tolist()) if t.split("\n")[row][column] in "AX*")


def test_right_from_the_start_slips_to_the_sides_and_never_backwards():
    mdp = envs.exact("grid/frozenlake", slip=0.25)
    start, right, below = cell(mdp, 0, 0), cell(mdp, 0, 1), cell(mdp, 1, 0)
    assert law(mdp, start, "right") == {right: 0.75, below: 0.125, start: 0.125}


def test_frozenlake_values():
    mdp = envs.exact("grid/frozenlake")
    assert pytest.approx(0.7441902878, abs=5e-11) == mdp.solve().J
    assert mdp.value(mdp.stationary_policy()) == pytest.approx(0.7401648978, abs=5e-11)
    assert mdp.value(mdp.uniform()) == pytest.approx(0.0139398, abs=5e-8)


def test_cliff_costs_a_hundred_and_goes_on():
    mdp = envs.exact("grid/cliff")
    assert mdp.solve().J == -13
    assert mdp.value(mdp.stationary_policy()) == -13
    env = envs.make("grid/cliff")
    start, _ = env.reset()
    assert env.step("right")[:4] == (start, -100.0, False, False)
    assert env.step("r")[:2] == (start, -2.0)
    for action in ["up"] + ["right"] * 11 + ["down"]:
        last = env.step(action)
    assert last[1:4] == (-1.0, True, False)


def test_random_maps_are_solvable_and_fixed_by_their_seed():
    for seed in range(20):
        tiles = random_tiles(4, 0.5, seed)
        assert solvable(tiles)
        assert tiles == random_tiles(4, 0.5, seed)
    assert not solvable(("SH", "HG"))
    assert envs.exact("grid/frozenlake-random-5", map_seed=3).solve().J == 1
    with pytest.raises(ValueError, match="slip"):
        envs.exact("grid/frozenlake", slip=1.5)
    with pytest.raises(ValueError, match="holes"):
        envs.exact("grid/frozenlake-random-4", holes=1.0)


def outcomes(mdp, s, a, number):
    cells = zip(mdp.successors[s, a], mdp.rewards[s, a], mdp.probabilities[s, a], strict=True)
    return {(int(number[after]), reward): p for after, reward, p in cells if p}


PEERS = [
    ("grid/frozenlake", "FrozenLake-v1"),
    ("grid/frozenlake-8", "FrozenLake8x8-v1"),
    ("grid/cliff", "CliffWalking-v1"),
]


@pytest.mark.parametrize(("id", "name"), PEERS)
def test_tables_equal_gymnasiums_own(id, name):
    pytest.importorskip("gymnasium")
    ours, theirs = envs.exact(id), envs.exact(f"gymnasium:{name}")
    spelling = {ord("F"): ".", ord("O"): "H"}
    texts = [[text.translate(spelling) for text in mdp.state_texts.tolist()] for mdp in (ours, theirs)]
    state = np.array([texts[1].index(text) for text in texts[0]])  # ours -> theirs
    action = [theirs.action_numbers[text] for text in ours.action_texts.tolist()]
    same = np.arange(len(state))
    for s in np.flatnonzero(~ours.terminal):
        for a in range(4):
            peer = outcomes(theirs, state[s], action[a], same)
            assert outcomes(ours, s, a, state) == pytest.approx(peer, abs=1e-15)
