r"""A grid with a key and a door: three sub-goals in order."""

from itertools import product

from envs.core import register
from envs.grid import MOVES, move
from envs.mdp import ExactMDP
from envs.tables import tabulate

HEIGHT, WIDTH, WALL = 3, 5, 2
STEP_COST, INVALID_COST = 0.02, 0.1
KEY_REWARD, DOOR_REWARD, GOAL_REWARD = 0.2, 0.2, 1.0


def _step(state, action):
    agent, key, door, is_open, goal = state
    if action == "take":
        taken = key == agent
        return (agent, None if taken else key, door, is_open, goal), KEY_REWARD if taken else 0.0
    if action == "open":
        opened = key is None and not is_open and agent == (door, WALL - 1)
        return (agent, key, door, is_open or opened, goal), DOOR_REWARD if opened else 0.0
    cell = move(agent, action, HEIGHT, WIDTH)
    if cell[1] == WALL and not (is_open and cell[0] == door):
        cell = agent
    return (cell, key, door, is_open, goal), GOAL_REWARD if cell == goal else 0.0


def _text(state):
    agent, key, door, is_open, goal = state
    rows = [list("..#..") for _ in range(HEIGHT)]
    rows[door][WALL] = "/" if is_open else "D"
    rows[goal[0]][goal[1]] = "G"
    if key is not None:
        rows[key[0]][key[1]] = "K"
    mark = "H" if key is None else "A"
    if agent == key:
        mark = "k"
    elif agent in ((door, WALL), goal):
        mark = "*" if agent == goal else "I"
    rows[agent[0]][agent[1]] = mark
    return "\n".join(map("".join, rows))


def keydoor(id: str) -> ExactMDP:
    r"""`grid/keydoor`: take the key, open the door in the wall, reach the goal behind it; 3 x 5, H = 30.

    Agent and key start left of the wall, the goal lies right of it, all uniformly random with the door's row. Actions:
    the four moves, `take` (on the key), `open` (left of the door, with the key). Every step costs 0.02, an invalid
    string 0.1; the key and the door pay 0.2 each, once, and the goal 1. Marks: `A` agent, `H` agent with the key, `k`
    agent on the key, `I` agent in the open door, `*` agent on the goal, `K` key, `D` door, `/` open door, `G` goal, `#`
    wall.
    """
    left = list(product(range(HEIGHT), range(WALL)))
    right = list(product(range(HEIGHT), range(WALL + 1, WIDTH)))
    starts = [(a, k, d, False, g) for a, k, d, g in product(left, left, range(HEIGHT), right) if a != k]

    def outcomes(state, action):
        """The one outcome, less the cost of a step."""
        after, reward = _step(state, action)
        return [(1.0, after, reward - STEP_COST)]

    return tabulate(
        id, start=dict.fromkeys(starts, 1 / len(starts)), actions=[*MOVES, "take", "open"], outcomes=outcomes,
        terminal=lambda state: state[0] == state[-1], text=_text, horizon=30, invalid_reward=-INVALID_COST,
    )  # fmt: skip


register("grid/keydoor", keydoor)
