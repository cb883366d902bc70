"""A mutant is a wrong gradient with a name; a checker is judged by which mutants it kills."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

Function = Callable[[np.ndarray], Any]
Checker = Callable[[Function, Function, np.ndarray, np.random.Generator], bool]


@dataclasses.dataclass(frozen=True)
class Problem:
    """A function f, its right gradient, and the point ``theta`` (P,) at which a gradient is judged."""

    f: Function
    gradient: Function
    theta: np.ndarray


@dataclasses.dataclass(frozen=True)
class Mutant:
    """A gradient of a problem that is wrong, or, for a control (``equivalent``), right in another way."""

    id: str
    description: str
    problem: Problem
    gradient: Function
    equivalent: bool = False

    def relative_error(self) -> float:
        r"""Return $\|\tilde g - g\| / \|g\|$ at the problem's point."""
        right, wrong = self.problem.gradient(self.problem.theta), self.gradient(self.problem.theta)
        return float(np.linalg.norm(wrong - right) / np.linalg.norm(right))


@dataclasses.dataclass(frozen=True)
class KillMatrix:
    """Which gradients a checker rejected: ``killed`` (M, draws) bool, for ``mutants`` (M,)."""

    mutants: Sequence[Mutant]
    killed: np.ndarray

    @property
    def survivors(self) -> list[str]:
        """Ids of the wrong gradients that passed in at least one draw."""
        return [m.id for m, row in zip(self.mutants, self.killed, strict=True) if not m.equivalent and not row.all()]

    @property
    def false_alarms(self) -> list[str]:
        """Ids of the controls that were rejected in at least one draw."""
        return [m.id for m, row in zip(self.mutants, self.killed, strict=True) if m.equivalent and row.any()]


def score(
    checkers: Mapping[str, Checker],
    mutants: Sequence[Mutant],
    draws: int,
    seed: int,
    on_mutant: Callable[[Mutant], None] = lambda mutant: None,
) -> dict[str, KillMatrix]:
    """Grade checkers by mutants.

    Parameters
    ----------
    checkers : mapping of str to callable, ``(f, gradient, theta, rng) → bool``
        True when it takes the gradient for right. f takes a vector, real or complex, and is holomorphic.
    mutants : sequence of Mutant
    draws : int
        How often each is judged, with another stream of random numbers.
    seed : int
    on_mutant : callable
        Called after each mutant.
    """
    functions: dict[int, Function] = {}
    killed = {name: np.zeros((len(mutants), draws), dtype=bool) for name in checkers}
    for i, mutant in enumerate(mutants):
        f = functions.setdefault(id(mutant.problem), remembered(mutant.problem.f))
        gradient = remembered(mutant.gradient)
        for name, checker in checkers.items():
            for draw in range(draws):
                rng = np.random.default_rng([seed, draw])
                killed[name][i, draw] = not checker(f, gradient, mutant.problem.theta.copy(), rng)
        on_mutant(mutant)
    return {name: KillMatrix(mutants, rejected) for name, rejected in killed.items()}


def resembling(mutants: Sequence[Mutant], problem: Problem, gradient: np.ndarray, least: float = 0.999) -> list[str]:
    r"""Return the ids of the mutants of a problem whose error points the way of yours, the most similar first.

    Parameters
    ----------
    mutants : sequence of Mutant
    problem : Problem
    gradient : ndarray of shape (P,)
        A wrong gradient at the problem's point, from any implementation.
    least : float
        The least cosine of the two errors; a mistake that is only made in a part of the places has a smaller one.
    """
    right = problem.gradient(problem.theta)
    error = gradient - right
    found = []
    for mutant in mutants:
        if mutant.problem is problem and not mutant.equivalent:
            other = mutant.gradient(problem.theta) - right
            cosine = float(error @ other) / float(np.linalg.norm(error) * np.linalg.norm(other) or 1.0)
            found.append((cosine, mutant.id))
    return [id for cosine, id in sorted(found, reverse=True) if cosine >= least]


def remembered(function: Function) -> Function:
    """Return the function with a memory: the same point is computed once, however many mutants share it."""
    known: dict[bytes, Any] = {}

    def recall(theta: np.ndarray) -> Any:
        key = hashlib.blake2b(theta.tobytes(), digest_size=16).digest() + theta.dtype.char.encode()
        if key not in known:
            known[key] = function(theta)
        return known[key]

    return recall
