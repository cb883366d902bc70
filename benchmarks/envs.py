"""Steps per second of the slippery frozen lake against Gymnasium's FrozenLake in the same run.

Ours reads action strings and returns the map as text. The peer of n = 1 is `gymnasium.make("FrozenLake-v1")`, that of
n > 1 `SyncVectorEnv` of n such; both take and return integers: the text is work that only we do. The row `ansi` is the
peer that also delivers text, by Gymnasium's own `render()`. All loops reset at an end.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable

import gymnasium
import numpy as np

import envs

ROUNDS, STEPS = 7, 20_000
TARGETS = {"1": 20, "1, ansi": 20, "64": 40, "1024": 250}
NAMES = ("left", "down", "right", "up")  # in the order of Gymnasium's action numbers
DIRECTIONS = np.array(NAMES)


def rate(play: Callable[[], int]) -> float:
    """Return steps per second of one call that says how many steps it made."""
    begin = time.perf_counter()
    return play() / (time.perf_counter() - begin)


def one(env, actions: list) -> Callable[[], int]:
    """Return a plain loop over one environment that resets it at each end."""

    def play() -> int:
        env.reset()
        for action in actions:
            _, _, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                env.reset()
        return len(actions)

    return play


def one_rendered(env, actions: list) -> Callable[[], int]:
    """Return the same loop for an environment whose text is its rendering."""

    def play() -> int:
        env.reset()
        for action in actions:
            _, _, terminated, truncated, _ = env.step(action)
            env.render()
            if terminated or truncated:
                env.reset()
        return len(actions)

    return play


def many(env, actions: np.ndarray) -> Callable[[], int]:
    """Return a loop over a vector environment that resets itself."""

    def play() -> int:
        env.reset()
        for row in actions:
            env.step(row)
        return actions.size

    return play


def pair(row: str, rng: np.random.Generator) -> tuple[Callable[[], int], Callable[[], int]]:
    """Return (ours, Gymnasium's) loops of one row of the table."""
    n = int(row.split(",")[0])
    if n == 1:
        chosen = rng.integers(4, size=STEPS).tolist()
        ours = one(envs.make("grid/frozenlake", seed=0), [NAMES[a] for a in chosen])
        if "ansi" in row:
            return ours, one_rendered(gymnasium.make("FrozenLake-v1", render_mode="ansi"), chosen[: STEPS // 4])
        return ours, one(gymnasium.make("FrozenLake-v1"), chosen)
    chosen = rng.integers(4, size=(max(20, 4 * STEPS // n), n))
    ours = many(envs.make_vector("grid/frozenlake", n, seed=0), DIRECTIONS[chosen])
    peer = gymnasium.vector.SyncVectorEnv([lambda: gymnasium.make("FrozenLake-v1")] * n)
    return ours, many(peer, chosen[: max(4, STEPS // n)])


def check_same_numbers(rng: np.random.Generator) -> None:
    """Refuse to time two different processes: exact values with chance, every step of a played map without it."""
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


def main(options: argparse.Namespace) -> None:
    """Print the rates and the median ratio for each number of environments."""
    rng, rows = np.random.default_rng(0), []
    check_same_numbers(rng)
    for n, target in TARGETS.items():
        ours, theirs = pair(n, rng)
        rates = [(rate(ours), rate(theirs)) for _ in range(ROUNDS + 1)][1:]
        ratio = statistics.median(a / b for a, b in rates)
        mine, peer = (statistics.median(column) for column in zip(*rates, strict=True))
        rows.append({"n": n, "steps_per_second": mine, "gymnasium": peer, "ratio": ratio, "target": target})
    if options.json:
        print(json.dumps({"benchmark": "envs", "gymnasium": gymnasium.__version__, "rows": rows}))
        return
    print(f"grid/frozenlake against Gymnasium {gymnasium.__version__}, medians of {ROUNDS} alternating rounds")
    for row in rows:
        print(f"n = {row['n']:>7}: {row['steps_per_second']:12,.0f} steps/s, peer {row['gymnasium']:9,.0f}", end="")
        print(f", ratio {row['ratio']:6.1f} (aim {row['target']})")
