r"""One-step string tasks: the prompt is a string, the answer its copy, reverse, sorted form or set of letters."""

from collections.abc import Callable

import numpy as np

from envs.core import register
from envs.mdp import ExactMDP
from envs.tables import one_step, strings_up_to

TASKS: dict[str, Callable[[str], str]] = {
    "copy": str,
    "reverse": lambda text: text[::-1],
    "sort": lambda text: "".join(sorted(text)),
    "dedup": lambda text: "".join(dict.fromkeys(text)),
}
MAX_ENTRIES = 1_000_000


def lcs_length(a: str, b: str) -> int:
    """Return the length of the longest common subsequence (Wagner and Fischer 1974)."""
    row = [0] * (len(b) + 1)
    for x in a:
        diagonal = 0
        for j, y in enumerate(b, 1):
            diagonal, row[j] = row[j], diagonal + 1 if x == y else max(row[j], row[j - 1])
    return row[-1]


def lcs_share(answer: str, target: str) -> float:
    r"""Return $|\mathrm{LCS}(a, b)| / \max(|a|, |b|)$: 1 exactly when $a = b$, symmetric, 0 where either is empty."""
    return lcs_length(answer, target) / max(len(answer), len(target), 1)


def exact_match(answer: str, target: str) -> float:
    """Return 1 for the target itself, 0 for everything else."""
    return float(answer == target)


SCORERS = {"partial": lcs_share, "sparse": exact_match}


def string_task(id: str, task: str, V: int = 3, L: int = 3, reward: str = "partial") -> ExactMDP:
    r"""`text/TASK-V-L`: prompts of 1 to L of the first V letters, answers of 0 to L + 1 of them; $H = 1$.

    Options: `reward="partial"` (the share of the longest common subsequence, `lcs_share`) or `"sparse"` (exact match).
    `copy` repeats, `reverse` turns round, `sort` sorts, `dedup` keeps the first of each letter. `invalid` scores 0.
    """
    if reward not in SCORERS:
        raise ValueError(f"{id}: reward must be one of {sorted(SCORERS)}, got {reward!r}")
    if not (1 <= V <= 26 and L >= 1) or V ** (2 * L + 1) > MAX_ENTRIES:
        raise ValueError(f"{id}: needs 1 to 26 letters, a length >= 1, and at most {MAX_ENTRIES} table entries")
    letters = "abcdefghijklmnopqrstuvwxyz"[:V]
    prompts, answers = strings_up_to(letters, L, shortest=1), strings_up_to(letters, L + 1)
    score, solve = SCORERS[reward], TASKS[task]
    return one_step(id, prompts, answers, np.array([[score(a, solve(p)) for a in answers] for p in prompts]))


def _register(task: str) -> None:
    def small(id: str, reward: str = "partial") -> ExactMDP:
        """The default size."""
        return string_task(id, task, reward=reward)

    def sized(id: str, V: int, L: int, reward: str = "partial") -> ExactMDP:
        """V characters, at most L of them."""
        return string_task(id, task, V, L, reward)

    register(f"text/{task}", small)
    register(f"text/{task}-{{V}}-{{L}}", sized)


for _task in TASKS:
    _register(_task)
