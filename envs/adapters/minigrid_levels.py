"""MiniGrid and BabyAI levels: as a table where that is small enough, played one by one where it is not."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from envs.adapters.extras import need, open_named
from envs.adapters.foreign import INVALID_COST, ForeignEnv
from envs.adapters.gymnasium_tables import DEFAULT_HORIZON, table_by_copying
from envs.mdp import ExactMDP
from envs.tables import TooManyStates

ACTIONS = ("left", "right", "forward", "pickup", "drop", "toggle", "done")


def text(inner: Any) -> str:
    """Return a state in full: the mission if there are several, the grid, what is carried."""
    carried = f"\n{inner.carrying.color} {inner.carrying.type}" if inner.carrying else ""
    mission = f"{inner.mission}\n" if str(inner.spec.id).startswith("BabyAI") else ""
    return mission + inner.pprint_grid().replace(" ", ".") + carried


def level(id: str, name: str, seeds: int = 5, table: bool = True) -> ExactMDP | ForeignEnv:
    """Return the level `name`, which starts from one of the resets of seeds 0 to `seeds` - 1.

    It is a table of all states that can be reached, or, if these are more than 5,000 or `table` is False, an environment
    without one. A BabyAI GoTo level knows left, right, forward.
    """
    if isinstance(seeds, bool) or not isinstance(seeds, int) or seeds < 1:
        raise ValueError(f"{id}: seeds must be an integer >= 1, got {seeds!r}")
    found = _table(id, name, seeds) if table else None
    return found or PlayedLevel(id, name, seeds)


def _open(id: str, name: str) -> tuple[Any, tuple[str, ...], int]:
    """The level without wrappers and without its picture of the world, which nobody reads here; its actions and horizon."""
    need("minigrid", "gym")
    inner = open_named(id, name).unwrapped
    inner.gen_obs = _nothing
    inner.reset(seed=0)  # a BabyAI level sets its limit of time here
    return inner, ACTIONS[: 3 if name.startswith("BabyAI-GoTo") else None], min(inner.max_steps, DEFAULT_HORIZON)


def _nothing() -> None:
    """Stand for an observation."""


@lru_cache(maxsize=8)
def _table(id: str, name: str, seeds: int) -> ExactMDP | None:
    """The level's table; None if it has too many states, which takes a while to find out."""
    inner, actions, horizon = _open(id, name)
    try:
        return table_by_copying(inner, text, actions, range(seeds), horizon=horizon, id=id)
    except TooManyStates:
        return None


class PlayedLevel(ForeignEnv):
    """A level without a table. A success is paid as MiniGrid pays it, less the later it comes.

    Parameters
    ----------
    id, name, seeds : as in :func:`level`
    """

    def __init__(self, id: str, name: str, seeds: int):
        self._inner, actions, horizon = _open(id, name)
        self._seeds, self._rng = seeds, np.random.default_rng(0)
        self._numbers = {action: a for a, action in enumerate(actions)}
        super().__init__(id, self._reset, self._act, horizon, action_texts=actions)

    def _reset(self, seed: int | None) -> str:
        if seed is not None:
            self._rng = np.random.default_rng(seed)
        self._inner.reset(seed=int(self._rng.integers(self._seeds)))
        return text(self._inner)

    def _act(self, action: str) -> tuple[str, float, bool, bool]:
        if action not in self._numbers:
            return self.render(), -INVALID_COST, False, False
        _, reward, terminated, truncated, _ = self._inner.step(self._numbers[action])
        return text(self._inner), reward, terminated, truncated


PREFIXES: Sequence[str] = ("MiniGrid", "BabyAI")
