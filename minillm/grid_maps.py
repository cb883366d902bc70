r"""A policy seen on the grid: which way it goes from each cell, what the state is worth, how often the agent comes by.

A state's text is a picture with one agent in it. States whose pictures are equal but for the agent's place form a *room*: the same
goal, walls and doors. On a room's cells stand the policy's probabilities, $V_0^\pi(s)$ and the expected number of visits
$\sum_t P(s_t = s)$ in one episode, all exact.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from minillm.errors import UserError

AGENTS = "AH"  # H: the agent with the key in its hand
FLOOR = "."


@dataclasses.dataclass(frozen=True)
class Room:
    """The states that differ in the agent's place alone.

    Attributes
    ----------
    picture : ndarray of str, shape (rows, columns)
        The characters, with floor under the agent.
    states : ndarray of int, shape (n,)
        Numbers in the table.
    cells : ndarray of int, shape (n, 2)
        Row and column of the agent in each.
    """

    picture: np.ndarray
    states: np.ndarray
    cells: np.ndarray

    def spread(self, values: np.ndarray) -> np.ndarray:
        """Return values (S,) of the states as a map (rows, columns), NaN where the agent cannot be."""
        out = np.full(self.picture.shape, np.nan)
        out[tuple(self.cells.T)] = values[self.states]
        return out


def rooms(mdp: Any) -> list[Room]:
    """Return the rooms of an environment, the largest first; states without an agent, and those at the end, are in none.

    Raises
    ------
    UserError
        If no state of the environment is a picture with an agent.
    """
    found: dict[str, list[tuple[int, int, int]]] = {}
    for s in np.flatnonzero(~mdp.terminal).tolist():
        text = str(mdp.state_texts[s])
        agent = next((c for c in AGENTS if text.count(c) == 1), None)
        if agent is None or len(set(map(len, text.split("\n")))) != 1:
            continue
        row, column = divmod(text.index(agent), text.find("\n") + 1 or len(text) + 1)
        found.setdefault(text.replace(agent, FLOOR), []).append((s, row, column))
    if not found:
        raise UserError(f"{mdp.id} has no picture with an agent ({' or '.join(AGENTS)}): only grids can be drawn as maps")
    ordered = sorted(found.items(), key=lambda item: -len(item[1]))
    return [_room(text, np.array(members)) for text, members in ordered]


def _room(text: str, members: np.ndarray) -> Room:
    return Room(np.array([list(line) for line in text.split("\n")]), members[:, 0], members[:, 1:])


def some(found: list[Room], number: int) -> list[Room]:
    """Return at most ``number`` of the largest rooms, evenly spread over those of the same size."""
    largest = [room for room in found if len(room.states) == len(found[0].states)]
    return [largest[i] for i in np.unique(np.linspace(0, len(largest) - 1, number).round().astype(int))]


def common(found: list[Room]) -> np.ndarray:
    """Return the characters that all rooms of the first one's shape agree on, floor elsewhere."""
    pictures = np.array([room.picture for room in found if room.picture.shape == found[0].picture.shape])
    return np.where((pictures == pictures[0]).all(axis=0), pictures[0], FLOOR)


def visits(mdp: Any, policy: np.ndarray, found: list[Room]) -> np.ndarray:
    """Return the expected number of visits of each cell in one episode, all rooms together: a map of the first room's shape.

    Cells in which the agent is never seen are NaN.
    """
    expected = mdp.occupancy(policy).sum(axis=0)
    maps = [room.spread(expected) for room in found if room.picture.shape == found[0].picture.shape]
    seen = ~np.isnan(maps).all(axis=0)
    return np.where(seen, np.nansum(maps, axis=0), np.nan)
