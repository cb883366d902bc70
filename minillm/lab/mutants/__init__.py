"""The catalogue of wrong gradients, and who catches which.

matrix = score(my_checker)            # a callable (f, gradient, theta, rng) → bool
print(matrix.survivors, matrix.false_alarms)
print(table(score_all()))             # ours and the default schemes of other libraries
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from minillm.lab.mutants import core, policy_catalogue, transformer, whole
from minillm.lab.mutants.checkers import CHECKERS, one_direction
from minillm.lab.mutants.core import Checker, KillMatrix, Mutant

CATALOGUE: tuple[Mutant, ...] = (*transformer.CATALOGUE, *whole.CATALOGUE, *policy_catalogue.CATALOGUE)

__all__ = ["CATALOGUE", "CHECKERS", "Checker", "KillMatrix", "Mutant", "one_direction", "resembling", "rows", "score", "score_all", "table"]


def score(checker: Checker, draws: int = 20, seed: int = 0) -> KillMatrix:
    """Grade a checker by the whole catalogue; see :func:`minillm.lab.mutants.core.score`."""
    return core.score({"": checker}, CATALOGUE, draws, seed)[""]


def score_all(draws: int = 20, seed: int = 0, on_mutant: Callable[[Mutant], None] = lambda mutant: None) -> dict[str, KillMatrix]:
    """Grade every checker in ``CHECKERS``; ``on_mutant`` is called after each mutant."""
    return core.score(CHECKERS, CATALOGUE, draws, seed, on_mutant)


def resembling(gradient: np.ndarray, least: float = 0.999) -> list[str]:
    """Name the mutants that a wrong gradient (P,) of ``transformer.CASE`` looks like; see :func:`minillm.lab.mutants.core.resembling`."""
    return core.resembling(CATALOGUE, transformer.PROBLEM, gradient, least)


def rows(matrices: Mapping[str, KillMatrix]) -> list[dict[str, Any]]:
    """Return one row a mutant: id, description, equivalent, relative_error, and by checker the share of draws that kill."""
    shares = {name: matrix.killed.mean(axis=1) for name, matrix in matrices.items()}
    return [
        {
            "id": mutant.id,
            "description": mutant.description,
            "equivalent": mutant.equivalent,
            "relative_error": mutant.relative_error(),
            "killed": {name: float(share[i]) for name, share in shares.items()},
        }
        for i, mutant in enumerate(CATALOGUE)
    ]


def table(matrices: Mapping[str, KillMatrix]) -> str:
    """Return the kill table as text: one line a mutant, one column a checker (letters), and the totals.

    A mark is ``x`` for killed in every draw, ``.`` for never, and otherwise the tenths of the draws that killed.
    """
    letters = [chr(ord("A") + i) for i in range(len(matrices))]
    wrong = sum(not mutant.equivalent for mutant in CATALOGUE)
    lines = []
    for letter, (name, matrix) in zip(letters, matrices.items(), strict=True):
        killed, alarms = wrong - len(matrix.survivors), len(matrix.false_alarms)
        lines.append(f"{letter}  {name:28} kills {killed} of {wrong}, rejects {alarms} of {len(CATALOGUE) - wrong} controls")
    lines += ["", f"{'mutant':28} rel. error  {' '.join(letters)}  what is wrong"]
    for row in rows(matrices):
        marks = " ".join(_mark(share) for share in row["killed"].values())
        note = "control: " * row["equivalent"] + row["description"]
        lines.append(f"{row['id']:28} {row['relative_error']:10.1e}  {marks}  {note}")
    return "\n".join(lines)


def _mark(share: float) -> str:
    return {0.0: ".", 1.0: "x"}.get(share, str(min(9, max(1, round(10 * share)))))
