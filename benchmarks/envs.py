"""Steps per second of the slippery frozen lake against Gymnasium's FrozenLake in the same run.

Ours reads action strings and returns the map as text. The peer of n = 1 is `gymnasium.make("FrozenLake-v1")`, that of
n > 1 `SyncVectorEnv` of n such; both take and return integers: the text is work that only we do. The row `ansi` is the
peer that also delivers text, by Gymnasium's own `render()`. All loops reset at an end.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

import numpy as np

import envs
from benchmarks.report import show
from benchmarks.rounds import Row, Side, absent, compare, present

PEER, STEPS = "Gymnasium", 20_000
AIMS = {"1": 20, "1, ansi": 20, "64": 40, "1024": 250}
NAMES = ("left", "down", "right", "up")  # in the order of Gymnasium's action numbers
DIRECTIONS = np.array(NAMES)


def one(env: Any, actions: list, rendered: Callable[[], object] | None = None) -> Side:
    """Return a plain loop over one environment that resets it at each end; ``rendered`` is called for the text of each step."""

    def play() -> None:
        env.reset()
        for action in actions:
            _, _, terminated, truncated, _ = env.step(action)
            if rendered is not None:
                rendered()
            if terminated or truncated:
                env.reset()

    return Side(play, len(actions))


def many(env: Any, actions: np.ndarray) -> Side:
    """Return a loop over a vector environment that resets itself."""

    def play() -> None:
        env.reset()
        for row in actions:
            env.step(row)

    return Side(play, actions.size)


def pair(row: str, rng: np.random.Generator) -> tuple[Side, Side]:
    """Return (ours, Gymnasium's) loops of one row of the table."""
    import gymnasium

    n = int(row.split(",")[0])
    if n == 1:
        chosen = rng.integers(4, size=STEPS).tolist()
        ours = one(envs.make("grid/frozenlake", seed=0), [NAMES[a] for a in chosen])
        if "ansi" in row:
            peer = gymnasium.make("FrozenLake-v1", render_mode="ansi")
            return ours, one(peer, chosen[: STEPS // 4], peer.render)
        return ours, one(gymnasium.make("FrozenLake-v1"), chosen)
    chosen = rng.integers(4, size=(max(20, 4 * STEPS // n), n))
    ours = many(envs.make_vector("grid/frozenlake", n, seed=0), DIRECTIONS[chosen])
    peer = gymnasium.vector.SyncVectorEnv([lambda: gymnasium.make("FrozenLake-v1")] * n)
    return ours, many(peer, chosen[: max(4, STEPS // n)])


def check_same_numbers(rng: np.random.Generator) -> None:
    """Refuse to time two different processes: exact values with chance, every step of a played map without it."""
    import gymnasium

    ours, theirs = envs.exact("grid/frozenlake"), envs.exact("gymnasium:FrozenLake-v1")
    values = ours.value(ours.uniform()), theirs.value(theirs.uniform())
    if abs(values[0] - values[1]) > 1e-13:
        raise SystemExit(f"the two processes differ: {values}")
    env, peer = envs.make("grid/frozenlake", slip=0.0), gymnasium.make("FrozenLake-v1", is_slippery=False)
    env.reset(), peer.reset()
    for action in rng.integers(4, size=2000).tolist():
        text, *mine = env.step(NAMES[action])
        state, *other = peer.step(action)
        place = min(text.replace("\n", "").find(mark) % 17 for mark in "AX*")  # a mark that is not there: 16
        if (place, *mine[:3]) != (state, *other[:3]):
            raise SystemExit(f"step {action}: {(text, *mine)} is not {(state, *other)}")
        if mine[1] or mine[2]:
            env.reset(), peer.reset()


def rows(options: argparse.Namespace) -> Iterator[Row]:
    """Yield the rates for each number of environments."""
    rng = np.random.default_rng(0)
    _, missing = present({PEER: lambda: import_module("gymnasium")}, options.peers)
    if not missing:
        check_same_numbers(rng)
    for n, aim in AIMS.items():
        if missing:
            yield from absent(f"n = {n}", missing)
            continue
        ours, theirs = pair(n, rng)
        yield from compare(f"n = {n}", ours, {PEER: theirs}, {PEER: aim}, options.seconds, "steps/s")


def main(options: argparse.Namespace) -> None:
    """Print the comparison."""
    show(options, "envs", "grid/frozenlake, steps a second, medians of alternating rounds", rows(options))
