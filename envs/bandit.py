r"""A bandit over strings: one step, every string of at most L of V letters has a reward, so $J = \sum_i r_i\,p(b_i)$ is exact."""

from __future__ import annotations

import itertools

import numpy as np

from envs import rng
from envs.core import register
from envs.errors import EnvError
from envs.mdp import ExactMDP

LETTERS = "abcdefghijklmnopqrstuvwxyz"
MOST_STRINGS = 20_000
REWARD_KEY = 20260


def strings(letters: str, longest: int) -> list[str]:
    """Return every string of at most ``longest`` of the letters, the empty one first, shorter before longer."""
    return ["".join(word) for length in range(longest + 1) for word in itertools.product(letters, repeat=length)]


def bandit(id: str, v: int, l: int) -> ExactMDP:  # noqa: E741 (V-L is the name in the id)
    r"""``text/bandit-V-L``: one state with the text ``?``, one step, actions: all strings of at most L of the first V letters.

    String number i (the empty one is 0, shorter before longer, then in alphabetical order) pays $u_i$, draw i of the counter-based
    stream ``REWARD_KEY`` (:func:`envs.rng.uniform`), a fixed number in [0, 1); any other string pays 0. The prompt is not empty, so
    that a terminal state with another text can tell that the step was taken.
    """
    if not (1 <= v <= len(LETTERS) and l >= 1 and sum(v**k for k in range(l + 1)) <= MOST_STRINGS):
        raise EnvError(f"{id}: V must be between 1 and {len(LETTERS)}, L at least 1, with at most {MOST_STRINGS} strings in all")
    actions = strings(LETTERS[:v], l)
    pays = [rng.uniform(REWARD_KEY, i) for i in range(len(actions))]
    rewards = np.zeros((2, len(actions) + 1, 1))
    rewards[0, :-1, 0] = pays
    return ExactMDP(
        id=id,
        state_texts=np.array(["?", "."]),
        action_texts=np.array(actions),
        successors=np.ones(rewards.shape, dtype=np.int64),
        probabilities=np.ones(rewards.shape),
        rewards=rewards,
        terminal=np.array([False, True]),
        start=np.array([1.0, 0.0]),
        horizon=1,
    )


register("text/bandit-{v}-{l}", bandit)
