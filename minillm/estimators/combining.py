r"""Sums of estimators: a policy gradient with a regulariser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minillm.errors import UserError
from minillm.estimators.batch import Batch
from minillm.estimators.estimator import Estimator


def combined(*parts: Estimator) -> Estimator:
    """Return the sum of estimators, each with its own β; all of one entry a token, or all dense.

    Raises
    ------
    UserError
        If some are dense and some are not: a batch does not say which tokens were taken.
    """
    if len({part.dense for part in parts}) != 1:
        raise UserError("estimators can be added when all are dense or none is: " + ", ".join(part.name for part in parts))

    def coefficients(batch: Batch) -> np.ndarray:
        return sum((part.coefficients(batch) for part in parts[1:]), start=parts[0].coefficients(batch))

    surrogates = [part.surrogate for part in parts if part.surrogate is not None]
    return Estimator(
        "+".join(part.name for part in parts), " + ".join(part.objective for part in parts),
        " + ".join(part.formula for part in parts), "; ".join(part.source for part in parts), coefficients,
        _sum(surrogates) if len(surrogates) == len(parts) else None, dense=parts[0].dense,
        coupled=any(part.coupled for part in parts), needs=tuple(sorted({name for part in parts for name in part.needs})),
        off_policy=all(part.off_policy for part in parts),
    )  # fmt: skip


def _sum(functions: list[Callable[[Batch], Any]]) -> Callable[[Batch], Any]:
    return lambda batch: sum(f(batch) for f in functions)
