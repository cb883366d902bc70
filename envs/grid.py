"""Grid worlds, drawn as text, moved in by words."""

from __future__ import annotations

import numpy as np

from envs.core import register
from envs.errors import EnvError
from envs.mdp import ExactMDP

MOVES = {"up": (-1, 0), "down": (1, 0), "left": (0, -1), "right": (0, 1)}
GOAL_REWARD, STEP_COST, INVALID_COST, STEPS_PER_SIDE = 1.0, 0.05, 0.1, 2
LARGEST = 12


def empty(id: str, n: int) -> ExactMDP:
    r"""``grid/empty-N``: an empty N × N room; agent ``A`` and goal ``G`` start on distinct cells, all pairs equally likely.

    Every step costs ``STEP_COST`` = 0.05, reaching the goal pays ``GOAL_REWARD`` = 1 and ends the episode (drawn ``*``); the border stops a
    move. A string that is not one of ``up down left right`` leaves the state unchanged and costs ``INVALID_COST`` = 0.1. The horizon
    is ``STEPS_PER_SIDE``·N = 2N steps. There are $N^2(N^2-1)$ states before the goal and $N^2$ on it.
    """
    if not 3 <= n <= LARGEST:
        raise EnvError(f"{id}: N must be between 3 and {LARGEST}")
    cells = n * n
    agent, goal = np.divmod(np.arange(cells * cells), cells)
    on_goal = agent == goal
    target = np.stack([_moved(agent, n, *move) for move in MOVES.values()] + [agent], axis=1)  # the last: invalid stays
    target = np.where(on_goal[:, None], agent[:, None], target)
    rewards = np.where(target == goal[:, None], GOAL_REWARD, 0.0) - STEP_COST
    rewards[:, -1] = -INVALID_COST
    rewards[on_goal] = 0.0
    return ExactMDP(
        id=id,
        state_texts=np.array([_draw(n, a, g) for a, g in zip(agent.tolist(), goal.tolist(), strict=True)]),
        action_texts=np.array(list(MOVES)),
        successors=(target * cells + goal[:, None])[..., None],
        probabilities=np.ones((*target.shape, 1)),
        rewards=rewards[..., None],
        terminal=on_goal,
        start=~on_goal / (~on_goal).sum(),
        horizon=STEPS_PER_SIDE * n,
    )


def _moved(cell: np.ndarray, n: int, down: int, right: int) -> np.ndarray:
    """Cell after a move; the border stops it."""
    row, column = np.divmod(cell, n)
    return np.clip(row + down, 0, n - 1) * n + np.clip(column + right, 0, n - 1)


def _draw(n: int, agent: int, goal: int) -> str:
    cells = ["."] * (n * n)
    cells[goal] = "G"
    cells[agent] = "*" if agent == goal else "A"
    return "\n".join("".join(cells[i : i + n]) for i in range(0, n * n, n))


register("grid/empty-{n}", empty)
