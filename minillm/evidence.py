"""What an estimator is told about the episodes of one update: rewards, and the tokens under the policies that it asks for."""

from __future__ import annotations

import numpy as np

from minillm.batches import Layout, token_batch
from minillm.errors import UserError
from minillm.estimators import Batch, Estimator
from minillm.experience import Experience
from minillm.sampling import Sampling
from minillm.scoring import Scores, score
from minillm.tokenizer import Tokenizer
from minillm.transformer import GPT

REFERENCE = ("ref_log_probs", "full_ref_log_probs")
SCORED = ("values", "full_log_probs", *REFERENCE)


class Evidence:
    """The batch of an experience at one θ after the other.

    Parameters
    ----------
    tokenizer : Tokenizer
    experience : Experience
    layout : Layout
        Of this experience.
    estimator : Estimator
    sampling : Sampling
        The distribution that the tokens were drawn from.
    reference : GPT or None
        The policy of ``ref_log_probs``.
    epochs : int
        How many θ are to come. With one, and an estimator that needs nothing, nothing is scored.
    """

    def __init__(
        self, tokenizer: Tokenizer, experience: Experience, layout: Layout, estimator: Estimator, sampling: Sampling,
        reference: GPT | None, epochs: int,
    ) -> None:  # fmt: skip
        self.tokenizer, self.experience, self.layout, self.sampling = tokenizer, experience, layout, sampling
        self.scored = epochs > 1 or bool(estimator.needs)
        self.full = "full_log_probs" in estimator.needs
        self.old: Scores | None = None
        self.ref: Scores | None = None
        if reference is not None and set(REFERENCE) & set(estimator.needs):
            self.ref = score(reference, tokenizer, experience, sampling, full="full_ref_log_probs" in estimator.needs)

    def at(self, model: GPT) -> tuple[Scores, Batch]:
        """Return the scores under the model, and the batch in which those of the first call are the old policy's, and its values."""
        now = Scores(self.experience.log_probs, None, None)
        if self.scored:
            now = score(model, self.tokenizer, self.experience, self.sampling, self.full)
        self.old = now if self.old is None else self.old
        batch = token_batch(
            self.experience, self.layout, now.log_probs, old_log_probs=self.old.log_probs, values=self.old.values,
            full_log_probs=now.full_log_probs, ref_log_probs=None if self.ref is None else self.ref.log_probs,
            full_ref_log_probs=None if self.ref is None else self.ref.full_log_probs,
        )  # fmt: skip
        return now, batch


def require_needs(estimator: Estimator, value_head: bool, reference: bool) -> None:
    """Raise :class:`UserError` if training cannot give the estimator what it needs; the message names what is missing."""
    there = {"values": value_head, "full_log_probs": True, **dict.fromkeys(REFERENCE, reference)}
    missing = [name for name in estimator.needs if not there.get(name, False)]
    if missing:
        raise UserError(f"estimator {estimator.name} needs {' and '.join(missing)}, which training does not have here")


def value_slope(returns: np.ndarray, values: np.ndarray, N: int, weight: float = 0.5) -> np.ndarray:
    r"""Return $w\,(G-V)/N$, the derivative by V of $-\frac w{2N}\sum(G-V)^2$: what a value head learns from."""
    return weight * (returns - values) / N
