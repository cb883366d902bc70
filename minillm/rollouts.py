"""Episodes of one update in parts, which threads or workers play side by side: fixed parts, so that who plays them changes no bit."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minillm.agent import LLMAgent
from minillm.experience import Experience, concatenate
from minillm.training import Policy, collect
from minillm.worlds import batch, find

Player = LLMAgent | Policy


@functools.lru_cache(maxsize=4)
def remembered_world(env: str, options: str) -> Any:
    """Return the world of that name, found once in a process (see :func:`minillm.worlds.find`); ``options`` are JSON."""
    return find(env, **json.loads(options))


def play(
    env: str, options: dict[str, Any], players: Sequence[Player], episodes: int, group: int, rng: np.random.Generator,
    map: Callable[..., list],
) -> Experience:  # fmt: skip
    """Play episodes in as many parts as there are players, each with random numbers of its own.

    Parameters
    ----------
    env, options
        The world, by name: a worker finds its own.
    players : sequence of LLMAgent or Policy
        An agent's ``rng`` is afterwards where its draws have brought it, wherever they were made. Only agents can be sent to workers.
    episodes, group : int
        How many, in groups that share their start.
    rng : numpy.random.Generator
        Source of the worlds' seeds.
    map : callable, (function, items) → list
        :func:`minillm.threads.parallel_map`, or :meth:`minillm.crew.Crew.map`.
    """
    counts = [len(part) * group for part in np.array_split(np.arange(episodes // group), len(players)) if len(part)]
    seeds = rng.integers(1 << 62, size=len(counts)).tolist()
    parts = list(zip(range(len(counts)), players, counts, seeds, strict=False))
    played = map(functools.partial(_play_part, env, json.dumps(options), group), parts)
    for player, (_, state) in zip(players, played, strict=False):
        if isinstance(player, LLMAgent):
            player.rng.bit_generator.state = state
    return concatenate(experience for experience, _ in played)


def _play_part(env: str, options: str, group: int, part: tuple[int, Player, int, int]) -> tuple[Experience, Any]:
    number, player, count, seed = part
    world = batch(remembered_world(env, options), count, seed, number)
    if isinstance(player, LLMAgent):
        return collect(world, player.remembering_act(), group), player.rng.bit_generator.state
    return collect(world, player, group), None
