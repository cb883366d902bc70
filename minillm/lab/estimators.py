r"""The table of ``minillm estimators``: what every registered estimator estimates, proved by enumeration on the published bed.

For G episodes of a group: the bias against what the label says (of a tabular policy and of a transformer, the worse), or the asymmetry
of the Jacobian where the label says that there is no such function; and, of the tabular policy and its own episodes, how far
$E[\hat g]$ is from ∇J, and the noise.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from minillm.estimators import ESTIMATORS, Estimator
from minillm.lab.labels import claims
from minillm.lab.moments import moments
from minillm.lab.setting import Setting, settings
from minillm.lab.statistics import gradient_noise_scale

ROUNDING = 1e-12  # an expectation that is no longer than this, beside ∇J, has no direction


@dataclasses.dataclass(frozen=True)
class Row:
    r"""What was measured of one estimator.

    Attributes
    ----------
    name, objective, formula, source : str
        Of the estimator.
    bias : float or None
        $\|E[\hat g] - \text{objective's gradient}\|$, relative; the worst over policies and over what the label claims. None where it
        claims no gradient.
    asymmetry : float or None
        $\|A-A^\top\|/\|A\|$ of the Jacobian of $E[\hat g](\theta)$, the least over policies, where the label claims no gradient.
    error, cosine : float
        Of $E[\hat g]$ against ∇J.
    variance : float
        Trace of the covariance times the number of episodes.
    noise_scale : float
        ``variance`` over ‖∇J‖²: the number of episodes whose noise is as long as ∇J.
    dead : float
        The probability that all coefficients of a batch are 0.
    proved : bool
        Every claim of the label holds.
    """

    name: str
    objective: str
    bias: float | None
    asymmetry: float | None
    error: float
    cosine: float
    variance: float
    noise_scale: float
    dead: float
    proved: bool
    formula: str
    source: str


def rows(G: int = 2, on_row: Callable[[Row], None] = lambda row: None) -> list[Row]:
    """Measure every registered estimator with groups of G; ``on_row`` is called with each row as it comes."""
    measured = []
    published = settings()[:2]
    for estimator in ESTIMATORS.values():
        measured.append(row(estimator, published, G))
        on_row(measured[-1])
    return measured


def worst_biases(G: int = 2) -> Iterator[tuple[str, float]]:
    """Yield, for each bed and policy, the largest bias of all registered estimators against what their labels say."""
    known = [(estimator, claim) for estimator in ESTIMATORS.values() for claim in claims(estimator) if claim.target is not None]
    for setting in settings():
        worst = max(claim.measure(setting, estimator, G) for estimator, claim in known)
        yield f"{len({e.name for e, _ in known})} estimators against their labels, groups of {G}, {setting.name}", worst


def row(estimator: Estimator, policies: list[Setting], G: int) -> Row:
    """Measure one estimator; the first of the policies gives the numbers against ∇J.

    Raises
    ------
    KeyError
        If nothing is known of its label.
    """
    known = [(claim, claim.measure(setting, estimator, G)) for claim in claims(estimator) for setting in policies]
    gradient, m = policies[0].gradient, moments(policies[0], estimator, G)
    size, length = float(np.linalg.norm(gradient)), float(np.linalg.norm(m.mean))
    return Row(
        estimator.name, estimator.objective,
        max((value for claim, value in known if claim.target is not None), default=None),
        min((value for claim, value in known if claim.target is None), default=None),
        error=float(np.linalg.norm(m.mean - gradient)) / size,
        cosine=float(m.mean @ gradient) / (size * length) if length > ROUNDING * size else 0.0,
        variance=m.variance, noise_scale=gradient_noise_scale(m.variance, gradient), dead=float(m.dead),
        proved=all(claim.holds(value) for claim, value in known), formula=estimator.formula, source=estimator.source,
    )  # fmt: skip


def table(measured: list[Row], G: int) -> str:
    """Return the rows as text: the numbers with the labels, then the formulas with their sources."""
    setting = settings()[0]
    name, objective = (max(len(getattr(row, field)) for row in measured) for field in ("name", "objective"))
    lines = [
        f"bed: {len(setting.bed.chance)} episodes, J = {setting.J:.10f}, ‖∇J‖ = {np.linalg.norm(setting.gradient):.4f}; groups of {G}",
        "",
        f"{'':{name}}  {'declared objective':{objective}}     bias    asym  err ∇J  cos ∇J  variance   noise   dead",
    ]
    lines += [f"{row.name:{name}}  {row.objective:{objective}}  {_numbers(row)}" for row in measured]
    lines += ["", *(f"{row.name:{name}}  {row.formula}   [{row.source}]" for row in measured)]
    return "\n".join(lines)


def _numbers(row: Row) -> str:
    against = f"{_fixed(row.error, 6)}  {row.cosine:6.3f}  {_fixed(row.variance, 8)}  {_fixed(row.noise_scale, 6)}  {row.dead:5.3f}"
    return f"{_small(row.bias)} {_small(row.asymmetry)}  {against}{'' if row.proved else '  NOT PROVED'}"


def as_json(measured: list[Row], G: int) -> dict[str, Any]:
    """Return the group size and the rows as plain dictionaries."""
    return {"group": G, "estimators": [dataclasses.asdict(row) for row in measured]}


def _small(value: float | None) -> str:
    return f"{'—':>7}" if value is None else f"{value:7.0e}" if value < ROUNDING else f"{value:7.2f}"


def _fixed(value: float, width: int) -> str:
    return f"{value:{width}.3f}" if value == 0 or value >= ROUNDING else f"{value:{width}.0e}"
