"""The exact facts of every environment, computed from its table."""

from typing import Any

import numpy as np

from envs.core import exact, ids
from envs.mdp import ExactMDP

COLUMNS = ("id", "states", "actions", "horizon", "optimal", "stationary", "uniform", "choices", "dead_ends")


def dead_ends(mdp: ExactMDP) -> np.ndarray:
    """Return the running states, bool (S,), from which no terminal state can be reached in any number of steps."""
    ends = mdp.terminal.copy()
    while True:
        reaching = ends | ((mdp.probabilities > 0) & ends[mdp.successors]).any((1, 2))
        if (reaching == ends).all():
            return ~ends
        ends = reaching


def card(id: str) -> dict[str, Any]:
    r"""Return the facts of one environment, ready for JSON.

    `optimal` is $J^*$ over time-dependent policies; `stationary` is J of the stationary policy that is best without a
    time limit, None where it is the same to 1e-9; `choices` is the mean number of optimal actions of a running state at
    the first step (`invalid` counted where it is optimal); `reward_range` the least and the greatest possible reward.
    """
    mdp = exact(id)
    solution, running = mdp.solve(), ~mdp.terminal
    stationary = float(mdp.value(mdp.stationary_policy()))
    possible = mdp.rewards[running][mdp.probabilities[running] > 0]
    return {
        "id": id, "states": len(mdp.state_texts), "actions": mdp.invalid, "horizon": mdp.horizon,
        "optimal": solution.J, "stationary": None if abs(stationary - solution.J) < 1e-9 else stationary,
        "uniform": float(mdp.value(mdp.uniform())),
        "choices": float(solution.optimal[0, running].sum(-1).mean()), "dead_ends": int(dead_ends(mdp).sum()),
        "reward_range": [float(possible.min()), float(possible.max())],
    }  # fmt: skip


def cards() -> list[dict[str, Any]]:
    """Return the card of every registered default instance (ids without a table are left out by registration)."""
    return [card(id) for id in ids()]


def table(rows: list[dict[str, Any]]) -> str:
    """Return cards as a plain text table."""
    cells = [[*COLUMNS, "rewards"]]
    for row in rows:
        shown = [row[name] for name in COLUMNS]
        least, greatest = row["reward_range"]
        cells.append([_show(value) for value in shown] + [f"{least:g} to {greatest:g}"])
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in cells)


def _show(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if isinstance(value, float) else str(value)
