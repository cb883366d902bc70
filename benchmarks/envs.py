"""Steps per second of the slippery frozen lake, text included, against Gymnasium's FrozenLake in the same run."""

import argparse
import json
import statistics
import time
from collections.abc import Callable

import gymnasium
import numpy as np

import envs

ROUNDS, STEPS = 7, 20_000
TARGETS = {1: 20, 64: 40, 1024: 250}
DIRECTIONS = np.array(["left", "down", "right", "up"])  # in the order of Gymnasium's action numbers


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


def many(env, actions: np.ndarray) -> Callable[[], int]:
    """Return a loop over a vector environment that resets itself."""

    def play() -> int:
        env.reset()
        for row in actions:
            env.step(row)
        return actions.size

    return play


def pair(n: int, rng: np.random.Generator) -> tuple[Callable[[], int], Callable[[], int]]:
    """Return (ours, Gymnasium's) loops of n environments; the vectorised peer is SyncVectorEnv."""
    if n == 1:
        chosen = rng.integers(4, size=STEPS)
        ours = one(envs.make("grid/frozenlake", seed=0), DIRECTIONS[chosen].tolist())
        return ours, one(gymnasium.make("FrozenLake-v1"), chosen.tolist())
    chosen = rng.integers(4, size=(max(20, 4 * STEPS // n), n))
    ours = many(envs.make_vector("grid/frozenlake", n, seed=0), DIRECTIONS[chosen])
    peer = gymnasium.vector.SyncVectorEnv([lambda: gymnasium.make("FrozenLake-v1")] * n)
    return ours, many(peer, chosen[: max(4, STEPS // n)])


def check_same_numbers() -> None:
    """Refuse to time two different processes: the exact values of the uniform policy must agree."""
    ours, theirs = envs.exact("grid/frozenlake"), envs.exact("gymnasium:FrozenLake-v1")
    values = ours.value(ours.uniform()), theirs.value(theirs.uniform())
    if abs(values[0] - values[1]) > 1e-13:
        raise SystemExit(f"the two processes differ: {values}")


def main(options: argparse.Namespace) -> None:
    """Print the rates and the median ratio for each number of environments."""
    check_same_numbers()
    rng, rows = np.random.default_rng(0), []
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
        print(f"n = {row['n']:5d}: {row['steps_per_second']:12,.0f} steps/s, peer {row['gymnasium']:9,.0f}", end="")
        print(f", ratio {row['ratio']:6.1f} (aim {row['target']})")
