"""J* against searches that share nothing with backward induction: every history, and routes counted by hand."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

import envs
from envs import adventure, keydoor

SMALLEST = [  # id, options, and the steps for which every history is walked
    ("grid/empty-3", {}, 5),
    ("grid/frozenlake-random-2", {"slip": 0.5}, 3),
    ("grid/cliff", {"slip": 0.2}, 3),
    ("grid/keydoor", {}, 3),
    ("text/bandit-1-1", {}, 1),
    ("text/copy-1-1", {}, 1),
    ("text/reverse-2-2", {}, 1),
    ("text/sort-2-2", {}, 1),
    ("text/dedup-2-2", {}, 1),
    ("text/arith-2", {}, 1),
    ("text/countdown-2", {}, 1),
    ("code/rpn-3", {}, 1),
    ("code/robot-3", {}, 1),
    ("translate/lexicon", {}, 1),
    ("generate/grammar-2", {}, 1),
    ("dialogue/slots", {}, 3),
    ("dialogue/slots-observed", {}, 3),
    ("adventure/rooms", {}, 3),
]


def best(lists, state, steps):
    """The greatest expected sum of rewards, by walking every action and outcome; nothing is remembered."""
    if steps == 0:
        return 0.0
    return max(
        sum(p * (reward + best(lists, after, steps - 1)) for p, after, reward in outcomes) for outcomes in lists[state]
    )


def outcome_lists(mdp):
    """(probability, next state, reward) of the outcomes that happen, as plain lists by state and action."""
    table = np.stack([mdp.probabilities, mdp.successors, mdp.rewards], -1).tolist()
    return [[[(p, int(s), r) for p, s, r in cell if p] for cell in row] for row in table]


@pytest.mark.parametrize(("id", "options", "steps"), SMALLEST, ids=[case[0] for case in SMALLEST])
def test_every_history(id, options, steps):
    mdp = replace(envs.exact(id, **options), horizon=steps)
    lists, solution = outcome_lists(mdp), mdp.solve()
    starts = np.flatnonzero(~mdp.terminal)[:: max(1, (~mdp.terminal).sum() // 24)]
    expected = [best(lists, s, steps) for s in starts]
    assert solution.V[0, starts] == pytest.approx(expected, rel=1e-13, abs=1e-13)
    assert mdp.value(solution.policy) == pytest.approx(solution.J, rel=1e-13)
    if steps == 1:
        everywhere = [best(lists, s, 1) for s in range(len(lists))]
        assert pytest.approx(mdp.start @ everywhere, rel=1e-13) == solution.J


def test_no_stationary_policy_of_a_slippery_lake_beats_the_optimum_and_the_best_is_found():
    mdp = replace(envs.exact("grid/frozenlake-random-2", slip=0.5), horizon=400)  # long: the time does not matter
    S, choices = len(mdp.state_texts), np.eye(mdp.invalid + 1)[:, :-1]
    values = [mdp.value(choices[list(actions)]) for actions in product(range(mdp.invalid + 1), repeat=S)]
    assert pytest.approx(max(values), abs=1e-12) == mdp.solve().J
    assert mdp.value(mdp.stationary_policy()) == pytest.approx(max(values), abs=1e-12)


def test_empty_room_by_distances():
    cells = list(product(range(3), repeat=2))
    distances = [abs(a - c) + abs(b - d) for a, b in cells for c, d in cells if (a, b) != (c, d)]
    assert pytest.approx(1 - 0.05 * np.mean(distances), rel=1e-14) == envs.exact("grid/empty-3").solve().J
    assert pytest.approx(1 - 0.05 * np.mean(distances), rel=1e-14) == envs.exact("code/robot-3").solve().J


def test_keydoor_by_distances():
    def walk(a, b):
        return abs(a[0] - b[0]) + abs(a[1] - b[1])

    left = list(product(range(keydoor.HEIGHT), range(keydoor.WALL)))
    right = list(product(range(keydoor.HEIGHT), range(keydoor.WALL + 1, keydoor.WIDTH)))
    lengths = [
        walk(agent, key) + 1 + walk(key, (door, keydoor.WALL - 1)) + 1 + 1 + walk((door, keydoor.WALL), goal)
        for agent, key, door, goal in product(left, left, range(keydoor.HEIGHT), right)
        if agent != key
    ]
    assert pytest.approx(1.4 - 0.02 * np.mean(lengths), rel=1e-13) == envs.exact("grid/keydoor").solve().J


def test_rooms_by_distances():
    def walk(a, b):
        return (a != b) * (1 if "hall" in (a, b) else 2)

    lengths = [walk(room, key) + 1 + walk(key, "hall") + 1 + 1 for room, key in product(adventure.EXITS, repeat=2)]
    assert pytest.approx(1.4 - 0.02 * np.mean(lengths), rel=1e-13) == envs.exact("adventure/rooms").solve().J
