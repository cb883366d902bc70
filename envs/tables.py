"""Two ways to write an ExactMDP down: by a step function that is explored, and by scores of one-step answers."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from envs.mdp import ExactMDP

MAX_STATES = 100_000

class TooManyStates(ValueError):
    """More states can be reached than a table is allowed to have."""


Outcomes = Iterable[tuple[float, Any, float]]


def tabulate(
    id: str,
    *,
    start: Mapping[Any, float],
    actions: Sequence[str],
    outcomes: Callable[[Any, str], Outcomes],
    terminal: Callable[[Any], bool],
    text: Callable[[Any], str],
    horizon: int,
    invalid_reward: float,
    limit: int = MAX_STATES,
) -> ExactMDP:
    """Build the table of a step function by visiting every state that can be reached.

    Parameters
    ----------
    start : mapping from start state (any hashable value) to probability
    actions : the canonical strings
    outcomes : (state, action) -> (probability, next state, reward) triples; equal (state, reward) pairs are merged
    terminal : state -> bool
    text : state -> str, one-to-one
    horizon : int
    invalid_reward : what a non-canonical string is paid; it leaves the state unchanged
    limit : the greatest number of states; more are TooManyStates, a ValueError
    """
    numbers: dict[Any, int] = {state: i for i, state in enumerate(start)}
    states = list(numbers)
    rows = []
    for state in states:  # grows while it is walked: breadth first
        if terminal(state):
            rows.append([{(numbers[state], 0.0): 1.0}] * (len(actions) + 1))
            continue
        if len(states) > limit:
            raise TooManyStates(f"{id}: more than {limit} states can be reached")
        row = [_merged(outcomes(state, action), numbers, states) for action in actions]
        rows.append([*row, {(numbers[state], invalid_reward): 1.0}])
    return ExactMDP(
        id, np.array([text(s) for s in states]), np.array(actions), np.array([terminal(s) for s in states]),
        np.array([start.get(s, 0.0) for s in states]), horizon, *_dense(rows),
    )  # fmt: skip


def _merged(outcomes: Outcomes, numbers: dict, states: list) -> dict[tuple[int, float], float]:
    merged: dict[tuple[int, float], float] = {}
    for probability, state, reward in outcomes:
        if state not in numbers:
            numbers[state] = len(states)
            states.append(state)
        key = numbers[state], float(reward)
        merged[key] = merged.get(key, 0.0) + probability
    return {key: p for key, p in merged.items() if p > 0}


def _dense(rows: list) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pad the outcome lists to K entries: a padding entry repeats the first outcome with probability 0."""
    K = max(len(cell) for row in rows for cell in row)
    padded = [[[(*key, p) for key, p in c.items()] + [(*next(iter(c)), 0.0)] * (K - len(c)) for c in r] for r in rows]
    table = np.array(padded)
    return table[..., 0].astype(np.intp), table[..., 2], table[..., 1]


def one_step(id: str, prompts: Sequence[str], answers: Sequence[str], scores: np.ndarray) -> ExactMDP:
    r"""Build the table of a one-step task: read a prompt, write an answer, be paid its score; $J = \sum_i r_i p(b_i)$.

    Prompts are equally likely; after an answer comes the terminal state with the empty text; `invalid` pays 0.

    Parameters
    ----------
    prompts : S - 1 strings, not empty
    answers : A strings
    scores : ndarray of shape (S - 1, A)
    """
    S, A = len(prompts) + 1, len(answers)
    rewards = np.zeros((S, A + 1, 1))
    rewards[:-1, :-1, 0] = scores
    successors = np.full((S, A + 1, 1), S - 1)
    successors[:, -1, 0] = np.arange(S)
    terminal = np.arange(S) == S - 1
    start = np.where(terminal, 0.0, 1.0 / (S - 1))
    texts = np.array([*prompts, ""])
    return ExactMDP(id, texts, np.array(answers), terminal, start, 1, successors, np.ones(successors.shape), rewards)


def strings_up_to(letters: str, length: int, shortest: int = 0) -> list[str]:
    """Return every string of `shortest` to `length` of the letters, short ones first, then alphabetically."""
    layer, found = [""], [""]
    for _ in range(length):
        layer = [text + letter for text in layer for letter in letters]
        found += layer
    return [text for text in found if len(text) >= shortest]
