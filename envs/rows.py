"""The states of a table as a walk: what each action string leads to, prepared for plain Python.

A step of one environment is two look-ups, `row[action][rank]`: which outcome it is, given between which two of the table's
levels (`ExactMDP.levels`) the uniform number lies. Where the levels are too many, the number itself stands for its rank.
"""

from bisect import bisect_right
from typing import Any

from envs.mdp import ExactMDP


class ResetNeeded(RuntimeError):
    """The episode has ended, or none was begun: call reset() first."""


class Row(dict):
    """What a state's action strings lead to: action -> rank -> (next row, its text, reward, terminated).

    Filled when an action is first looked up, so that a table of many states costs what is visited of it.
    """

    __slots__ = ("invalid", "rows", "state", "text")

    def __init__(self, rows: "Rows", state: int):
        self.rows, self.state, self.text = rows, state, str(rows.mdp.state_texts[state])
        self.invalid: Any = None

    def __missing__(self, action: str) -> Any:
        if not isinstance(action, str):
            raise TypeError
        if self.invalid is None:
            self._fill()
            return self[action]
        return self.invalid

    def _fill(self) -> None:
        mdp, rows, cells = self.rows.mdp, self.rows, []
        tables = (table[self.state].tolist() for table in (mdp.cumulative, mdp.successors, mdp.rewards))
        for cumulative, states, rewards in zip(*tables, strict=True):
            outcomes = [(rows[s], rows[s].text, r, bool(mdp.terminal[s])) for s, r in zip(states, rewards, strict=True)]
            cell = Cell(cumulative, outcomes)
            cells.append(cell if mdp.levels is None else [cell[u] for u in (-1.0, *mdp.levels.tolist())])
        self.invalid = cells.pop()
        self.update(zip(mdp.action_numbers, cells, strict=True))


class Cell:
    """The outcomes of a state and an action by the uniform number itself."""

    __slots__ = ("cumulative", "outcomes")

    def __init__(self, cumulative: list[float], outcomes: list[tuple]):
        self.cumulative, self.outcomes = cumulative, outcomes

    def __getitem__(self, u: float) -> tuple:
        return self.outcomes[bisect_right(self.cumulative, u)]


class Rows(dict):
    """The rows of a table by state, made when they are first asked for."""

    def __init__(self, mdp: ExactMDP):
        self.mdp = mdp

    def __missing__(self, state: int) -> Row:
        self[state] = Row(self, state)
        return self[state]


class Over(dict):
    """The row of an episode that has ended with a text, or was never begun: it leads nowhere."""

    __slots__ = ("id", "text")

    def __init__(self, id: str):
        self.id = id
        self.text: str | None = None

    def __missing__(self, action: str) -> tuple:
        if not isinstance(action, str):
            raise TypeError
        raise ResetNeeded(f"{self.id}: no episode is under way; call reset() first")
