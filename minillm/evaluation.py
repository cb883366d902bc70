"""The loss of a language model on text that it was not trained on."""

from __future__ import annotations

import math

import numpy as np

from minillm.gradients import default_parts
from minillm.language_model import LanguageModel
from minillm.objectives import IGNORE, token_log_probs
from minillm.threads import parallel_map

EVALUATED_TOKENS = 2048  # of one forward pass, at most


def token_losses(model: LanguageModel, inputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    r"""Return $-\log p$ of each target (n, T) in nats, float64; 0 where it is ``IGNORE``. No dropout, no random numbers."""
    n, T = inputs.shape
    rows = max(1, min(EVALUATED_TOKENS // T, math.ceil(n / default_parts(model, inputs))))

    def losses(start: int) -> np.ndarray:
        logits, _ = model.forward(inputs[start : start + rows], keep=False)
        return -token_log_probs(logits, targets[start : start + rows]).astype(np.float64)

    return np.concatenate(parallel_map(losses, range(0, len(inputs), rows)))


def mean_loss(model: LanguageModel, inputs: np.ndarray, targets: np.ndarray) -> float:
    """Return the mean loss in nats a token."""
    return float(token_losses(model, inputs, targets).sum() / (targets != IGNORE).sum())
