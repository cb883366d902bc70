r"""REINFORCE with the total return (Williams 1992) and with the mean of the others as its baseline (Kool et al. 2019)."""

from __future__ import annotations

import numpy as np

from minillm.estimators.batch import Batch
from minillm.estimators.estimator import Estimator, register
from minillm.returns import advantages


def _total(batch: Batch, baseline: str) -> np.ndarray:
    A = advantages(batch.total_rewards(), batch.groups, baseline)
    return np.where(batch.mask, A[:, None], 0) / len(batch)


register(Estimator(
    "reinforce", "∇J", "c[i,t] = R_i / N", "Williams 1992, eq. 11", lambda batch: _total(batch, "none"), factor=lambda G: 1.0,
))  # fmt: skip
register(Estimator(
    "rloo", "∇J", "c[i,t] = (R_i − mean of the group's other R) / N", "Kool et al. 2019, eq. 8; Ahmadian et al. 2024, eq. 7",
    lambda batch: _total(batch, "leave_one_out"), factor=lambda G: 1.0, coupled=True,
))  # fmt: skip
