r"""Sums of estimators: a policy gradient with a regulariser."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from minillm.errors import UserError
from minillm.estimators.batch import Batch
from minillm.estimators.estimator import ESTIMATORS, Estimator


def named(text: str) -> Estimator:
    """Return the registered estimator of a name, or the sum of those joined by ``+``, as in ``grpo+kl_k3_loss_token``.

    Raises
    ------
    UserError
        If there is no such estimator; the message names the nearest.
    """
    names = [text] if text in ESTIMATORS else re.split(r"(?<=[^+])\+(?=[^+])", text)
    for name in names:
        if name not in ESTIMATORS:
            near = difflib.get_close_matches(name, ESTIMATORS, n=3, cutoff=0.3) or list(ESTIMATORS)
            raise UserError(f"there is no estimator {name!r}; near it: {', '.join(near)}")
    parts = [ESTIMATORS[name] for name in names]
    return parts[0] if len(parts) == 1 else combined(*parts)


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
