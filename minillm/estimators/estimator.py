r"""An estimator: a pure function from a batch to coefficients, with a label that says what it estimates.

The estimate of a gradient from a batch is $\hat g = \sum_{it} c_{it}\,\nabla\ell_{it}$, with $c = \partial F/\partial\ell$ where the
method has a surrogate F, in the direction of *ascent* and normalised by the number of episodes N (or as the method's own paper has it). A
dense estimator has $\hat g = \sum_{itv} C_{itv}\,\nabla\log\pi(v\mid\text{context}_{it})$ instead.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from minillm.errors import UserError


@dataclasses.dataclass(frozen=True)
class Estimator:
    """A method with its label; the label is proved by enumeration in :mod:`minillm.lab.estimators`.

    Attributes
    ----------
    name : str
        What the command line calls it.
    objective : str
        What its expectation is: "∇J", "(1−1/G)·∇J", "∇ of the frozen-context KL", "no gradient of any function", ...
    formula : str
        The coefficient, as an equation in plain text.
    source : str
        Paper and equation.
    coefficients : callable, Batch → ndarray
        Of shape (N, T), exactly 0 off the mask; (N, T, V) if dense. (:mod:`minillm.estimators.action_sets` has a batch of its own.)
    surrogate : callable, Batch → scalar, optional
        F of ``log_probs`` (``full_log_probs`` if dense) with ∂F/∂ℓ = coefficients, complex-safe; None if there is no such function.
    factor : callable, G → float, optional
        α, when the label claims that the expectation is α·∇J for groups of G.
    dense : bool
        The coefficient has a value for every token of the vocabulary.
    coupled : bool
        Episodes of a group enter each other's coefficients: the expectation is over all G-tuples.
    needs : tuple of str
        The optional fields of :class:`Batch` that must be there.
    off_policy : bool
        The label holds for episodes of any ``old_log_probs``; otherwise it is about episodes of the current policy, where all
        ratios are 1.
    """

    name: str
    objective: str
    formula: str
    source: str
    coefficients: Callable[[Any], np.ndarray]
    surrogate: Callable[[Any], Any] | None = None
    factor: Callable[[int], float] | None = None
    dense: bool = False
    coupled: bool = False
    needs: tuple[str, ...] = ()
    off_policy: bool = False


ESTIMATORS: dict[str, Estimator] = {}


def register(estimator: Estimator) -> Estimator:
    """Add an estimator to ``ESTIMATORS`` under its name, and return it; a name that is taken is an error."""
    if estimator.name in ESTIMATORS:
        raise UserError(f"there is an estimator named {estimator.name} already")
    ESTIMATORS[estimator.name] = estimator
    return estimator
