r"""The distribution of an estimate $\hat g$ along ∇J, exact: every batch with its probability.

What is shown is $\hat g\cdot\nabla J/\|\nabla J\|^2$, the estimate's share along the true gradient: its mean is 1 for an unbiased estimator,
and a batch below 0 moves θ downhill.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from minillm.estimators import Estimator
from minillm.lab.moments import enumerate_estimates
from minillm.lab.setting import settings


@dataclasses.dataclass(frozen=True)
class Along:
    """The M values (M,) that an estimate's share along ∇J takes, and their probabilities (M,)."""

    values: np.ndarray
    weights: np.ndarray

    @property
    def mean(self) -> float:
        """The expected share."""
        return float(self.weights @ self.values)

    @property
    def deviation(self) -> float:
        """The standard deviation of the share."""
        return float(np.sqrt(self.weights @ (self.values - self.mean) ** 2))

    @property
    def downhill(self) -> float:
        """The probability of a share below 0, beyond rounding."""
        return float(self.weights[self.values < -1e-12].sum())


def along_the_gradient(estimator: Estimator, G: int) -> Along:
    """Return the distribution of an estimator on the published bed, with groups of G; batches of one where it couples none."""
    setting = settings()[0]
    W, weights, _ = enumerate_estimates(setting, estimator, G)
    gradient = setting.gradient
    return Along((W @ setting.scores) @ gradient / (gradient @ gradient), weights)
