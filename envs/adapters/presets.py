"""`gymnasium:NAME`: Gymnasium's environments by their own names."""

import re
from typing import Any

from envs.adapters.extras import open_named
from envs.adapters.foreign import ForeignEnv
from envs.adapters.gymnasium_tables import TABLES, kernel_from_gymnasium
from envs.adapters.minigrid_levels import PREFIXES, level
from envs.core import register
from envs.mdp import ExactMDP


def from_id(
    id: str,
    name: str,
    seeds: int = 5,
    table: bool = True,
    is_slippery: bool | None = None,
    map_name: str | None = None,
    is_rainy: bool | None = None,
) -> ExactMDP | ForeignEnv:
    """`gymnasium:NAME`: FrozenLake, CliffWalking, Taxi (tables from `.P`), MiniGrid and BabyAI levels.

    The options `is_slippery`, `map_name` and `is_rainy` are Gymnasium's own, `seeds` and `table` are those of
    :func:`envs.adapters.minigrid_levels.level`.
    """
    family = re.split("[^A-Za-z]", name)[0]
    own = {"is_slippery": is_slippery, "map_name": map_name, "is_rainy": is_rainy}
    chosen = {option: value for option, value in own.items() if value is not None}
    if family in TABLES:
        return _table(id, name, chosen)
    if family not in PREFIXES:
        presets = ", ".join([*TABLES, *PREFIXES])
        raise ValueError(f"{id}: presets exist for {presets}; see envs.adapters.from_gymnasium")
    if chosen:
        raise ValueError(f"{id} has no option {min(chosen)!r}")
    return level(id, name, seeds, table)


def _table(id: str, name: str, chosen: dict[str, Any]) -> ExactMDP:
    env = open_named(id, name, **chosen)
    text, actions = TABLES[re.split("[^A-Za-z]", name)[0]]
    return kernel_from_gymnasium(env, text(env), actions, id=id)


register("gymnasium:{name}", from_id)
