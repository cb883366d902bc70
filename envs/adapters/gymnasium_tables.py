"""Exact tables of Gymnasium's environments, from their kernel `.P` or by stepping copies of a deterministic one."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

from envs.mdp import ExactMDP
from envs.tables import tabulate

INVALID_COST = 0.1
MAX_COPIES = 5000  # states of a table made by copying, at some milliseconds each
DEFAULT_HORIZON = 200  # where Gymnasium sets no time limit


def kernel_from_gymnasium(
    env: Any, text: Callable[[int], str], actions: Sequence[str], *, horizon: int | None = None, id: str | None = None
) -> ExactMDP:
    """Build the table of an environment with a kernel `.P[s][a] = [(probability, next state, reward, done)]`.

    Equal outcomes are merged. An outcome that is done leads to an absorbing copy of its state, so nothing is earned
    after it even where the kernel would go on. An invalid string costs 0.1 more than the cheapest step that does not end
    (0.1 where steps are free), so that writing nonsense is never the way to save the cost of steps.

    Parameters
    ----------
    text : (state number) -> str, one-to-one; the absorbing copy's text has `(end)` added if the state also runs on
    actions : the canonical strings in the order of the environment's action numbers
    """
    inner = env.unwrapped
    number = {action: a for a, action in enumerate(actions)}
    start = {(int(s), False): float(p) for s, p in enumerate(inner.initial_state_distrib) if p}
    rows = [outcomes for row in inner.P.values() for outcomes in row.values()]
    running = {s for s, _ in start} | {after for row in rows for _, after, _, done in row if not done}
    cheapest = min(0.0, max((float(r) for row in rows for _, _, r, done in row if not done), default=0.0))

    def outcomes(state, action):
        """What the kernel says; the second half of a state is whether the episode is over."""
        return [(p, (int(after), bool(done)), r) for p, after, r, done in inner.P[state[0]][number[action]]]

    def shown(state):
        """The text of a running state, or of the absorbing copy."""
        return text(state[0]) + " (end)" * (state[1] and state[0] in running)

    return tabulate(
        id or f"gymnasium:{env.spec.id}", start=start, actions=actions, outcomes=outcomes, terminal=lambda s: s[1],
        text=shown, horizon=horizon or env.spec.max_episode_steps or DEFAULT_HORIZON,
        invalid_reward=cheapest - INVALID_COST,
    )  # fmt: skip


def table_by_copying(
    env: Any, text: Callable[[Any], str], actions: Sequence[str], seeds: Sequence[int], *, horizon: int, id: str
) -> ExactMDP:
    """Build the table of a deterministic environment by stepping deep copies of it from every state that it reaches.

    The start distribution is uniform over the resets with the given seeds. Two states with one text are one state, so
    the text must tell all that matters. A step counter of the environment is held at zero, so that its reward is a
    function of the state (MiniGrid's falls with time: here every success is paid as after one step).
    """
    seen: dict[tuple[str, bool], Any] = {}
    start: dict[tuple[str, bool], float] = {}
    for seed in seeds:
        copy = deepcopy(env.unwrapped)
        copy.reset(seed=seed)
        key = text(copy), False
        seen.setdefault(key, copy)
        start[key] = start.get(key, 0.0) + 1 / len(seeds)
    number = {action: a for a, action in enumerate(actions)}

    def outcomes(state, action):
        """What a copy of the environment does in that state."""
        copy = deepcopy(seen[state])
        copy.step_count = 0
        _, reward, terminated, _, _ = copy.step(number[action])
        key = text(copy) + " (end)" * terminated, terminated
        seen.setdefault(key, copy)
        return [(1.0, key, reward)]

    return tabulate(
        id, start=start, actions=actions, outcomes=outcomes, terminal=lambda state: state[1],
        text=lambda state: state[0], horizon=horizon, invalid_reward=-INVALID_COST, limit=MAX_COPIES,
    )  # fmt: skip


def _map_text(rows: list[str], width: int) -> Callable[[int], str]:
    """Return what marks the agent on a map of letters, given the number of its tile."""

    def text(state: int) -> str:
        """The map with the agent on it."""
        marked = [list(row) for row in rows]
        row, column = divmod(state, width)
        marked[row][column] = {"H": "X", "G": "*"}.get(marked[row][column], "A")
        return "\n".join(map("".join, marked))

    return text


def frozenlake_text(env: Any) -> Callable[[int], str]:
    """Return Gymnasium's map as letters, the agent as `A` (`X` in a hole, `*` on the goal)."""
    rows = ["".join(tile.decode() for tile in row).replace("S", "F") for row in env.unwrapped.desc]
    return _map_text(rows, len(rows[0]))


def cliff_text(env: Any) -> Callable[[int], str]:
    """Return the 4 x 12 map: `.` ground, `C` cliff, `G` goal, `A` agent, `*` agent on the goal."""
    return _map_text(["." * 12] * 3 + ["." + "C" * 10 + "G"], 12)


def taxi_text(env: Any) -> Callable[[int], str]:
    """Return where the taxi is, where the passenger waits (or rides), and where to go."""

    def text(state: int) -> str:
        """The four parts of the state in words."""
        row, column, passenger, target = env.unwrapped.decode(state)
        return f"taxi {row} {column} from {('red', 'green', 'yellow', 'blue', 'taxi')[passenger]} to {'rgyb'[target]}"

    return text


TABLES: dict[str, tuple[Callable[[Any], Callable[[int], str]], tuple[str, ...]]] = {
    "FrozenLake": (frozenlake_text, ("left", "down", "right", "up")),
    "CliffWalking": (cliff_text, ("up", "right", "down", "left")),
    "Taxi": (taxi_text, ("down", "up", "right", "left", "pickup", "dropoff")),
}
