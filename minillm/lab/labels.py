r"""What the label of an estimator claims, and the measurement that proves it.

A label claims one or two things. *A gradient*: $E[\hat g]$ is the gradient of an exact objective of :mod:`minillm.lab.exact_objectives`, for
episodes of the current policy or of an older one; measured is the relative error. *No gradient*: the Jacobian of
$\theta\mapsto E_\theta[\hat g]$ is not symmetric, so no function has this gradient; measured is the asymmetry. A label that is not in
``LABELS`` is not proved, and asking for its claims is an error.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from minillm.estimators import ESTIMATORS, Estimator
from minillm.lab import exact_objectives as exact
from minillm.lab.moments import field, moments, tuples
from minillm.lab.setting import Setting
from minillm.lab.statistics import asymmetry

BIAS_BOUND, ASYMMETRY_BOUND, DIRECTIONS = 1e-12, 1e-6, 4
Target = Callable[[Setting, int], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Claim:
    """One thing that a label says.

    Attributes
    ----------
    target : callable, (setting, G) → gradient (P,), or None
        What the expectation is; None claims that it is no gradient.
    off_policy : bool
        For episodes of the older policy.
    factor : callable, G → float, optional
        α, where the target is α·∇J.
    """

    target: Target | None
    off_policy: bool = False
    factor: Callable[[int], float] | None = None

    def measure(self, setting: Setting, estimator: Estimator, G: int) -> float:
        """Return the relative error of the expectation, or the asymmetry of its Jacobian."""
        setting = setting.sampled_from_old() if self.off_policy else setting
        if self.target is None:
            return asymmetry(field(setting, estimator, G), setting.theta, DIRECTIONS)
        return relative_error(moments(setting, estimator, G).mean, self.target(setting, G), setting.gradient)

    def holds(self, measured: float) -> bool:
        """Return whether a measured value proves the claim."""
        return measured >= ASYMMETRY_BOUND if self.target is None else measured <= BIAS_BOUND


def relative_error(mean: np.ndarray, target: np.ndarray, gradient: np.ndarray) -> float:
    r"""Return $\|E[\hat g] - t\|/\|t\|$; relative to $\|\nabla J\|$ where the target t is 0."""
    scale = float(np.linalg.norm(target)) or float(np.linalg.norm(gradient))
    return float(np.linalg.norm(mean - target)) / scale


def claims(estimator: Estimator) -> tuple[Claim, ...]:
    """Return what the label of an estimator claims; on older episodes too where the estimator says so.

    Raises
    ------
    KeyError
        If nothing is known of the label.
    """
    if estimator.objective not in LABELS:
        raise KeyError(f"{estimator.name}: no claim is known for the label {estimator.objective!r}")
    known = LABELS[estimator.objective]
    return known + tuple(dataclasses.replace(claim, off_policy=True) for claim in known if estimator.off_policy)


def _multiple(factor: Callable[[int], float]) -> Claim:
    return Claim(lambda setting, G: factor(G) * setting.gradient, factor=factor)


def _gradient(objective: exact.Objective, off_policy: bool = False) -> Claim:
    return Claim(lambda setting, G: setting.gradient_of(lambda L: objective(setting, L, G)), off_policy)


def _like(name: str) -> Claim:
    return Claim(lambda setting, G: moments(setting, ESTIMATORS[name], G).mean)


def _without_own_baseline(setting: Setting, G: int) -> np.ndarray:
    r"""$\nabla J - E[\hat b\,\nabla\log p]$ with $\hat b = \sum_j R_j\|s_j\|^2/\sum_j\|s_j\|^2$ of the group."""
    rows, weights = tuples(setting, G)
    s = setting.spread(setting.bed.mask.astype(float)) @ setting.scores
    norms = (s * s).sum(axis=1)[rows]
    b = (setting.bed.returns[rows] * norms).sum(axis=1) / norms.sum(axis=1)
    return setting.gradient - (weights * b) @ s[rows].mean(axis=1)


ONE = _multiple(lambda G: 1.0)
SHRUNK = _multiple(lambda G: 1 - 1 / G)
ZERO = Claim(lambda setting, G: np.zeros_like(setting.theta))
EXACT = Claim(lambda setting, G: setting.gradient)
NOTHING, NOTHING_OFF = Claim(None), Claim(None, off_policy=True)

LABELS: dict[str, tuple[Claim, ...]] = {
    "∇J": (ONE,),
    "∇J where V is exact": (EXACT,),
    "∇J with the exact Q": (ONE,),
    "(1−1/G)·∇J": (SHRUNK,),
    "(1−1/G)·∇J (at θ = θ_old)": (SHRUNK,),
    "∇J − E[b̂·∇log p], of order 1/G": (Claim(_without_own_baseline),),
    "∇J over a set of distinct actions; over samples ∇Σ½R·p²": (_gradient(exact.squared),),
    "∇ of the surrogate of the old policy's contexts (at θ = θ_old: ∇J)": (EXACT, _gradient(exact.contexts_of_old, True)),
    "∇ of E_old[R·Φ(ρ)], Φ' = min(1, c/ρ) (at θ = θ_old and c ≥ 1: ∇J)": (EXACT, _gradient(exact.truncated, True)),
    "∇ of the clipped surrogate of the old policy's contexts (at θ = θ_old: gae's)": (_like("gae"), _gradient(exact.clipped, True)),
    "no gradient of any function": (NOTHING,),
    "no gradient of any function (at θ = θ_old: a2c's)": (_like("a2c"), NOTHING_OFF),
    "∇ of the data's mean log-likelihood (0 on own samples)": (ZERO, _gradient(exact.log_likelihood, True)),
    "∇P(R ≥ c)": (_gradient(exact.success),),
    "∇ of the log-likelihood of preferences": (_gradient(exact.preferences), _gradient(exact.preferences, True)),
    "∇ of the frozen-context entropy": (_gradient(exact.TOKEN_ENTROPY),),
    "∇ of the sequence entropy": (_gradient(exact.ENTROPY),),
    "0": (ZERO,),
    "−∇ of the frozen-context KL": (_gradient(exact.negative(exact.TOKEN_KL)),),
    "−∇ of the frozen-context KL(π_ref‖π)": (_gradient(exact.negative(exact.TOKEN_KL_REVERSED)),),
    "−∇ of the frozen-context (E[x²/2] − KL)": (_gradient(exact.difference(exact.TOKEN_KL, exact.TOKEN_HALF_SQUARE)),),
    "−∇ of the frozen-context (KL − KL(π_ref‖π))": (_gradient(exact.difference(exact.TOKEN_KL_REVERSED, exact.TOKEN_KL)),),
    "−∇ of the KL": (_gradient(exact.negative(exact.KL)),),
    "−∇ of the KL(π_ref‖π)": (_gradient(exact.negative(exact.KL_REVERSED)),),
    "−∇ of the (E[x²/2] − KL)": (_gradient(exact.difference(exact.KL, exact.HALF_SQUARE)),),
    "−∇ of the (KL − KL(π_ref‖π))": (_gradient(exact.difference(exact.KL_REVERSED, exact.KL)),),
}  # fmt: skip
